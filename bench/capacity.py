#!/usr/bin/env python3
"""What a million vectors a day cost, and what nodes cost each other when nothing happens.

  ~/.cache/windrow/venv-clients/bin/python bench/capacity.py build/release/windrow ingest --rows 200000 --dim 384 --format msgpack
  ~/.cache/windrow/venv-clients/bin/python bench/capacity.py build/release/windrow announcements --nodes 1,2,4 --partitions 16,64
  ~/.cache/windrow/venv-clients/bin/python bench/capacity.py build/release/windrow crowd --members 100,1000 --partitions 64

`ingest` fills a topic, starts one process and waits until every closed window has its segment: bytes on the wire and on disk, memory,
processor time of everything, and of a query afterwards. `announcements` looks at idle nodes: bytes through NATS, processor time. `crowd`
lets one node hear as many others as it is told, whose announcements are copies of its own under other names.
Starts Kafka and NATS of its own. Processor times hold beside other work on the machine, times do not.
"""

import argparse
import glob
import json
import os
import re
import socket
import struct
import sys
import time
import urllib.request

import fanout
import harness
from kafka_client import Sender
from servers import Kafka, Nats
from service import Windrow

IDLE_S = 10  # what is measured of idle nodes


def packed(number, vector, time_ms):
    """The record as MessagePack, its vector as bytes."""
    raw = vector.tobytes()
    return b"\x83\xa2id\xcf%b\xa6vector\xc6%b%b\xa7time_ms\xcf%b" % (struct.pack(">Q", number), struct.pack(">I", len(raw)), raw, struct.pack(">Q", time_ms))


def written(number, vector, time_ms):
    return json.dumps({"id": number, "vector": vector.round(5).tolist(), "time_ms": time_ms}).encode()


def send(data, encode, kafka, topic):
    """Event times go over some hours and end now. Returns the mean size of a value."""
    step_ms = fanout.WINDOWS * 3_600_000 / len(data.rows)
    first_ms = int(time.time() * 1000) - fanout.WINDOWS * 3_600_000
    sender, size = Sender(kafka), 0
    for start in range(0, len(data.rows), 10_000):
        block = [(str(n), encode(n, data.rows[n], first_ms + int(n * step_ms))) for n in range(start, min(start + 10_000, len(data.rows)))]
        size += sum(len(value) for _, value in block)
        sender.send(topic, block)
    return size / len(data.rows)


def folder_bytes(*pattern):
    return sum(os.stat(path).st_blocks * 512 for path in glob.glob(os.path.join(*pattern), recursive=True) if os.path.isfile(path))


def memory(node):
    """Bytes that only the process has, and bytes of files that it has mapped and that are in memory."""
    with open(f"/proc/{node.process.pid}/status", encoding="ascii") as file:
        sizes = dict(re.findall(r"(Rss\w+):\s+(\d+) kB", file.read()))
    return int(sizes["RssAnon"]) * 1024, int(sizes["RssFile"]) * 1024


def used_s(node):
    """Of all threads there ever were."""
    return sum(node.metrics("process_cpu_seconds_total").values())


def by_thread(node):
    times = {next(iter(labels)).split('"')[1]: value for labels, value in node.metrics("windrow_thread_cpu_seconds_total").items()}
    return ", ".join(f"{name} {value:.1f}" for name, value in sorted(times.items(), key=lambda entry: -entry[1])[:6])


def ingest(options, kafka):
    topic = f"capacity-{options.dim}-{options.format}"
    data = fanout.Data(options)
    node = Windrow(kafka.address, group=topic, topics=[topic], dim=options.dim)
    node.create_topic(fanout.PARTITIONS)
    size = send(data, {"msgpack": packed, "json": written}[options.format], kafka.address, topic)
    before = time.monotonic()
    node.start()
    harness.wait_for(lambda: fanout.is_whole(node, options.rows), "everything is searchable", 1800)
    searchable_s, searchable = time.monotonic() - before, used_s(node)
    harness.wait_for(lambda: fanout.is_indexed(node), "everything is indexed", 3600, interval_s=1)
    indexed_s, indexed, anonymous = time.monotonic() - before, used_s(node), memory(node)[0]
    threads = by_thread(node)
    data.queries = data.queries[: options.queries]
    query_ms = min(fanout.used_s([node], lambda: fanout.ask_all([node], data.queries, {})) for _ in range(3)) * 1000 / len(data.queries)
    million = 1e6 / options.rows
    print(f"{options.rows} records of {options.dim} dimensions, {options.format}; per million:\n"
          f"  value {size * 1e6 / 1e9:.2f} GB, in Kafka's log {folder_bytes(kafka.folder, '**', topic + '-*', '*.log') * million / 1e9:.2f} GB\n"
          f"  data folder {folder_bytes(node.folder, 'data', '**') * million / 1e9:.2f} GB\n"
          f"  processor until searchable {searchable * million:.0f} s, until indexed {indexed * million:.0f} s ({threads} s of threads in this run)\n"
          f"  wall until searchable {searchable_s * million:.0f} s, until indexed {indexed_s * million:.0f} s\n"
          f"in this run: own memory {anonymous / 1e6:.0f} MB, after queries {memory(node)[0] / 1e6:.0f} MB and {memory(node)[1] / 1e6:.0f} MB of mapped files\n"
          f"a query: {query_ms:.3f} ms of processor time, {sum(map(len, data.queries)) / len(data.queries):.0f} bytes of vector asked", flush=True)
    node.stop()


