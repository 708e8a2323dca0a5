#!/usr/bin/env python3
"""Small searches over gRPC beside REST: one service, one index, the same driver (h2load of the package nghttp2-client), in turns.

  ~/.cache/windrow/venv-clients/bin/python bench/fronts.py build/release/windrow --rows 30000 --dim 128 --rounds 5

Starts Kafka of its own. The driver shares the processors with the service.
"""

import argparse
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


def fill(kafka, windrow, options):
    """All rows in one window that closes: an index of one graph."""
    chance = numpy.random.default_rng(1)
    centres = chance.normal(size=(CLUSTERS, options.dim))
    rows = centres[chance.integers(0, CLUSTERS, options.rows)] + SPREAD * chance.normal(size=(options.rows, options.dim))
    first_ms = int(time.time() * 1000) // 3_600_000 * 3_600_000 - 5 * 3_600_000
    sender = Sender(kafka)
    for start in range(0, len(rows), 10_000):
        block = rows[start : start + 10_000].round(5).tolist()
        sender.send(TOPIC, [(str(start + n), json.dumps({"id": start + n, "vector": vector, "time_ms": first_ms + start + n}))
                            for n, vector in enumerate(block)])
    windrow.wait_caught_up({"0": len(rows)})
    windrow.wait_indexed(1)
    return rows[7].tolist()


class Front:
    def __init__(self, name, url, body, *headers, connections, streams, http1=False):
        self.name, self.rates, self.latencies, self.costs = name, [], [], []
        with open(body, "rb"):
            self.command = ["h2load", "-d", body, "-c", str(connections), "-m", str(streams), "-t", "1", *(["--h1"] if http1 else [])]
        for header in headers:
            self.command += ["-H", header]
        self.command.append(url)

    def run(self, windrow, count):
        before = processor_s(windrow)
        output = subprocess.run([*self.command[:-1], "-n", str(count), self.command[-1]], capture_output=True, text=True, check=True).stdout
        good = int(re.search(r"(\d+) succeeded", output)[1])
        if good != count:
            raise SystemExit(f"{self.name}: {count - good} of {count} requests failed\n{output}")
        self.costs.append((processor_s(windrow) - before) / count * 1e6)
        self.rates.append(float(re.search(r"([\d.]+) req/s", output)[1]))
        self.latencies.append(re.search(r"time for request: +\S+ +\S+ +(\S+)", output)[1])


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
        Front("REST, 64 connections", rest, rest_body, "content-type: application/json", connections=64, streams=1, http1=True),
        Front("gRPC, 1 connection of 64 streams", call, grpc_body, *typed, connections=1, streams=64),
        Front("gRPC, 8 connections of 8 streams", call, grpc_body, *typed, connections=8, streams=8),
        Front("gRPC, 64 connections", call, grpc_body, *typed, connections=64, streams=1),
    ]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("binary")
    parser.add_argument("--rows", type=int, default=30_000)
    parser.add_argument("--dim", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--requests", type=int, default=40_000, help="of one front in one round")
    options = parser.parse_args()
    harness.Environment.binary = os.path.abspath(options.binary)
    harness.require_programs("h2load")
    kafka = Kafka().start()
    windrow = Windrow(kafka.address, dim=options.dim, metric="cosine")
    grpc_port = harness.free_ports(1)[0]
    windrow.tree["http"]["grpc_listen"] = f"127.0.0.1:{grpc_port}"
    windrow.configure(windrow.tree)
    try:
        windrow.create_topic(1)
        windrow.start()
        fronts = fronts_of(windrow, grpc_port, fill(kafka.address, windrow, options), windrow.folder)
        for front in fronts * options.rounds:
            front.run(windrow, options.requests)
        counted = {"".join(sorted(labels)): count for labels, count in windrow.metrics("windrow_grpc_requests_total").items()}
        for front in fronts:
            rates = sorted(front.rates)
            print(f"{front.name:34} {statistics.median(rates):8.0f} a second ({rates[0]:.0f} to {rates[-1]:.0f}), "
                  f"{statistics.median(front.costs):.0f} us of processor time each ({min(front.costs):.0f} to {max(front.costs):.0f}), "
                  f"mean time {front.latencies[-1]}")
        print(counted)
    finally:
        windrow.stop()
        kafka.stop()


if __name__ == "__main__":
    main()
