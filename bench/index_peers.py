#!/usr/bin/env python3
"""The peers of `windrow bench index`: hnswlib, faiss, usearch, SymphonyQG and VSAG on the same files, those that are
installed.

Searches are timed by processor time, the best of a few rounds: the same as windrow's part. `qps` is what as many
processors of one's own as there are threads would answer: queries * threads / processor time; `qps_wall` is by the
clock. Graphs get all queries in one call and spread them over their own threads: each query is searched alone, and
Python's part of a call does not count against them. Lists are asked both ways, for with all queries in one call faiss
reads a list once for several of them ("batched"), which a server that gets one query at a time cannot.

  python3 -m venv ~/.cache/windrow/bench-venv && ~/.cache/windrow/bench-venv/bin/pip install hnswlib faiss-cpu usearch \\
    rabitqlib pyvsag
"""

import argparse
import importlib
import json
import os
import subprocess
import sys
import threading
import time

try:
    import numpy
except ImportError as problem:
    print(f"no peers: {sys.executable} has no numpy ({problem})", file=sys.stderr)
    sys.exit(0)

HITS = 10
ROUNDS = 3
EFS = [10, 16, 24, 32, 48, 64, 96, 128, 200, 320, 512, 800]
PROBES = [1, 2, 4, 8, 12, 16, 24, 32, 48, 64, 96, 128]
ENOUGH = 0.9985


class NotHere(Exception):
    """A peer that cannot take part, and why."""


def load(path):
    types = {"u8bin": numpy.uint8, "hbin": numpy.float16, "fbin": numpy.float32, "ibin": numpy.int32}
    with open(path, "rb") as file:
        rows, columns = numpy.fromfile(file, dtype=numpy.uint32, count=2)
        values = numpy.fromfile(file, dtype=types[path.rsplit(".", 1)[1]])
    values = values.reshape(rows, columns)
    return values if path.endswith(".ibin") else numpy.ascontiguousarray(values, dtype=numpy.float32)


def exact_neighbours(base, queries, metric):
    scores = queries @ base.T
    if metric == "l2":
        scores = 2 * scores - (base * base).sum(axis=1)
    return numpy.argsort(-scores, axis=1, kind="stable")[:, :HITS]


def one_by_one(ask, queries, threads):
    """The answers of ASK to one query a call, from so many threads of Python."""
    results = numpy.empty((len(queries), HITS), dtype=numpy.int64)

    def work(first):
        for i in range(first, len(queries), threads):
            results[i] = ask(queries[i])

    others = [threading.Thread(target=work, args=(first,)) for first in range(1, threads)]
    for thread in others:
        thread.start()
    work(0)
    for thread in others:
        thread.join()
    return results


class Hnswlib:
    name = "hnswlib"
    settings = [("ef", ef) for ef in EFS]

    def __init__(self, options, base):
        module = importlib.import_module("hnswlib")
        space = {"l2": "l2", "dot": "ip", "cosine": "ip"}[options.metric]
        self.index = module.Index(space=space, dim=base.shape[1])
        self.index.init_index(max_elements=len(base), M=options.m, ef_construction=options.ef_construct)
        self.index.set_num_threads(options.threads)
        self.index.add_items(base)

    def set(self, value):
        self.index.set_ef(max(value, HITS))

    def search(self, queries):
        return self.index.knn_query(queries, k=HITS, num_threads=self.threads)[0]


class Faiss:
    """Base of the kinds: OpenMP's threads belong to the thread that asks."""

    def __init__(self, options, base):
        self.module = importlib.import_module("faiss")
        self.module.omp_set_num_threads(options.threads)
        self.metric = self.module.METRIC_L2 if options.metric == "l2" else self.module.METRIC_INNER_PRODUCT
        self.index = self.make(options, base)

    def search(self, queries):
        self.module.omp_set_num_threads(self.threads)
        return self.index.search(queries, HITS)[1]


class FaissHnsw(Faiss):
    name = "faiss HNSW"
    settings = [("ef", ef) for ef in EFS]

    def make(self, options, base):
        index = self.module.IndexHNSWFlat(base.shape[1], options.m, self.metric)
        index.hnsw.efConstruction = options.ef_construct
        index.add(base)
        return index

    def set(self, value):
        self.index.hnsw.efSearch = value


