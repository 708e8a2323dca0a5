"""Two replica sets of two nodes answer while processes of one set are killed, stopped, slept, robbed of their data, cut off
from the others or slowed; in the long form processes of Kafka, of NATS and builders, too. A writer never pauses; readers ask nodes of the set that is left alone, and check each answer against
what was written. Another one asks every node all the time: those that are disturbed may be away, or say that they are not whole, but what looks whole is checked alike:

- it is whole, because one set is;
- points that never change are all there, once;
- an id that changes shows a version between what was acknowledged before the question and what was sent before the answer;
- no id is there twice.

At the end each replica set holds exactly what was written.

`test_cluster_chaos.py WINDROW Bounded` is the short form, `Long` the long one: half an hour, or WINDROW_CHAOS_S seconds. It prints what
each kind of disturbance did to the questions of that time. `Rolling` replaces the program under the same
questions, node by node: with the one of WINDROW_FROM first, or the last release.
"""

import filecmp
import http.client
import json
import os
import random
import re
import sys
import threading
import time
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
import harness
import releases
from kafka_client import Sender
from servers import Kafka, KafkaCluster, Nats, NatsCluster, Proxy, pause, resume
from service import COLLECTION, TOPIC, Windrow

DIM = 16
PARTITIONS = 6
STEADY = 300          # ids that never change
CHANGING = range(1000, 1150)
FAST_GROUP = {"session.timeout.ms": "3000", "heartbeat.interval.ms": "500"}
WAIT_S = 90


HOUR_MS = 3_600_000


def point(number, version, chance, hours=1):
    """Of now, or of one of the HOURS before: always the same one for an id."""
    payload = {"steady": version == 0, "version": version}
    return {"id": number, "vector": [chance.random() for _ in range(DIM)], "payload": payload, "time_ms": int(time.time() * 1000) - number % hours * HOUR_MS}


class Writer(harness.Background):
    """Changes points until it is told to stop, and knows what each of them may be. A state is a version, or None."""

    def __init__(self, address, seed, hours):
        super().__init__(pause_s=0.05)
        self.hours = hours
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
        self.send([(str(number), json.dumps(point(number, 0, self.chance, self.hours))) for number in range(STEADY)])

    def work(self):
        records = []
        with self.lock:
            for number in self.chance.sample(CHANGING, 20):
                self.version += 1
                gone = self.chance.random() < 0.3
                self.states[number].append(None if gone else self.version)
                records.append((str(number), None if gone else json.dumps(point(number, self.version, self.chance, self.hours))))
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


class NotWhole(Exception):
    """A node was away, or said that its answer is not whole."""


class Reader(threading.Thread):
    def __init__(self, chaos, seed):
        super().__init__(daemon=True)
        self.chaos, self.chance = chaos, random.Random(seed)
        self.rounds, self.whole, self.failures = 0, 0, []
        self.seconds = []  # the disturbance, what was of it when the question was asked, how long the answer took, whether it waits for records, and its path
        self.asked = self.hedged = 0

    def nodes(self):
        return self.chaos.quiet

    def look(self, node, path, reply):
        if reply.status != 200 or reply.json()["windrow"]["partial"]:
            raise AssertionError(f"{node.tree['node']} {path} {self.chaos.phase}: {reply.status} {reply.body}")

    def ask(self, path, body, min_offsets=None):
        node = self.node = self.chance.choice(self.nodes())
        if min_offsets:
            body = {**body, "windrow": {"min_offsets": min_offsets}}
        phase, before = self.chaos.phase, time.monotonic()
        reply = node.request("POST", f"/collections/{COLLECTION}{path}", body)
        self.seconds.append((*phase, time.monotonic() - before, "waits" if min_offsets else "does not wait", path))
        self.look(node, path, reply)
        said = reply.json()["windrow"]
        self.asked += said.get("nodes", {}).get("asked", 0)
        self.hedged += said.get("nodes", {}).get("hedged", 0)
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
                self.whole += 1
            except NotWhole:
                pass
            except Exception as error:  # for the test's own thread
                self.failures.append(f"{self.node.tree['node']} {self.chaos.phase}: {type(error).__name__}: {error}")
            self.rounds += 1
            time.sleep(0.01)  # two processors have other work, too