def members(kafka, nats, count, partitions):
    """Nodes of a cluster that have nothing to do."""
    topic = f"idle-{count}-{partitions}"
    nodes = [Windrow(kafka.address, nats=nats.url, node=f"node-{number:04d}", group=topic, cluster={"name": topic}, topics=[topic], dim=16) for number in range(count)]
    nodes[0].create_topic(partitions)
    for node in nodes:
        node.start()
    for node in nodes:
        harness.wait_for(lambda node=node: fanout.is_whole(node, 0) and len(node.request("GET", "/cluster").json()["result"]["nodes"]) == count, "all see all", 180)
    return topic, nodes


def traffic(nats):
    with urllib.request.urlopen(f"http://127.0.0.1:{nats.monitor_port}/varz", timeout=5) as response:
        varz = json.load(response)
    return varz["in_bytes"], varz["out_bytes"]


def idle(nats, nodes):
    """A second of them: bytes into and out of NATS, and milliseconds of processor time of one node."""
    before, busy = traffic(nats), fanout.processor_s(nodes)
    time.sleep(IDLE_S)
    after = traffic(nats)
    return (after[0] - before[0]) / IDLE_S, (after[1] - before[1]) / IDLE_S, (fanout.processor_s(nodes) - busy) * 1000 / IDLE_S / len(nodes)


def announcements(options, kafka):
    nats = Nats().start()
    print("nodes  partitions  bytes/s to NATS, a node  bytes/s from NATS, a node  ms/s of processor, a node", flush=True)
    for partitions in map(int, options.partitions.split(",")):
        for count in map(int, options.nodes.split(",")):
            _, nodes = members(kafka, nats, count, partitions)
            sent, received, busy = idle(nats, nodes)
            print(f"{count:5d} {partitions:11d} {sent / count:24.0f} {received / count:26.0f} {busy:26.2f}", flush=True)
            for node in nodes:
                node.stop()
    nats.stop()


class Crowd:
    """Others, as far as announcements go: their shards are those of the node they copy."""

    def __init__(self, nats, topic):
        self.socket = socket.create_connection(("127.0.0.1", nats.port))
        self.subject = f"windrow.cluster.{topic}.nodes"
        self.socket.sendall(f'CONNECT {{"verbose":false}}\r\nSUB {self.subject} 1\r\nPING\r\n'.encode())
        received = b""
        while not (found := re.search(rb"MSG \S+ 1 (\d+)\r\n", received)) or len(received) < found.end() + int(found[1]):
            received += self.socket.recv(65536)
        self.original = received[found.end() : found.end() + int(found[1])]
        self.socket.sendall(b"UNSUB 1\r\n")

    def announcement(self, number):
        """Of the same length, so that no length in it changes."""
        copy = self.original.replace(b"node-0000", b"node-%04d" % number)
        copy = re.sub(rb"127\.0\.0\.1:\d{5}", b"127.0.0.1:%05d" % (10000 + number), copy)
        place = copy.index(b"incarnation") + len(b"incarnation") + 1
        return copy[:place] + struct.pack(">Q", number) + copy[place + 8 :]

    def announce(self, count, seconds):
        """All of them once a second, spread over it."""
        copies = [b"PUB %b %d\r\n%b\r\n" % (self.subject.encode(), len(self.original), self.announcement(number)) for number in range(1, count)]
        begin = time.monotonic()
        for second in range(seconds):
            for number, copy in enumerate(copies):
                self.socket.sendall(copy)
                if number % 20 == 0:
                    time.sleep(max(0, begin + second + number / count - time.monotonic()))
            time.sleep(max(0, begin + second + 1 - time.monotonic()))


def crowd(options, kafka):
    print("members  partitions  bytes an announcement  ms/s of processor", flush=True)
    for partitions in map(int, options.partitions.split(",")):
        for count in map(int, options.members.split(",")):
            nats = Nats().start()
            topic, nodes = members(kafka, nats, 1, partitions)
            others = Crowd(nats, topic)
            others.announce(count, 3)
            seen = len(nodes[0].request("GET", "/cluster").json()["result"]["nodes"])
            busy = fanout.used_s(nodes, lambda others=others, count=count: others.announce(count, IDLE_S)) * 1000 / IDLE_S
            print(f"{seen:7d} {partitions:11d} {len(others.original):22d} {busy:18.1f}", flush=True)
            for server in (*nodes, nats):
                server.stop()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("windrow")
    parser.add_argument("what", choices=["ingest", "announcements", "crowd"])
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--dim", type=int, default=384)
    parser.add_argument("--format", choices=["msgpack", "json"], default="msgpack")
    parser.add_argument("--queries", type=int, default=1000)
    parser.add_argument("--nodes", default="1,2,4")
    parser.add_argument("--partitions", default="16,64")
    parser.add_argument("--members", default="10,100,1000")
    options = parser.parse_args()
    harness.set_up(options.windrow)
    kafka = Kafka().start()
    {"ingest": ingest, "announcements": announcements, "crowd": crowd}[options.what](options, kafka)
    kafka.stop()


if __name__ == "__main__":
    main()
