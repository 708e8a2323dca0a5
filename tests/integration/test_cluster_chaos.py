"""Two replica sets of two nodes answer while processes of one set are killed, stopped, slept, robbed of their data, cut off
from the others or slowed. A writer never pauses; readers ask nodes of the set that is left alone, and check each answer against
what was written:

- it is whole, because one set is;
- points that never change are all there, once;
- an id that changes shows a version between what was acknowledged before the question and what was sent before the answer;
- no id is there twice.

At the end each replica set holds exactly what was written.

`test_cluster_chaos.py WINDROW Bounded` is the short form, `Long` the long one. `Rolling` replaces the program under the same
questions, node by node: with the one of WINDROW_FROM first, or the same one.
"""

import json
import os
import random
import sys
import threading
import time
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
import harness
from kafka_client import Sender
from servers import Kafka, Nats, Proxy, pause, resume
from service import COLLECTION, TOPIC, Windrow

DIM = 16
PARTITIONS = 6
STEADY = 300          # ids that never change
CHANGING = range(1000, 1150)
FAST_GROUP = {"session.timeout.ms": "3000", "heartbeat.interval.ms": "500"}
WAIT_S = 90


def point(number, version, chance):
    payload = {"steady": version == 0, "version": version}
    return {"id": number, "vector": [chance.random() for _ in range(DIM)], "payload": payload, "time_ms": int(time.time() * 1000)}


class Writer(harness.Background):
    """Changes points until it is told to stop, and knows what each of them may be. A state is a version, or None."""

    def __init__(self, address, seed):
        super().__init__(pause_s=0.05)
        self.chance = random.Random(seed)
        self.sender = Sender(address)
        self.sender.delivered = self.delivered
        self.lock = threading.Lock()
        self.states = {number: [None] for number in CHANGING}  # in the order in which they are sent
        self.acknowledged = dict.fromkeys(CHANGING, 0)         # places of the last ones
        self.offsets = {}
        self.fresh_offsets = {}
        self.version = 0

    def delivered(self, error, message):
        if error:
            self.sender.failed.append((message.key(), error))
        else:
            self.fresh_offsets[str(message.partition())] = message.offset()

    def send(self, records):
        self.sender.send(TOPIC, records)
        with self.lock:
            self.offsets.update(self.fresh_offsets)
            for number in CHANGING:
                self.acknowledged[number] = len(self.states[number]) - 1

    def send_steady(self):
        self.send([(str(number), json.dumps(point(number, 0, self.chance))) for number in range(STEADY)])

    def work(self):
        records = []
        with self.lock:
            for number in self.chance.sample(CHANGING, 20):
                self.version += 1
                gone = self.chance.random() < 0.3
                self.states[number].append(None if gone else self.version)
                records.append((str(number), None if gone else json.dumps(point(number, self.version, self.chance))))
        self.send(records)

    def before(self):
        """What an answer has to show at least, and the offsets at which it does."""
        with self.lock:
            return dict(self.acknowledged), dict(self.offsets)

    def allowed(self, before):
        """The states of each id that an answer to a question of that time may show now."""
        with self.lock:
            return {number: set(self.states[number][before[number]:]) for number in CHANGING}

    def last(self):
        return {number: states[-1] for number, states in self.states.items() if states[-1] is not None}


