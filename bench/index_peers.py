#!/usr/bin/env python3
"""The peers of `windrow bench index`: hnswlib, faiss and usearch on the same files, those that are installed.

Searches run on one thread, one query a call, as a server gets them, and are timed by processor time, the best of a few
rounds: the same as windrow's part. Builds are given in seconds and in seconds of processor time.

  python3 -m venv ~/.cache/windrow/bench-venv && ~/.cache/windrow/bench-venv/bin/pip install hnswlib faiss-cpu usearch
"""

import argparse
import importlib
import json
import time

import numpy

HITS = 10
ROUNDS = 3
EFS = [16, 24, 32, 48, 64, 96, 128, 200, 320, 512, 800]
ENOUGH = 0.9985


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


class Hnswlib:
    name = "hnswlib"

    def __init__(self, options, base):
        module = importlib.import_module("hnswlib")
        space = {"l2": "l2", "dot": "ip", "cosine": "ip"}[options.metric]
        self.index = module.Index(space=space, dim=base.shape[1])
        self.index.init_index(max_elements=len(base), M=options.m, ef_construction=options.ef_construct)
        self.index.set_num_threads(options.threads)
        self.index.add_items(base)
        self.index.set_num_threads(1)

    settings = [("ef", ef) for ef in EFS]

    def set(self, value):
        self.index.set_ef(max(value, HITS))

    def search(self, query):
        return self.index.knn_query(query, k=HITS)[0][0]


class Faiss:
    """Base of the two kinds: a search by faiss, one thread."""

    def __init__(self, options, base):
        self.module = importlib.import_module("faiss")
        self.module.omp_set_num_threads(options.threads)
        self.index = self.make(options, base)
        self.module.omp_set_num_threads(1)

    def search(self, query):
        return self.index.search(query[None, :], HITS)[1][0]


class FaissHnsw(Faiss):
    name = "faiss HNSW"
    settings = [("ef", ef) for ef in EFS]

    def make(self, options, base):
        metric = self.module.METRIC_L2 if options.metric == "l2" else self.module.METRIC_INNER_PRODUCT
        index = self.module.IndexHNSWFlat(base.shape[1], options.m, metric)
        index.hnsw.efConstruction = options.ef_construct
        index.add(base)
        return index

    def set(self, value):
        self.index.hnsw.efSearch = value


class FaissIvf(Faiss):
    name = "faiss IVF,PQfs,RFlat"
    settings = [("nprobe", count) for count in (2, 4, 8, 12, 16, 24, 32, 64, 96, 128)]

    def make(self, options, base):
        metric = self.module.METRIC_L2 if options.metric == "l2" else self.module.METRIC_INNER_PRODUCT
        lists = 512 if len(base) >= 150000 else 256
        parts = base.shape[1] // (4 if base.shape[1] >= 256 else 2)
        index = self.module.index_factory(base.shape[1], f"IVF{lists},PQ{parts}x4fs,RFlat", metric)
        index.train(base)
        index.add(base)
        index.k_factor = 10
        return index

    def set(self, value):
        self.module.extract_index_ivf(self.index).nprobe = value


class Usearch:
    name = "usearch"
    settings = [("ef", ef) for ef in EFS]

    def __init__(self, options, base):
        module = importlib.import_module("usearch.index")
        metric = {"l2": "l2sq", "dot": "ip", "cosine": "cos"}[options.metric]
        self.index = module.Index(
            ndim=base.shape[1], metric=metric, dtype="f32", connectivity=options.m, expansion_add=options.ef_construct
        )
        self.index.add(numpy.arange(len(base)), base, threads=options.threads)

    def set(self, value):
        self.index.expansion_search = value

    def search(self, query):
        return self.index.search(query, HITS, threads=1).keys


def report(options, row, text):
    print(json.dumps(row) if options.json else text, flush=True)


def run(peer, options, base, queries, truth):
    wall, processor = time.monotonic(), time.process_time()
    index = peer(options, base)
    wall, processor = time.monotonic() - wall, time.process_time() - processor
    report(
        options,
        {"library": peer.name, "threads": options.threads, "build_s": round(wall, 2), "build_cpu_s": round(processor, 2)},
        f"{peer.name}: built in {wall:.2f} s ({processor:.2f} s of processor time)",
    )
    for name, value in peer.settings:
        index.set(value)
        best, found = 0.0, 0
        for _ in range(ROUNDS):
            started = time.process_time()
            results = [index.search(query) for query in queries]
            best = max(best, len(queries) / (time.process_time() - started))
            found = sum(len(numpy.intersect1d(a, b)) for a, b in zip(results, truth))
        recall = found / truth.size
        report(
            options,
            {"library": peer.name, name: value, "recall": round(recall, 4), "qps": round(best)},
            f"  {name} {value:5}   recall@{HITS} {recall:.4f}   {best:8.0f} queries/s",
        )
        if recall > ENOUGH:
            break


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base", required=True)
    parser.add_argument("--queries", required=True)
    parser.add_argument("--gt")
    parser.add_argument("--metric", default="l2", choices=["l2", "dot", "cosine"])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--m", type=int, default=16)
    parser.add_argument("--ef-construct", type=int, default=200)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--only", help="the peer whose name starts like this")
    options = parser.parse_args()
    base, queries = load(options.base), load(options.queries)
    if options.metric == "cosine":
        base /= numpy.maximum(numpy.linalg.norm(base, axis=1, keepdims=True), 1e-30)
        queries /= numpy.maximum(numpy.linalg.norm(queries, axis=1, keepdims=True), 1e-30)
    truth = load(options.gt)[:, :HITS] if options.gt else exact_neighbours(base, queries, options.metric)
    for peer in (Hnswlib, FaissHnsw, Usearch, FaissIvf):
        if options.only and not peer.name.startswith(options.only):
            continue
        try:
            run(peer, options, base, queries, truth)
        except ImportError as error:
            report(options, {"library": peer.name, "missing": str(error)}, f"{peer.name}: not installed ({error})")


if __name__ == "__main__":
    main()