class Witness(Reader):
    """Asks every node at any time, those that are disturbed, too. They may be away or say that they are not whole; an answer that looks whole is checked
    as any other."""

    def nodes(self):
        return (*self.chaos.owners(), *self.chaos.others)

    def look(self, node, path, reply):
        if reply.status in (408, 429, 503, 504):
            raise NotWhole
        if reply.status != 200:
            raise AssertionError(f"{node.tree['node']} {path} {self.chaos.phase}: {reply.status} {reply.body}")
        if reply.json()["windrow"]["partial"]:
            raise NotWhole

    def ask(self, path, body, min_offsets=None):
        try:
            return super().ask(path, body, min_offsets)
        except (OSError, http.client.HTTPException):
            raise NotWhole from None


class Chaos(unittest.TestCase):
    HOURS = 1  # of event time
    ARGUMENTS = ()  # of the owners

    def setUp(self):
        self.random = harness.seeded_random()
        self.phase = ("any", "before")
        self.start_servers()
        self.sets = {name: [self.node(f"{name}{number}", replica_set=name) for number in range(2)] for name in "ab"}
        self.over = threading.Event()
        self.others = []  # nodes of no set
        self.quiet = self.sets["a"]

    def start_servers(self):
        self.kafka = Kafka("group.min.session.timeout.ms=1000").start()
        self.addCleanup(self.kafka.stop)
        nats = Nats().start()
        self.addCleanup(nats.stop)
        self.brokers, self.nats_ports = self.kafka.address, [nats.port]

    def node(self, name, **cluster):
        to_nats = [Proxy(port) for port in self.nats_ports]
        windrow = Windrow(self.brokers, properties=FAST_GROUP, node=name, group="chaos", cluster={"name": "chaos", **cluster}, store={"memtable_max_bytes": "1MiB"},
                          index={"kind": "auto", "flat_below": 10})
        windrow.network = [*to_nats, Proxy(windrow.port)]
        windrow.tree["nats"] = {"url": ",".join(f"nats://{proxy.address}" for proxy in to_nats), "replicas": len(to_nats), "ack_wait": "5s"}
        windrow.tree["cluster"]["advertise"] = windrow.network[-1].address
        windrow.configure(windrow.tree)
        windrow.arguments = self.ARGUMENTS
        self.addCleanup(windrow.stop)
        return windrow

    def owners(self):
        return (*self.sets["a"], *self.sets["b"])

    def is_whole(self, name):
        """Every shard has an owner in the set that says so, and nobody else who is heard has it there; older programs list no others. Both nodes
        have half of them: then the group moves nothing any more."""
        nodes = self.sets[name]
        owned = []
        for node in nodes:
            reply = node.request("POST", f"/collections/{COLLECTION}/points/count", {"exact": True, "windrow": {"local": True}})
            own = list(reply.json()["windrow"]["offsets"]) if reply.status == 200 else []
            if len(own) != PARTITIONS // len(nodes):
                raise ValueError(f"{node.tree['node']} has {own}")
            owned += own
        for asked in (*self.owners(), *self.others):
            cluster = asked.request("GET", "/cluster").json()["result"]
            offered = [shard["shard"] for node in cluster["nodes"] if node["replica_set"] == name and not node.get("silent") for shard in node["shards"]]
            if sorted(offered) != sorted(owned) or len(owned) != PARTITIONS or len(cluster["nodes"]) != 4 + len(self.others):
                raise ValueError(f"{asked.tree['node']}: offered {offered}, owned {owned}, {len(cluster['nodes'])} nodes")
        return True

    def wait_whole(self, name):
        harness.wait_for(lambda: self.is_whole(name), f"replica set {name} is whole", WAIT_S, interval_s=0.1)

    def during(self, way, name):
        """Questions from now on are of that disturbance."""
        print(f"{way} {name}", flush=True)
        kind = name.rstrip("0123456789")
        self.phase = (f"{way} {'owner' if kind in self.sets else kind}", "during")

    def hinder(self, way, process, network):
        """Not its end: it stands still, or its network is gone or slow, for shorter and longer than a silence or a session."""
        seconds = self.random.uniform(0.5, 5)
        if way == "pause":
            pause(process)
            time.sleep(seconds)
            resume(process)
            return
        for proxy in network:
            proxy.cut() if way == "cut" else proxy.slow(self.random.uniform(0.01, 0.3))
        time.sleep(seconds)
        for proxy in network:
            proxy.mend()

    def disturb(self, node):
        way = self.random.choice(["kill", "kill", "lose", "pause", "stop", "cut", "slow"])
        self.during(way, node.tree["node"])
        if way in ("cut", "slow", "pause"):
            self.hinder(way, node.process, node.network)
        elif way == "stop":
            self.assertEqual(node.stop(), 0, node.log()[-2000:])
        else:
            node.kill()
        if way == "lose":
            node.lose_data()
        if not node.alive():
            time.sleep(self.random.uniform(0, 5))  # before and after the others notice
            node.spawn_run(*node.arguments)

    def leave_alone(self, quiet, readers):
        """Readers ask these nodes from now on, and none has a question to another one under way."""
        self.quiet = quiet
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
        self.leave_alone(self.sets[quiet], readers)
        self.disturb(self.random.choice(self.sets[disturbed]))
        self.wait_whole(disturbed)

    def run_rounds(self, again, disturb):
        self.sets["a"][0].create_topic(PARTITIONS)
        self.writer = Writer(self.brokers, self.random.random(), self.HOURS)
        self.writer.send_steady()
        for node in (*self.owners(), *self.others):
            node.spawn_run(*node.arguments)
        for name in "ab":
            self.wait_whole(name)
        self.writer.start()
        readers = [Reader(self, self.random.random()) for _ in range(2)]
        witness = Witness(self, self.random.random())
        for reader in (*readers, witness):
            reader.start()
        number = 0
        while again(number) and not any(reader.failures for reader in (*readers, witness)):
            disturb(number, readers)
            number += 1
        self.over.set()
        self.writer.finish()
        for reader in (*readers, witness):
            reader.join(60)
        self.report(number, readers)
        print(f"every node was asked: {witness.rounds} questions, {witness.whole} answers that looked whole and were", flush=True)
        failures = [failure for reader in (*readers, witness) for failure in reader.failures]
        self.assertGreater(witness.whole, 0)
        if failures:
            for node in (*self.owners(), *self.others):
                print(f"{node.tree['node']}:\n{node.log()[-6000:]}", flush=True)
            self.fail("\n".join(failures[:10]))
        ends = self.kafka.end_offsets(TOPIC, PARTITIONS)
        expected = {**dict.fromkeys(range(STEADY), 0), **self.writer.last()}
        for name in "ab":
            self.wait_whole(name)
            for node in self.sets[name]:
                harness.wait_for(lambda node=node: self.has_read(node, ends), "all is read", WAIT_S)
            self.assert_holds(name, expected)

    def report(self, number, readers):
        """Of all questions, and of those of each kind of disturbance."""
        asked, hedged = sum(reader.asked for reader in readers), sum(reader.hedged for reader in readers)
        print(f"{number} rounds, {self.writer.version} changes; {asked} requests between nodes, {hedged} of them hedges", flush=True)
        rows = [row for reader in readers for row in reader.seconds]
        groups = sorted({row[:2] for row in rows}, key=lambda group: (group[0], ["before", "during", "after"].index(group[1])))
        for group in [None, *groups]:
            seconds = sorted(row[2] for row in rows if group in (None, row[:2]))
            print(f"{' '.join(group or ['all']):28s} {len(seconds):7d} questions; p50 {seconds[len(seconds) // 2]:.3f} s, "
                  f"p99 {seconds[len(seconds) * 99 // 100]:.3f} s, slowest {seconds[-1]:.3f} s", flush=True)
        for waits in ("waits", "does not wait"):  # for records that were acknowledged
            slow = sorted((row for row in rows if row[3] == waits), key=lambda row: -row[2])[:5]
            print(f"slowest that {waits}: {'; '.join(f'{row[2]:.3f} s {row[4]} {row[1]} {row[0]}' for row in slow)}", flush=True)

    def has_read(self, node, ends):
        reply = node.request("POST", f"/collections/{COLLECTION}/points/count", {"exact": True, "windrow": {"local": True}}).json()
        return all(reply["windrow"]["offsets"][shard] >= ends[shard] for shard in reply["windrow"]["offsets"])