class Reader(threading.Thread):
    def __init__(self, chaos, seed):
        super().__init__(daemon=True)
        self.chaos, self.chance = chaos, random.Random(seed)
        self.rounds, self.seconds, self.failures = 0, [], []

    def ask(self, path, body, min_offsets=None):
        node = self.chance.choice(self.chaos.quiet)
        if min_offsets:
            body = {**body, "windrow": {"min_offsets": min_offsets}}
        before = time.monotonic()
        reply = node.request("POST", f"/collections/{COLLECTION}{path}", body)
        self.seconds.append(time.monotonic() - before)
        if reply.status != 200:
            raise AssertionError(f"{node.tree['node']} {path}: {reply.status} {reply.body}")
        if reply.json()["windrow"]["partial"]:
            raise AssertionError(f"{node.tree['node']} {path}: {reply.json()['windrow']}")
        return reply.json()["result"]

    def check_steady(self):
        count = self.ask("/points/count", {"exact": True, "filter": {"must": [{"key": "steady", "match": {"value": True}}]}})["count"]
        if count != STEADY:
            raise AssertionError(f"{count} of {STEADY} points that never change")

    def some_search(self):
        return {"query": [self.chance.random() for _ in range(DIM)], "limit": 40, "params": {"exact": True}}

    def check_40(self, points):
        if len({found["id"] for found in points}) != 40:
            raise AssertionError(f"ids twice or too few: {[found['id'] for found in points]}")

    def check_search(self):
        self.check_40(self.ask("/points/query", self.some_search())["points"])

    def check_searches(self):
        for one in self.ask("/points/query/batch", {"searches": [self.some_search() for _ in range(3)]}):
            self.check_40(one["points"])

    def check_found(self, found, asked, before):
        states = {entry["id"]: entry["payload"]["version"] for entry in found}
        if len(states) != len(found):
            raise AssertionError(f"an id twice: {sorted(entry['id'] for entry in found)}")
        allowed = self.chaos.writer.allowed(before)
        for number in asked:
            if states.get(number) not in allowed[number]:
                raise AssertionError(f"id {number} is {states.get(number)} and not of {allowed[number]}")

    def check_ids(self):
        before, offsets = self.chaos.writer.before()
        asked = self.chance.sample(CHANGING, 20)
        self.check_found(self.ask("/points", {"ids": asked, "with_payload": True}, offsets), asked, before)

    def check_all(self):
        before, offsets = self.chaos.writer.before()
        body = {"limit": 2000, "with_payload": True, "filter": {"must": [{"key": "version", "range": {"gt": 0}}]}}
        self.check_found(self.ask("/points/scroll", body, offsets)["points"], CHANGING, before)

    def run(self):
        checks = [self.check_steady, self.check_search, self.check_searches, self.check_ids, self.check_all]
        while not self.chaos.over.is_set():
            try:
                self.chance.choice(checks)()
            except Exception as error:  # for the test's own thread
                self.failures.append(f"{type(error).__name__}: {error}")
            self.rounds += 1
            time.sleep(0.01)  # two processors have other work, too