class FaissIvf(Faiss):
    name = "faiss IVF-PQ batched"
    settings = [("nprobe", count) for count in PROBES]

    def make(self, options, base):
        lists = 512 if len(base) >= 150000 else 256
        parts = base.shape[1] // (4 if base.shape[1] >= 256 else 2)
        index = self.module.index_factory(base.shape[1], f"IVF{lists},PQ{parts}x4fs,RFlat", self.metric)
        index.train(base)
        index.add(base)
        index.k_factor = 10
        return index

    def set(self, value):
        self.module.extract_index_ivf(self.index).nprobe = value

    def search(self, queries):
        size = self.batch or len(queries)
        parts = [super(FaissIvf, self).search(queries[i : i + size]) for i in range(0, len(queries), size)]
        return numpy.concatenate(parts)


class FaissIvfAlone(FaissIvf):
    """One query a call, by as many threads of Python as are asked for; faiss lets others run meanwhile."""

    name = "faiss IVF-PQ"

    def ask(self, query):
        self.module.omp_set_num_threads(1)
        return self.index.search(query[None], HITS)[1][0]

    def search(self, queries):
        return one_by_one(self.ask, queries, self.threads)


class Usearch:
    """With the kind of number usearch takes by itself: bf16 where the processor has it, f32 where it has nothing."""

    name, dtype = "usearch", None
    settings = [("ef", ef) for ef in EFS]

    def __init__(self, options, base):
        module = importlib.import_module("usearch.index")
        self.index = module.Index(
            ndim=base.shape[1],
            metric={"l2": "l2sq", "dot": "ip", "cosine": "cos" if self.dtype else "ip"}[options.metric],
            dtype=self.dtype,
            connectivity=options.m,
            expansion_add=options.ef_construct,
        )
        self.name = f"usearch {self.index.dtype.name.lower()}"
        self.index.add(numpy.arange(len(base)), base, threads=options.threads)

    def set(self, value):
        self.index.expansion_search = value

    def search(self, queries):
        return self.index.search(queries, HITS, threads=self.threads).keys


class UsearchFloats(Usearch):
    name, dtype = "usearch f32", "f32"


class UsearchCodes(Usearch):
    name, dtype = "usearch i8", "i8"

    def __init__(self, options, base):
        if options.metric != "cosine":
            raise NotHere("its 8-bit codes scale each vector to unit length, which loses L2 and dot")
        super().__init__(options, base)


class SymphonyQG:
    """Of rabitqlib, with its default construction and raw vectors for the last look."""

    name, degree = "SymphonyQG R32", 32
    settings = [("ef", ef) for ef in EFS]

    def __init__(self, options, base):
        module = importlib.import_module("rabitqlib")
        self.index = module.SymqgIndex(base.shape[1], self.degree, "l2" if options.metric == "l2" else "ip")
        self.index.build(base, options.ef_construct, options.threads)

    def set(self, value):
        self.ef = max(value, HITS)

    def search(self, queries):
        return self.index.search(queries, HITS, self.ef, self.threads)[0]


class Vsag:
    """HGraph over codes of 8 bits, with float32 for the last look."""

    name = "VSAG HGraph sq8"
    settings = [("ef", ef) for ef in EFS]

    def __init__(self, options, base):
        module = importlib.import_module("pyvsag")
        rows, dim = base.shape
        parameters = {
            "dtype": "float32",
            "metric_type": "l2" if options.metric == "l2" else "ip",
            "dim": dim,
            "index_param": {
                "base_quantization_type": "sq8",
                "use_reorder": True,
                "precise_quantization_type": "fp32",
                "max_degree": 2 * options.m,
                "ef_construction": options.ef_construct,
                "build_thread_count": options.threads,
            },
        }
        self.index = module.Index("hgraph", json.dumps(parameters))
        self.index.build(base.ravel(), numpy.arange(rows, dtype=numpy.int64), rows, dim)

    def set(self, value):
        self.parameters = json.dumps({"hgraph": {"ef_search": max(value, HITS)}})

    def search(self, queries):
        return one_by_one(lambda query: self.index.knn_search(query, HITS, self.parameters)[0], queries, self.threads)


PEERS = (SymphonyQG, Vsag, Hnswlib, Usearch, UsearchFloats, UsearchCodes, FaissHnsw, FaissIvfAlone, FaissIvf)


def report(options, threads, row, text):
    row = {"data": options.data, "threads": threads, **row}
    print(json.dumps(row) if options.json else text, flush=True)


def measure(index, queries, threads):
    """Of the best round: queries a second of processor time, times threads; the same by the clock; the answers."""
    best, best_wall = 0.0, 0.0
    for _ in range(ROUNDS):
        wall, processor = time.monotonic(), time.process_time()
        results = index.search(queries)
        wall, processor = time.monotonic() - wall, time.process_time() - processor
        best, best_wall = max(best, len(queries) * threads / processor), max(best_wall, len(queries) / wall)
    return best, best_wall, results


