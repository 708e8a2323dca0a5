"""Three processes share twelve partitions and are killed at random while partitions move between them; some come back with
their data, some with an empty folder, some under another name. At the end every point is in exactly one process, every
record is accounted for, and at no time two processes had one partition.

`test_rebalance.py WINDROW Bounded` is the short form, `Long` the long one.
"""

import datetime
import os
import random
import re
import sys
import time
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
import harness
from kafka_client import Sender
from model import Stream, assert_stored
from servers import Kafka
from service import COLLECTION, DEAD_LETTERS, TOPIC, Windrow

PARTITIONS = 12
NODES = 3
# Dead members are noticed soon, and a busy machine makes live ones look dead: both are wanted here.
FAST_GROUP = {"session.timeout.ms": "3000", "heartbeat.interval.ms": "500"}
MOVED = re.compile(r"^(\S+) INFO ingest: .* \[(\d+)\] (assigned|given back|lost)\b.* offset (-?\d+)$", re.MULTILINE)


class Node(Windrow):
    """One process after the other in one place, with what the log of each said about partitions."""

    def __init__(self, kafka, number):
        super().__init__(kafka, properties=dict(FAST_GROUP), store={"memtable_max_bytes": "1MiB"})
        self.number = number
        self.names = 0
        self.log_begins = []
        self.killed_at = {}
        self.rename()

    def rename(self):
        """Another static member of the group: the others must do without the old one until its session ends."""
        self.names += 1
        self.tree["kafka"]["properties"]["group.instance.id"] = f"node-{self.number}-{self.names}"
        self.configure(self.tree)

    def spawn_run(self, *arguments):
        self.log_begins.append(len(self.log()) if os.path.exists(self.log_path) else 0)
        super().spawn_run(*arguments)

    def kill(self):
        if self.alive():
            super().kill()
            self.killed_at[len(self.log_begins) - 1] = datetime.datetime.now(datetime.UTC)

    def events(self):
        """Of each process that ran here: [(time, partition, what, offset)]."""
        text = self.log()
        ends = [*self.log_begins[1:], len(text)]
        for begin, end in zip(self.log_begins, ends, strict=True):
            found = MOVED.findall(text[begin:end])
            yield [(datetime.datetime.fromisoformat(at), int(number), what, int(offset)) for at, number, what, offset in found]

    def ownerships(self):
        """(partition, from, to) of every time that a process here had a partition. Of one that was lost the end is not
        known: the group took it from a process that slept, and the process noticed later."""
        for life, events in enumerate(self.events()):
            since = {}
            for at, partition, what, _ in events:
                if what == "assigned":
                    since[partition] = at
                else:
                    begin = since.pop(partition)
                    yield partition, begin, begin if what == "lost" else at
            end = self.killed_at.get(life, datetime.datetime.now(datetime.UTC))
            for partition, at in since.items():
                yield partition, at, end

    def taken_records(self, offsets):
        """How many records the process that runs now made its own, from its log and, of what it still has, OFFSETS."""
        count, since = 0, {}
        for _, partition, what, offset in list(self.events())[-1]:
            if what == "assigned":
                since[partition] = max(offset, 0)
            else:
                count += max(offset, 0) - since.pop(partition)
        return count + sum(offsets.get(str(partition), 0) - begin for partition, begin in since.items())

    def offsets(self):
        return self.search_reply({"limit": 1})["windrow"]["offsets"]


class Feed(harness.Background):
    """Produces until it is told to stop."""

    def __init__(self, kafka, stream):
        super().__init__(pause_s=0.02)
        self.sender, self.stream = Sender(kafka.address), stream

    def work(self):
        self.sender.send(TOPIC, self.stream.records(40))