class Bounded(Chaos):
    def test_six_disturbances_leave_every_answer_whole(self):
        self.run_rounds(lambda number: number < 6, self.disturb_one)


class Long(Chaos):
    """With three brokers, three NATS servers and two builders, each of which has its turn, too."""

    HOURS = 4
    ARGUMENTS = ("--role", "ingest")  # so that only builders build
    CALM_S = 2  # of questions before and after a disturbance

    def setUp(self):
        super().setUp()
        self.others = [self.node(f"builder{number}") for number in range(2)]
        for node in self.others:
            node.arguments = ("--role", "indexer")

    def start_servers(self):
        self.cluster = KafkaCluster("group.min.session.timeout.ms=1000", proxied=True).start()
        self.addCleanup(self.cluster.stop)
        self.nats = NatsCluster().start()
        self.addCleanup(self.nats.stop)
        self.kafka, self.brokers = self.cluster.nodes[0], self.cluster.address
        self.nats_proxies = [Proxy(node.port) for node in self.nats.nodes]  # cut and slowed for all clients at once
        self.nats_ports = [int(proxy.address.rpartition(":")[2]) for proxy in self.nats_proxies]

    def disturb_broker(self):
        number = self.random.randrange(3)
        node, proxy = self.cluster.nodes[number], self.cluster.proxies[number]
        way = self.random.choice(["kill", "kill", "pause", "cut", "slow"])
        self.during(way, f"broker{number}" if number > 0 else "controller")
        if way == "kill":
            node.kill()
            time.sleep(self.random.uniform(0, 5))
            node.launch()
        else:
            self.hinder(way, node.process, [proxy])
        self.cluster.wait_brokers(3)

    def disturb_nats(self):
        number = self.random.randrange(3)
        node, proxy = self.nats.nodes[number], self.nats_proxies[number]
        way = self.random.choice(["kill", "kill", "pause", "cut", "slow"])
        self.during(way, f"nats{number}")
        if way == "kill":
            node.kill()
            time.sleep(self.random.uniform(0, 5))
            node.launch()
        else:
            self.hinder(way, node.process, [proxy])
        self.nats.wait_healthy()

    def disturb_any(self, number, readers):
        kind = self.random.choice(["owner", "owner", "broker", "nats", "builder"])
        disturbed, quiet = self.random.choice(["ab", "ba"])
        asked = {"owner": self.sets[quiet] + self.others, "builder": self.owners()}
        self.leave_alone(asked.get(kind, [*self.owners(), *self.others]), readers)
        self.phase = ("any", "before")
        time.sleep(self.CALM_S)
        begin = time.monotonic()
        if kind == "broker":
            self.disturb_broker()
        elif kind == "nats":
            self.disturb_nats()
        else:
            self.disturb(self.random.choice(self.sets[disturbed] if kind == "owner" else self.others))
        for name in "ab":
            self.wait_whole(name)
        print(f"  both sets whole {time.monotonic() - begin:.1f} s after it began", flush=True)
        self.phase = (self.phase[0], "after")
        time.sleep(self.CALM_S)

    def test_disturbances_for_half_an_hour(self):
        until = time.monotonic() + float(os.environ.get("WINDROW_CHAOS_S", "1800"))
        self.run_rounds(lambda number: time.monotonic() < until, self.disturb_any)
        built = sum(len(re.findall(r"indexed window (-?\d+) of", node.log())) for node in self.others)
        print(f"{built} windows indexed by builders", flush=True)
        self.assertGreater(built, 0)


class Rolling(Chaos):
    def setUp(self):
        self.before = os.environ.get("WINDROW_FROM") or releases.binary(releases.latest())
        super().setUp()

    def replace(self, number, readers):
        """As an operator upgrades: a clean stop, the new program, the next node when the set is whole."""
        name = "ab"[number // 2]
        self.leave_alone(self.sets["ba"[number // 2]], readers)
        node = self.sets[name][number % 2]
        self.assertEqual(node.stop(), 0, node.log()[-2000:])
        node.binary = harness.Environment.binary
        node.spawn_run()
        self.wait_whole(name)

    def test_the_last_release_is_replaced_node_by_node(self):
        for node in self.owners():
            node.binary = self.before
        self.assertFalse(filecmp.cmp(self.before, harness.Environment.binary, shallow=False))
        self.run_rounds(lambda number: number < 4, self.replace)


if __name__ == "__main__":
    harness.main()