class Chaos(unittest.TestCase):
    def setUp(self):
        self.random = harness.seeded_random()
        self.kafka = Kafka("group.min.session.timeout.ms=1000").start()
        self.addCleanup(self.kafka.stop)
        self.nats = Nats().start()
        self.addCleanup(self.nats.stop)
        self.sets = {name: [self.node(name, number) for number in range(2)] for name in "ab"}
        self.over = threading.Event()
        self.quiet = self.sets["a"]

    def node(self, name, number):
        to_nats = Proxy(self.nats.port)
        windrow = Windrow(self.kafka.address, nats=f"nats://{to_nats.address}", properties=FAST_GROUP, node=f"{name}{number}", group="chaos",
                          cluster={"name": "chaos", "replica_set": name}, store={"memtable_max_bytes": "1MiB"})
        windrow.network = [to_nats, Proxy(windrow.port)]
        windrow.tree["cluster"]["advertise"] = windrow.network[1].address
        windrow.configure(windrow.tree)
        self.addCleanup(windrow.stop)
        return windrow

    def is_whole(self, name):
        """Every shard has an owner in the set that says so, and nobody else has it there. Both nodes have half of them: then
        the group moves nothing any more."""
        nodes = self.sets[name]
        owned = []
        for node in nodes:
            reply = node.request("POST", f"/collections/{COLLECTION}/points/count", {"exact": True, "windrow": {"local": True}})
            own = list(reply.json()["windrow"]["offsets"]) if reply.status == 200 else []
            if len(own) != PARTITIONS // len(nodes):
                raise ValueError(f"{node.tree['node']} has {own}")
            owned += own
        for asked in (*self.sets["a"], *self.sets["b"]):
            cluster = asked.request("GET", "/cluster").json()["result"]
            offered = [shard["shard"] for node in cluster["nodes"] if node["replica_set"] == name for shard in node["shards"]]
            if sorted(offered) != sorted(owned) or len(owned) != PARTITIONS or len(cluster["nodes"]) != 4:
                raise ValueError(f"{asked.tree['node']}: offered {offered}, owned {owned}, {len(cluster['nodes'])} nodes")
        return True

    def wait_whole(self, name):
        harness.wait_for(lambda: self.is_whole(name), f"replica set {name} is whole", WAIT_S, interval_s=0.1)

    def disturb(self, node):
        way = self.random.choice(["kill", "kill", "lose", "pause", "stop", "cut", "slow"])
        print(f"{way} {node.tree['node']}", flush=True)
        if way in ("cut", "slow"):
            for proxy in node.network:
                proxy.cut() if way == "cut" else proxy.slow(self.random.uniform(0.01, 0.3))
            time.sleep(self.random.uniform(0.5, 5))  # shorter and longer than the silence that removes a node
            for proxy in node.network:
                proxy.mend()
        elif way == "pause":
            pause(node.process)
            time.sleep(self.random.uniform(0.5, 5))  # chance, not waiting: shorter and longer than a session
            resume(node.process)
        elif way == "stop":
            self.assertEqual(node.stop(), 0, node.log()[-2000:])
        else:
            node.kill()
        if way == "lose":
            node.lose_data()
        if not node.alive():
            time.sleep(self.random.uniform(0, 5))  # before and after the others notice
            node.spawn_run()

    def leave_alone(self, name, readers):
        """Readers ask that set from now on, and none has a question to the other one under way."""
        self.quiet = self.sets[name]
        rounds = [reader.rounds for reader in readers]
        harness.wait_for(lambda: all(reader.rounds > seen + 1 for reader, seen in zip(readers, rounds, strict=True)), "readers go on", WAIT_S)

    def assert_holds(self, name, expected):
        """The set's nodes together, each for itself."""
        found = []
        for node in self.sets[name]:
            body = {"limit": 5000, "with_payload": True, "windrow": {"local": True}}
            reply = node.request("POST", f"/collections/{COLLECTION}/points/scroll", body)
            found += [(entry["id"], entry["payload"]["version"]) for entry in reply.json()["result"]["points"]]
        self.assertEqual(sorted(found), sorted(expected.items()), f"replica set {name}")

    def disturb_one(self, number, readers):
        disturbed, quiet = self.random.choice(["ab", "ba"])
        self.leave_alone(quiet, readers)
        self.disturb(self.random.choice(self.sets[disturbed]))
        self.wait_whole(disturbed)

    def run_rounds(self, again, disturb):
        self.sets["a"][0].create_topic(PARTITIONS)
        self.writer = Writer(self.kafka.address, self.random.random())
        self.writer.send_steady()
        for node in (*self.sets["a"], *self.sets["b"]):
            node.spawn_run()
        for name in "ab":
            self.wait_whole(name)
        self.writer.start()
        readers = [Reader(self, self.random.random()) for _ in range(2)]
        for reader in readers:
            reader.start()
        number = 0
        while again(number) and not any(reader.failures for reader in readers):
            disturb(number, readers)
            number += 1
        self.over.set()
        self.writer.finish()
        for reader in readers:
            reader.join(60)
        seconds = sorted(second for reader in readers for second in reader.seconds)
        print(f"{number} rounds, {len(seconds)} questions, {self.writer.version} changes; p50 {seconds[len(seconds) // 2]:.3f} s, "
              f"p99 {seconds[len(seconds) * 99 // 100]:.3f} s, slowest {seconds[-1]:.3f} s", flush=True)
        failures = [failure for reader in readers for failure in reader.failures]
        if failures:
            for node in (*self.sets["a"], *self.sets["b"]):
                print(f"{node.tree['node']}:\n{node.log()[-6000:]}", flush=True)
            self.fail("\n".join(failures[:10]))
        ends = self.kafka.end_offsets(TOPIC, PARTITIONS)
        expected = {**dict.fromkeys(range(STEADY), 0), **self.writer.last()}
        for name in "ab":
            self.wait_whole(name)
            for node in self.sets[name]:
                harness.wait_for(lambda node=node: self.has_read(node, ends), "all is read", WAIT_S)
            self.assert_holds(name, expected)

    def has_read(self, node, ends):
        reply = node.request("POST", f"/collections/{COLLECTION}/points/count", {"exact": True, "windrow": {"local": True}}).json()
        return all(reply["windrow"]["offsets"][shard] >= ends[shard] for shard in reply["windrow"]["offsets"])


class Bounded(Chaos):
    def test_six_disturbances(self):
        self.run_rounds(lambda number: number < 6, self.disturb_one)


class Long(Chaos):
    def test_disturbances_for_half_an_hour(self):
        until = time.monotonic() + 1800
        self.run_rounds(lambda number: time.monotonic() < until, self.disturb_one)


class Rolling(Chaos):
    def replace(self, number, readers):
        """As an operator upgrades: a clean stop, the new program, the next node when the set is whole."""
        name = "ab"[number // 2]
        self.leave_alone("ba"[number // 2], readers)
        node = self.sets[name][number % 2]
        self.assertEqual(node.stop(), 0, node.log()[-2000:])
        node.binary = harness.Environment.binary
        node.spawn_run()
        self.wait_whole(name)

    def test_an_upgrade_node_by_node(self):
        for node in (*self.sets["a"], *self.sets["b"]):
            node.binary = os.environ.get("WINDROW_FROM", node.binary)
        self.run_rounds(lambda number: number < 4, self.replace)


if __name__ == "__main__":
    harness.main()