def run(peer, options, base, queries, truth):
    wall, processor = time.monotonic(), time.process_time()
    index = peer(options, base)
    wall, processor = time.monotonic() - wall, time.process_time() - processor
    report(
        options,
        options.threads,
        {"library": index.name, "build_s": round(wall, 2), "build_cpu_s": round(processor, 2)},
        f"{index.name}, {options.threads} threads: built in {wall:.2f} s ({processor:.2f} s of processor time)",
    )
    index.batch = options.batch
    for index.threads in options.search_threads:
        curve(index, options, queries, truth)


def curve(index, options, queries, truth):
    for name, value in index.settings:
        index.set(value)
        best, wall, results = measure(index, queries, index.threads)
        recall = sum(len(numpy.intersect1d(a, b)) for a, b in zip(results, truth)) / truth.size
        rates = {"recall": round(recall, 4), "qps": round(best), "qps_wall": round(wall)}
        report(
            options,
            index.threads,
            {"library": index.name, name: value, **rates},
            f"  {name} {value:5}   recall@{HITS} {recall:.4f}   {best:8.0f} queries/s, {wall:8.0f} by the clock, "
            f"{index.threads} threads",
        )
        if recall > ENOUGH:
            break


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base", required=True)
    parser.add_argument("--queries", required=True)
    parser.add_argument("--gt")
    parser.add_argument("--metric", default="l2", choices=["l2", "dot", "cosine"])
    parser.add_argument("--threads", type=int, default=1, help="for building")
    parser.add_argument("--search-threads", help="one number or more, with commas; default: as for building")
    parser.add_argument("--m", type=int, default=16)
    parser.add_argument("--ef-construct", type=int, default=200)
    parser.add_argument("--batch", type=int, help="queries a call for faiss IVF-PQ batched; default: all")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--data", help="what rows call the data; default: the base file's name")
    parser.add_argument(
        "--peers",
        default="SymphonyQG R32,hnswlib,usearch,faiss IVF-PQ,faiss IVF-PQ batched",
        help=f"by name, with commas, or 'all'; default: %(default)s; there are {', '.join(p.name for p in PEERS)}",
    )
    options = parser.parse_args()
    names = [peer.name for peer in PEERS] if options.peers == "all" else options.peers.split(",")
    options.classes = [peer for peer in PEERS if peer.name in names]
    unknown = set(names) - {peer.name for peer in PEERS}
    if unknown:
        parser.error(f"no such peer: {', '.join(sorted(unknown))}")
    options.search_threads = [int(count) for count in (options.search_threads or str(options.threads)).split(",")]
    options.data = options.data or os.path.basename(options.base)
    return options


def leave_out(options, reason):
    name = options.classes[0].name
    report(options, options.threads, {"library": name, "missing": reason}, f"{name}: left out: {reason}")


def run_each(options):
    """Each peer in a process of its own: they bring their own OpenMP, and faiss dies in one that usearch was in."""
    for options.classes in [[peer] for peer in options.classes]:
        arguments = [sys.executable, __file__, *sys.argv[1:], "--peers", options.classes[0].name]
        ended = subprocess.run(arguments, check=False).returncode
        if ended != 0:
            leave_out(options, f"its process ended with {ended}")


def main():
    options = parse()
    if len(options.classes) > 1:
        run_each(options)
        return
    # Before a library is loaded that reads them: no more threads than asked for, and none that waits by spinning,
    # which would count as processor time.
    most = str(max(options.threads, *options.search_threads))
    os.environ.update(OMP_WAIT_POLICY="PASSIVE", OMP_NUM_THREADS=most, OPENBLAS_NUM_THREADS=most)
    base, queries = load(options.base), load(options.queries)
    if options.metric == "cosine":
        base /= numpy.maximum(numpy.linalg.norm(base, axis=1, keepdims=True), 1e-30)
        queries /= numpy.maximum(numpy.linalg.norm(queries, axis=1, keepdims=True), 1e-30)
    truth = load(options.gt)[:, :HITS] if options.gt else exact_neighbours(base, queries, options.metric)
    try:
        run(options.classes[0], options, base, queries, truth)
    except ImportError as error:
        leave_out(options, f"not installed ({error})")
    except NotHere as error:
        leave_out(options, str(error))


if __name__ == "__main__":
    main()