class Rebalance(unittest.TestCase):
    def setUp(self):
        self.random = harness.seeded_random()
        self.kafka = Kafka("group.min.session.timeout.ms=1000").start()
        self.nodes = [Node(self.kafka.address, number) for number in range(NODES)]
        self.nodes[0].create_topic(PARTITIONS)

    def tearDown(self):
        for server in (*self.nodes, self.kafka):
            server.stop()

    def bring_back(self, node, last):
        """In one of the ways in which a killed process comes back. One that is killed between giving partitions back and joining again, and
        comes back under its name within its session, is given what it had left, and the group does not move: what it gave back belongs to
        nobody until it does. So the last one makes it move."""
        way = "as another machine" if last else self.random.choice(["as it was", "with an empty folder", "as another machine"])
        if way != "as it was":
            node.lose_data()
        if way == "as another machine":
            node.rename()
        print(f"node {node.number} comes back {way}", flush=True)
        node.spawn_run()

    def moves(self):
        return sum(len(events) for node in self.nodes for events in node.events())

    def kill_at_some_moment(self, owner, last):
        """A process comes back or comes new, which moves partitions; meanwhile one is killed, sometimes that one. An owner
        has partitions by then, which somebody has to get anew."""
        before = self.moves()
        victim = self.random.choice(self.nodes)
        if owner:
            harness.wait_for(lambda: list(victim.events())[-1], "it has partitions", 60, interval_s=0.01)
        elif self.random.random() < 0.7:
            harness.wait_for(lambda: self.moves() > before, "partitions move", 60, interval_s=0.01)
        time.sleep(self.random.uniform(0, 0.3)) # chance, not waiting: the moment of the kill
        victim.kill()
        self.bring_back(victim, last)

    def settled(self, ends):
        """Each partition at its end in exactly one process, and counted there. While partitions move, a search may be
        broken off with 503."""
        replies = [node.request("POST", f"/collections/{COLLECTION}/points/query", {"limit": 1}) for node in self.nodes]
        if any(reply.status == 503 for reply in replies):
            return False
        found = [reply.json()["windrow"]["offsets"] for reply in replies]
        counted = {}
        for node in self.nodes:
            counted.update(node.next_offsets())
        owners = {p: [number for number, offsets in enumerate(found) if p in offsets] for p in ends}
        behind = {p: end for p, end in ends.items() if counted.get(p, 0) < end}
        if behind or any(len(owner) != 1 for owner in owners.values()):
            raise ValueError(f"behind: {behind}; owners: {owners}")
        return True

    def assert_one_writer(self):
        spans = sorted(span for node in self.nodes for span in node.ownerships())
        self.assertGreater(len(spans), PARTITIONS, "partitions moved")
        for (partition, begin, end), (next_partition, next_begin, _) in zip(spans, spans[1:], strict=False):
            if partition == next_partition:
                self.assertLessEqual(end, next_begin, f"partition {partition} was already had from {begin} to {end}")

    def assert_accounted(self, stream, ends):
        total = sum(ends.values())
        self.assertEqual(sum(stream.outcomes.values()), total)
        for node in self.nodes:
            counted = sum(node.outcomes().values())
            self.assertEqual(counted, node.taken_records(node.offsets()), f"node {node.number}: {node.outcomes()}")
        spoilt = sum(count for outcome, count in stream.outcomes.items() if outcome.startswith("reason="))
        letters = [letter["headers"] for letter in self.kafka.consume(DEAD_LETTERS)]
        places = {(letter["__connect.errors.partition"], letter["__connect.errors.offset"]) for letter in letters}
        self.assertEqual(len(places), spoilt, "a letter for each bad record, at least once")

    def run_kills(self, kills):
        stream = Stream(random.Random(self.random.random()), spoilt=0.05)  # of another thread: its own chance
        feed = Feed(self.kafka, stream)
        feed.start()
        for node in self.nodes:
            node.spawn_run()
        for number in range(kills):
            self.kill_at_some_moment(owner=number == 0, last=number == kills - 1)  # an owner first: else all may come before anything is assigned
        for node in self.nodes:
            node.wait_ready(lambda n=node: n.request("GET", "/livez").status == 200, 60)
        feed.finish()
        ends = self.kafka.end_offsets(TOPIC, PARTITIONS)
        print(f"{sum(ends.values())} records, {stream.outcomes}, {len(stream.model)} live, {self.moves()} moves", flush=True)
        harness.wait_for(lambda: self.settled(ends), "all is read and all partitions have come to rest", 120)
        assert_stored(self, stream.model, *self.nodes)
        self.assert_accounted(stream, ends)
        self.assert_one_writer()
        for node in self.nodes:
            self.assertEqual(node.stop(), 0, node.log()[-2000:])


class Bounded(Rebalance):
    def test_three_processes_and_four_kills(self):
        self.run_kills(4)


class Long(Rebalance):
    def test_three_processes_and_forty_kills(self):
        self.run_kills(40)


if __name__ == "__main__":
    harness.main()
