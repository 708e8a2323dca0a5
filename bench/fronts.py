#!/usr/bin/env python3
"""Small searches over gRPC beside REST: one service, one index, the same driver (h2load of the package nghttp2-client), in turns.

  ~/.cache/windrow/venv-clients/bin/python bench/fronts.py build/release/windrow --rows 30000 --dim 128 --rounds 5

A second program beside the first one is measured in turns with it, request by request the same: what a change of the code
brings. Starts Kafka of its own. The driver shares the processors with the services.
"""

import argparse
import glob
import json
import os
import re
import statistics
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "tests", "support"))
import harness
import numpy
from kafka_client import Sender
from qdrant_client import grpc as wire
from servers import Kafka
from service import COLLECTION, TOPIC, Windrow

K = 10
CLUSTERS = 200
SPREAD = 0.3


def processor_s(windrow):
    """Of all threads of the service."""
    with open(f"/proc/{windrow.process.pid}/stat", encoding="utf-8") as file:
        fields = file.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def send(kafka, options):
    """All rows in one window that closes: an index of one graph. Returns one of them, to search for."""
    chance = numpy.random.default_rng(1)
    centres = chance.normal(size=(CLUSTERS, options.dim))
    rows = centres[chance.integers(0, CLUSTERS, options.rows)] + SPREAD * chance.normal(size=(options.rows, options.dim))
    first_ms = int(time.time() * 1000) // 3_600_000 * 3_600_000 - 5 * 3_600_000
    sender = Sender(kafka)
    for start in range(0, len(rows), 10_000):
        block = rows[start : start + 10_000].round(5).tolist()
        sender.send(TOPIC, [(str(start + n), json.dumps({"id": start + n, "vector": vector, "time_ms": first_ms + start + n}))
                            for n, vector in enumerate(block)])
    return rows[7].tolist()


def wait_indexed(windrow, options):
    windrow.wait_caught_up({"0": options.rows})
    windrow.wait_indexed(1)


def switches(windrow):
    """Of all threads of the service, of their own will or not."""
    count = 0
    for path in glob.glob(f"/proc/{windrow.process.pid}/task/*/status"):
        with open(path, encoding="utf-8") as file:
            count += sum(int(line.split()[1]) for line in file if "ctxt_switches" in line)
    return count


class Front:
    """One front of one service."""

    def __init__(self, name, windrow, url, body, *headers, connections, streams, http1=False):
        self.name, self.windrow, self.rates, self.latencies, self.costs, self.switches = name, windrow, [], [], [], []
        with open(body, "rb"):
            self.command = ["h2load", "-d", body, "-c", str(connections), "-m", str(streams), "-t", "1", *(["--h1"] if http1 else [])]
        for header in headers:
            self.command += ["-H", header]
        self.command.append(url)

    def run(self, count):
        before, switched = processor_s(self.windrow), switches(self.windrow)
        output = subprocess.run([*self.command[:-1], "-n", str(count), self.command[-1]], capture_output=True, text=True, check=True).stdout
        good = int(re.search(r"(\d+) succeeded", output)[1])
        if good != count:
            raise SystemExit(f"{self.name}: {count - good} of {count} requests failed\n{output}")
        self.costs.append((processor_s(self.windrow) - before) / count * 1e6)
        self.switches.append((switches(self.windrow) - switched) / count)
        self.rates.append(float(re.search(r"([\d.]+) req/s", output)[1]))
        self.latencies.append(re.search(r"time for request: +\S+ +\S+ +(\S+)", output)[1])

    def __str__(self):
        rates = sorted(self.rates)
        return (f"{self.name:34} {statistics.median(rates):8.0f} a second ({rates[0]:.0f} to {rates[-1]:.0f}), "
                f"{statistics.median(self.costs):.1f} us of processor time each ({min(self.costs):.1f} to {max(self.costs):.1f}), "
                f"{statistics.median(self.switches):.2f} switches, mean time {self.latencies[-1]}")


def fronts_of(windrow, grpc_port, vector, folder):
    rest_body, grpc_body = os.path.join(folder, "rest"), os.path.join(folder, "grpc")
    with open(rest_body, "w", encoding="utf-8") as file:
        json.dump({"query": vector, "limit": K}, file)
    query = wire.Query(nearest=wire.VectorInput(dense=wire.DenseVector(data=vector)))
    message = wire.QueryPoints(collection_name=COLLECTION, query=query, limit=K).SerializeToString()
    with open(grpc_body, "wb") as file:
        file.write(b"\0" + len(message).to_bytes(4, "big") + message)
    rest = f"{windrow.url}/collections/{COLLECTION}/points/query"
    call = f"http://127.0.0.1:{grpc_port}/qdrant.Points/Query"
    typed = ("content-type: application/grpc", "te: trailers")
    return [
        Front("REST, 64 connections", windrow, rest, rest_body, "content-type: application/json", connections=64, streams=1, http1=True),
        Front("gRPC, 1 connection of 64 streams", windrow, call, grpc_body, *typed, connections=1, streams=64),
        Front("gRPC, 8 connections of 8 streams", windrow, call, grpc_body, *typed, connections=8, streams=8),
        Front("gRPC, 64 connections", windrow, call, grpc_body, *typed, connections=64, streams=1),
    ]


def service(kafka, binary, group, options):
    windrow = Windrow(kafka.address, dim=options.dim, metric="cosine", group=group)
    windrow.binary = os.path.abspath(binary)
    grpc_port = harness.free_ports(1)[0]
    windrow.tree["http"]["grpc_listen"] = f"127.0.0.1:{grpc_port}"
    windrow.configure(windrow.tree)
    return windrow, grpc_port


def compare(fronts, others):
    """Ratios of runs that followed each other: what both had beside them was about the same."""
    for front, other in zip(fronts, others):
        ratios = sorted(new / old for old, new in zip(front.costs, other.costs))
        print(f"{front.name:34} second program's processor time over the first one's: {statistics.median(ratios):.3f} "
              f"({ratios[0]:.3f} to {ratios[-1]:.3f})")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("binary", nargs="+", help="one, or two to compare")
    parser.add_argument("--rows", type=int, default=30_000)
    parser.add_argument("--dim", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--requests", type=int, default=40_000, help="of one front in one round")
    parser.add_argument("--only", default="", help="fronts whose name contains this")
    options = parser.parse_args()
    harness.Environment.binary = os.path.abspath(options.binary[0])
    harness.require_programs("h2load")
    kafka = Kafka().start()
    services = [service(kafka, binary, f"bench-{n}", options) for n, binary in enumerate(options.binary)]
    try:
        services[0][0].create_topic(1)
        vector, groups = None, []
        for windrow, grpc_port in services:
            windrow.start()
            vector = vector or send(kafka.address, options)
            wait_indexed(windrow, options)
            groups.append([front for front in fronts_of(windrow, grpc_port, vector, windrow.folder) if options.only in front.name])
        for turn in list(zip(*groups)) * options.rounds:
            for front in turn:
                front.run(options.requests)
        for binary, group in zip(options.binary, groups):
            print(binary)
            for front in group:
                print(front)
        if len(groups) == 2:
            compare(*groups)
    finally:
        for windrow, _ in services:
            windrow.stop()
        kafka.stop()


if __name__ == "__main__":
    main()
