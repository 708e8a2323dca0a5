#!/usr/bin/env python3
"""What it costs that several nodes answer one search: processor time of all windrow processes for a query that one node gets and
the others help with, beside the sum of the parts: the same queries, asked of each node for its own shards only. The parts are taken twice: each
query of all nodes in turn, as the whole does it, so that the processes push each other's data out of the caches; and all queries of one
node, then of the next, which no other node disturbs.

  ~/.cache/windrow/venv-clients/bin/python bench/fanout.py build/release/windrow --rows 200000 --dim 128 --nodes 1,2,4
  ~/.cache/windrow/venv-clients/bin/python bench/fanout.py build/release/windrow --rows 4000 --nodes 2,4 --network

`--network` counts what a query sends to a node and gets back, without the headers of TCP, by a proxy before each node; no times then.

Starts Kafka and NATS of its own. Searches come one after the other on one kept-alive connection, so queues play no part.
"""

import argparse
import contextlib
import glob
import http.client
import json
import os
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "tests", "support"))
import harness
import numpy
from kafka_client import Sender
from servers import Kafka, Nats, Proxy
from service import COLLECTION, Windrow

PARTITIONS = 4
WINDOWS = 8
CLUSTERS = 200
SPREAD = 0.3
ROUNDS = 9


class Data:
    """Points around random centres, and queries from the same mixture."""

    def __init__(self, options):
        chance = numpy.random.default_rng(1)
        centres = chance.normal(size=(CLUSTERS, options.dim))

        def draw(count):
            return centres[chance.integers(0, CLUSTERS, count)] + SPREAD * chance.normal(size=(count, options.dim))

        self.rows = draw(options.rows).astype(numpy.float32)
        self.queries = [json.dumps(row.round(5).tolist()) for row in draw(options.queries)]

    def send(self, kafka, topic):
        now_ms = int(time.time() * 1000)
        step_ms = WINDOWS * 3_600_000 // len(self.rows)
        first_ms = now_ms - WINDOWS * 3_600_000
        sender = Sender(kafka)
        for start in range(0, len(self.rows), 10_000):
            block = self.rows[start : start + 10_000].round(5).tolist()
            sender.send(topic, [(str(start + n), json.dumps({"id": start + n, "vector": vector, "time_ms": first_ms + (start + n) * step_ms}))
                                for n, vector in enumerate(block)])


def processor_s(nodes):
    """Of all their threads."""
    nanoseconds = 0
    for node in nodes:
        for thread in glob.glob(f"/proc/{node.process.pid}/task/*/schedstat"):
            with contextlib.suppress(OSError), open(thread, encoding="ascii") as file:
                nanoseconds += int(file.read().split()[0])
    return nanoseconds / 1e9


def ask_all(nodes, queries, windrow):
    """Each query of all nodes, in turn."""
    connections = [http.client.HTTPConnection("127.0.0.1", node.port) for node in nodes]
    for query in queries:
        body = f'{{"query": {query}, "limit": 10, "windrow": {json.dumps(windrow)}}}'
        for connection in connections:
            connection.request("POST", f"/collections/{COLLECTION}/points/query", body, {"Content-Type": "application/json"})
            reply = connection.getresponse()
            text = reply.read()
            if reply.status != 200 or (not windrow and json.loads(text)["windrow"]["partial"]):
                sys.exit(f"port {connection.port}: {reply.status} {text[:300]}")
    for connection in connections:
        connection.close()


def used_s(nodes, work):
    before = processor_s(nodes)
    work()
    return processor_s(nodes) - before


