"""A replica is a function of the log: the same topic read live with pauses, later at once after TTLs have passed, and by a restored backup
gives the same points in the same versions, under every late policy. tests/twcs/compaction/test_replicas.c plays thousands of such rounds."""

import json
import os
import random
import sys
import time
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
import harness
from kafka_client import Sender
from servers import Kafka
from service import Windrow

DIM = 4
IDS = 12
MESSAGES = 90
TTL_MS = 2_000  # the longest that a record brings; the collections keep the others for an hour
POLICIES = ("accept", "drop", "dead_letter")
ROUNDS_LONG = int(os.environ.get("WINDROW_REPLICA_ROUNDS", "12"))


def now_ms():
    return int(time.time() * 1000)


class Topic:
    """One stream of messages, in a topic for each policy; what a producer knows of it."""

    def __init__(self, kafka, number, chance):
        self.names = {policy: f"replicas-{number}-{policy.replace('_', '-')}" for policy in POLICIES}
        self.sender = Sender(kafka.address)
        self.chance = chance
        self.last = {}  # offset of each id's last message; none after a tombstone
        self.count = 0

    def expectation(self, ident):
        pick = self.chance.random()
        if pick < 0.5:
            return None
        if pick < 0.9:
            return str(self.last.get(ident, "none"))
        return "none" if pick < 0.95 else str(self.chance.randrange(self.count + 1))

    def send(self):
        chance, stamp_ms = self.chance, now_ms() - self.chance.randrange(100)
        ident, event_ms = chance.randrange(IDS), stamp_ms
        if chance.random() < 0.3:
            event_ms -= chance.randrange(6_000)
        if chance.random() < 0.1:
            event_ms += chance.randrange(4_000)  # some of them lie in the future by more than max_future
        value = {"id": ident, "vector": [1, ident, 2, 3], "payload": {"n": self.count}, "time_ms": event_ms}
        if chance.random() < 0.4:
            value["ttl"] = 1 + chance.randrange(TTL_MS)
        deletes, expects = chance.random() < 0.1, self.expectation(ident)
        headers = {"windrow-expects": expects} if expects else None
        for name in self.names.values():
            self.sender.send(name, [(str(ident), None if deletes else json.dumps(value))], timestamp_ms=stamp_ms, headers=headers)
        self.last.pop(ident, None)
        if not deletes:
            self.last[ident] = self.count
        self.count += 1

    def send_some(self, count):
        for _ in range(count):
            self.send()
            if self.chance.random() < 0.08:
                time.sleep(self.chance.random())  # the partition is idle meanwhile, its windows close


class Replicas(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.kafka = Kafka().start()
        cls.addClassCleanup(cls.kafka.stop)

    def replica(self, topic, name):
        """A node of its own, which reads everything."""
        windrow = Windrow(self.kafka.address, group=f"{topic.names['drop']}-{name}")
        settings = {**windrow.tree["collections"]["points"], "dim": DIM, "window": "1s", "ttl": "1h", "idle_timeout": "300ms", "max_future": "1s"}
        windrow.tree["collections"] = {
            policy: {**settings, "topics": [topic.names[policy]], "late": {"allowed": "500ms", "policy": policy}} for policy in POLICIES
        }
        windrow.configure(windrow.tree)
        self.addCleanup(windrow.stop)
        return windrow

    def create_topics(self, windrow):
        for policy in POLICIES:
            done = windrow.command("produce", "-C", policy, "--create-topic", "1", "/dev/null")
            self.assertEqual(done.returncode, 0, done.stderr)

    def wait_read(self, windrow, topic):
        def offsets():
            collections = windrow.request("GET", "/status").json()["collections"]
            return [shard["next_offset"] for collection in collections for shard in collection["shards"]]

        harness.wait_for(lambda: offsets() == [topic.count] * len(POLICIES), "everything is read", 60)

    def points(self, windrow):
        found = {}
        for policy in POLICIES:
            reply = windrow.request("POST", f"/collections/{policy}/points/scroll", {"limit": 1000, "with_vector": True})
            self.assertEqual(reply.status, 200, reply.body)
            found[policy] = {point["id"]: (point["payload"]["n"], point["vector"]) for point in reply.json()["result"]["points"]}
        return found

    def play(self, number, seed):
        print(f"round {number}: seed {seed}", flush=True)
        topic = Topic(self.kafka, number, random.Random(seed))
        live, later, restored = (self.replica(topic, name) for name in ("live", "later", "restored"))
        self.create_topics(live)
        live.start()
        topic.send_some(MESSAGES // 3)
        self.wait_read(live, topic)
        backup = os.path.join(live.folder, "backup")
        self.assertEqual(live.command("backup", backup).returncode, 0)
        topic.send_some(MESSAGES // 3)
        live.stop()  # and is behind when it comes back
        topic.send_some(MESSAGES // 3)
        live.start()
        self.wait_read(live, topic)
        time.sleep(TTL_MS / 1000 + 2)  # what was sent with a TTL has expired, its files have gone
        self.assertEqual(restored.command("restore", backup).returncode, 0)
        later.start()
        restored.start()
        self.wait_read(later, topic)
        self.wait_read(restored, topic)
        expected = self.points(live)
        self.assertTrue(all(expected.values()), expected)
        self.assertEqual(self.points(later), expected, f"seed {seed}: read later")
        self.assertEqual(self.points(restored), expected, f"seed {seed}: a restored backup")
        for windrow in (live, later, restored):
            windrow.stop()


class Bounded(Replicas):
    def test_a_replica_that_reads_later_holds_what_the_live_one_holds(self):
        self.play(0, random.randrange(2**32))

    def test_an_update_in_a_transaction_that_stayed_open_finds_what_lived_when_it_was_written(self):
        """Meanwhile the version that it updates has expired. Unread records are there: the partition is not idle, the version's file stays."""
        topic = Topic(self.kafka, 1, random.Random(1))
        live, later = self.replica(topic, "live"), self.replica(topic, "later")
        self.create_topics(live)
        live.start()
        sender = Sender(self.kafka.address, f"{topic.names['drop']}-open")
        value = {"id": 1, "vector": [1, 1, 2, 3], "payload": {"n": 0}, "time_ms": now_ms(), "ttl": TTL_MS}
        for name in topic.names.values():
            topic.sender.send(name, [("1", json.dumps(value))])
        topic.count = 1
        self.wait_read(live, topic)
        sender.begin()
        value = {**value, "payload": {"n": 1}, "time_ms": now_ms(), "ttl": 3_600_000}
        for name in topic.names.values():
            sender.send(name, [("1", json.dumps(value))], headers={"windrow-expects": "0"})
        time.sleep(TTL_MS / 1000 + 3)  # well past the expiry and idle_timeout
        sender.end(commit=True)
        topic.count = 3  # the end of a transaction takes an offset
        self.wait_read(live, topic)
        later.start()
        self.wait_read(later, topic)
        expected = {policy: {1: (1, [1, 1, 2, 3])} for policy in POLICIES}
        self.assertEqual(self.points(live), expected)
        self.assertEqual(self.points(later), expected)


class Long(Replicas):
    def test_replicas_agree_in_many_rounds(self):
        for number in range(ROUNDS_LONG):
            self.play(number, random.randrange(2**32))
        print(f"{ROUNDS_LONG} rounds")


if __name__ == "__main__":
    harness.main()
