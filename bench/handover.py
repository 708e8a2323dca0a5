#!/usr/bin/env python3
"""What it takes that another node has a shard: copied from who has it, or read again from Kafka and indexed again.

  ~/.cache/windrow/venv-clients/bin/python bench/handover.py build/release/windrow copy --rows 1000000 --dim 128
  ~/.cache/windrow/venv-clients/bin/python bench/handover.py build/release/windrow death --rows 200000 --dim 128

`copy`: a second replica set starts with an empty folder, then a third one that may not copy; until each has everything indexed.
`death`: of three nodes of a set one is killed with -9, with another set beside them and without; until the other two have all of it.
Starts Kafka and NATS of its own. Data as in fanout.py.
"""

import argparse
import time

import fanout
import harness
from servers import Kafka, Nats
from service import COLLECTION, Windrow

ENOUGH_RECORDS = 1000  # that a copy has to save


def node_of(kafka, nats, options, name, replica_set, **cluster):
    settings = {"name": options.topic, "replica_set": replica_set, **cluster}
    return Windrow(kafka.address, nats=nats.url, node=name, group=options.topic, cluster=settings, topics=[options.topic], dim=options.dim)


def own_rows(nodes):
    """Points that the nodes have together, each for itself; ValueError while one of them is catching up."""
    found = 0
    for node in nodes:
        reply = node.request("POST", f"/collections/{COLLECTION}/points/count", {"exact": True, "windrow": {"local": True}})
        if reply.status != 200:
            raise ValueError(reply.body)
        found += reply.json()["result"]["count"]
    return found


def is_indexed(node):
    states = [window["state"] for window in node.request("GET", f"/windows?collection={COLLECTION}&local=true").json()["windows"]]
    return "sealed" not in states and "indexed" in states


def used_s(nodes):
    return sum(sum(node.metrics("process_cpu_seconds_total").values()) for node in nodes)


def received_bytes(node):
    return sum(value for labels, value in node.metrics("windrow_snapshot_bytes_total").items() if 'direction="received"' in labels)


def start_filled(options, data, kafka, nats, **cluster):
    """The first node, with everything indexed."""
    first = node_of(kafka, nats, options, "a0", "a", **cluster)
    first.create_topic(fanout.PARTITIONS)
    data.send(kafka.address, options.topic)
    first.start()
    harness.wait_for(lambda: own_rows([first]) == options.rows and is_indexed(first), "the first node has everything indexed", 3600, interval_s=1)
    return first


def copy(options, kafka):
    nats, data, options.topic = Nats().start(), fanout.Data(options), "copy"
    first = start_filled(options, data, kafka, nats)
    print("way     searchable s  indexed s  processor of the new node s  of the source s  bytes moved", flush=True)
    for way, records in (("copy", ENOUGH_RECORDS), ("replay", 0)):
        node = node_of(kafka, nats, options, way, way, snapshot_records=records)
        source, begin = used_s([first]), time.monotonic()
        node.start()
        harness.wait_for(lambda node=node: own_rows([node]) == options.rows and node.ready(), "it has everything", 3600, interval_s=0.2)
        searchable = time.monotonic() - begin
        harness.wait_for(lambda node=node: is_indexed(node), "it has everything indexed", 3600, interval_s=0.2)
        print(f"{way:7s} {searchable:12.1f} {time.monotonic() - begin:10.1f} {used_s([node]):28.1f} {used_s([first]) - source:16.1f} {received_bytes(node):12.0f}", flush=True)
        node.stop()
    for server in (first, nats):
        server.stop()


def is_spread(nodes):
    owned = [node.request("POST", f"/collections/{COLLECTION}/points/count", {"exact": True, "windrow": {"local": True}}).json()["windrow"]["offsets"] for node in nodes]
    return all(owned) and sum(map(len, owned)) == fanout.PARTITIONS


def death(options, kafka):
    data = fanout.Data(options)
    print("beside    the two have everything after s  bytes moved  incomplete answers for s", flush=True)
    for beside in ("another set", "nobody"):
        nats, options.topic = Nats().start(), f"death-{beside.replace(' ', '-')}"
        copying = {"snapshot_records": ENOUGH_RECORDS}
        others = [start_filled(options, data, kafka, nats, **copying)]
        nodes = [node_of(kafka, nats, options, f"c{number}", "c", **copying) for number in range(3)]
        for node in nodes:
            node.start()
        harness.wait_for(lambda nodes=nodes: is_spread(nodes) and own_rows(nodes) == options.rows, "the set is whole", 600)
        if beside == "nobody":
            others.pop().stop()
        before = sum(map(received_bytes, nodes[:2]))
        nodes[2].kill()
        begin, incomplete = time.monotonic(), 0

        def is_over(nodes=nodes):
            nonlocal incomplete
            if not fanout.is_whole(nodes[0], options.rows):
                incomplete = time.monotonic() - begin
            return is_spread(nodes[:2]) and own_rows(nodes[:2]) == options.rows and fanout.is_whole(nodes[0], options.rows)

        harness.wait_for(is_over, "the two have everything", 900)
        print(f"{beside:12s} {time.monotonic() - begin:30.1f} {sum(map(received_bytes, nodes[:2])) - before:12.0f} {incomplete:24.1f}", flush=True)
        for server in (*nodes[:2], *others, nats):
            server.stop()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("windrow")
    parser.add_argument("what", choices=["copy", "death"])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--dim", type=int, default=128)
    options = parser.parse_args()
    options.queries = 1
    harness.set_up(options.windrow)
    kafka = Kafka().start()
    {"copy": copy, "death": death}[options.what](options, kafka)
    kafka.stop()


if __name__ == "__main__":
    main()