def cost_ms(nodes, queries):
    """Of one query: the sum of the parts in turn and one after the other, the whole, and what the first node does of the parts in turn and of
    the whole. The best of a few rounds, in turns, so that all meet the same machine."""
    rounds = []
    for _ in range(ROUNDS):
        alone = sum(used_s([node], lambda node=node: ask_all([node], queries, {"local": True})) for node in nodes)
        before = processor_s(nodes[:1])
        parts = used_s(nodes, lambda: ask_all(nodes, queries, {"local": True}))
        own = processor_s(nodes[:1]) - before
        whole = used_s(nodes, lambda: ask_all(nodes[:1], queries, {}))
        rounds.append((parts, alone, whole, own, processor_s(nodes[:1]) - before - own))
    return [min(times) * 1000 / len(queries) for times in zip(*rounds, strict=True)]


def carried_bytes(node, proxies, queries):
    """For all queries together. Builders fetch runs through the proxies, too: the least of a few rounds is of queries alone."""
    before = sum(proxy.carried_bytes for proxy in proxies)
    ask_all([node], queries, {})
    return sum(proxy.carried_bytes for proxy in proxies) - before


def is_spread(nodes):
    for node in nodes:
        reply = node.request("POST", f"/collections/{COLLECTION}/points/count", {"exact": True, "windrow": {"local": True}})
        if reply.status != 200 or len(reply.json()["windrow"]["offsets"]) != PARTITIONS // len(nodes):
            return False
    return True


def is_whole(node, rows):
    reply = node.request("POST", f"/collections/{COLLECTION}/points/count", {"exact": True})
    return reply.status == 200 and not reply.json()["windrow"]["partial"] and reply.json()["result"]["count"] == rows


def is_indexed(node):
    """Every closed window has its segment."""
    states = [window["state"] for window in node.windows()]
    return "sealed" not in states and "indexed" in states


def measure(options, data, kafka, count):
    topic = f"fanout-{count}"
    nats = Nats().start()
    nodes = [Windrow(kafka.address, nats=nats.url, node=f"n{number}", group=topic, cluster={"name": topic}, topics=[topic], dim=options.dim)
             for number in range(count)]
    proxies = [Proxy(node.port) for node in nodes] if options.network else []
    for node, proxy in zip(nodes, proxies, strict=False):
        node.tree["cluster"]["advertise"] = proxy.address
        node.configure(node.tree)
    nodes[0].create_topic(PARTITIONS)
    for node in nodes:
        node.start()
    harness.wait_for(lambda: is_spread(nodes), "every node owns its part", 120)
    data.send(kafka.address, topic)
    for node in nodes:
        harness.wait_for(lambda node=node: is_whole(node, len(data.rows)), "everything is searchable", 600)
        if not options.network:
            harness.wait_for(lambda node=node: is_indexed(node), "everything is indexed", 900, interval_s=1)
    if options.network:
        carried = min(carried_bytes(nodes[0], proxies, data.queries) for _ in range(ROUNDS))
        print(f"{count:5d} {carried / len(data.queries) / (count - 1):8.0f} bytes a query and node that is asked", flush=True)
    else:
        parts, alone, whole, own, asking = cost_ms(nodes, data.queries)
        print(f"{count:5d} {parts:16.3f} {alone:6.3f} {whole:9.3f} {whole / parts:8.2f} {whole / alone:9.2f} {asking - own:20.3f} "
              f"{(whole - parts - asking + own) / max(count - 1, 1):16.3f}", flush=True)
    for server in (*nodes, nats):
        server.stop()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("windrow")
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--dim", type=int, default=128)
    parser.add_argument("--queries", type=int, default=2000)
    parser.add_argument("--nodes", default="1,2,4", help=f"each divides {PARTITIONS}")
    parser.add_argument("--network", action="store_true")
    options = parser.parse_args()
    harness.set_up(options.windrow)
    data = Data(options)
    kafka = Kafka().start()
    if not options.network:
        print("nodes parts in turn ms  alone  whole ms  in turn  to alone  more at who asks ms  at who is asked", flush=True)
    for count in map(int, options.nodes.split(",")):
        measure(options, data, kafka, count)
    kafka.stop()


if __name__ == "__main__":
    main()
