"""What a process answers that does not serve every partition: never a half that looks like the whole. And where writes go
when somebody else's partitioner filled the topic."""

import json
import os
import sys
import time
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
import harness
from kafka_client import Sender
from servers import Kafka, Nats
from service import COLLECTION, TOPIC, Windrow

DIM = 16
PARTITIONS = 4
ROWS = 400
FAST_GROUP = {"session.timeout.ms": "3000", "heartbeat.interval.ms": "500"}
READS = {
    "/points/query": {"query": [0.5] * DIM, "limit": 3},
    "/points/query/groups": {"query": [0.5] * DIM, "group_by": "parity"},
    "/points/search": {"vector": [0.5] * DIM, "limit": 3},
    "/points/scroll": {"limit": 3},
    "/points/count": {"exact": True},
    "/points": {"ids": [1]},
    "/facet": {"key": "parity"},
}


def value(number):
    vector = [((number * 7919 + place * 104729) % 1000) / 1000 for place in range(DIM)]
    return {"id": number, "vector": vector, "payload": {"parity": number % 2}, "time_ms": int(time.time() * 1000)}


def records():
    return [(str(number), json.dumps(value(number))) for number in range(ROWS)]


class Partial(unittest.TestCase):
    def setUp(self):
        self.kafka = Kafka("group.min.session.timeout.ms=1000").start()
        self.addCleanup(self.kafka.stop)

    def node(self, name, **options):
        windrow = Windrow(self.kafka.address, properties={**FAST_GROUP, "group.instance.id": name}, **options)
        self.addCleanup(windrow.stop)
        return windrow

    def feed(self, **settings):
        """With windrow's partitioner unless SETTINGS name another one."""
        Sender(self.kafka.address, **settings).send(TOPIC, records())
        return self.kafka.end_offsets(TOPIC, PARTITIONS)

    def read(self, windrow, path, body):
        return windrow.request("POST", f"/collections/{COLLECTION}{path}", body)

    def test_each_of_two_processes_says_what_it_does_not_serve(self):
        nodes = [self.node("a"), self.node("b")]
        nodes[0].create_topic(PARTITIONS)
        self.feed()
        for node in nodes:
            node.spawn_run()

        def shared_out():
            offsets = [set(node.search_reply({"limit": 1})["windrow"]["offsets"]) for node in nodes]
            return all(offsets) and not offsets[0] & offsets[1] and len(offsets[0] | offsets[1]) == PARTITIONS and offsets

        offsets = harness.wait_for(shared_out, "two processes share the partitions", 60)
        for node in nodes:
            harness.wait_for(node.ready, "ready with its part", 60)
        for node, own in zip(nodes, offsets, strict=True):
            missing = sorted(f"{TOPIC}[{p}]" for p in range(PARTITIONS) if str(p) not in own)
            for path, body in READS.items():
                reply = self.read(node, path, body)
                self.assertEqual(reply.status, 200, path)
                windrow = reply.json()["windrow"]
                self.assertIs(windrow["partial"], True, path)
                self.assertEqual(sorted(windrow["missing"]), missing, path)
                self.assertEqual(reply.headers["windrow-partial"], "1", path)
                refused = self.read(node, path, {**body, "windrow": {"require": "complete"}})
                self.assertEqual(refused.status, 503, path)
                self.assertIn(missing[0], refused.json()["status"]["error"], path)
            windows = node.request("GET", f"/windows?collection={COLLECTION}")
            self.assertEqual((windows.json()["partial"], sorted(windows.json()["missing"])), (True, missing))
            self.assertEqual(windows.headers["windrow-partial"], "1")
            deleted = self.read(node, "/points/delete?wait=true", {"filter": {"must": [{"key": "parity", "match": {"value": 1}}]}})
            self.assertEqual(deleted.status, 503, deleted.body)
            status = node.request("GET", "/status").json()
            collection = status["result"]["collections"][0] if "result" in status else status["collections"][0]
            self.assertEqual(sorted(collection["missing"]), missing)
            self.assertIs(collection["partial"], True)
            ready = node.request("GET", "/readyz")
            self.assertEqual(ready.status, 200)
            self.assertIn(missing[0], ready.body.decode())
        counted = [self.read(node, "/points/count", {"exact": True}).json()["result"]["count"] for node in nodes]
        self.assertEqual(sum(counted), ROWS)

        self.assertEqual(nodes[0].stop(), 0)
        harness.wait_for(
            lambda: self.read(nodes[1], "/points/count", {"windrow": {"require": "complete"}}).json()["result"]["count"] == ROWS,
            "the other process serves all partitions", 60)
        # It serves what it has of them at once, and is ready when it knows where each of them ends.
        harness.wait_for(lambda: nodes[1].request("GET", "/readyz").body == b"all shards are ready", "ready with all of them", 60)

    def test_process_without_the_ingest_role_sends_readers_away(self):
        nats = Nats().start()
        self.addCleanup(nats.stop)
        builder = self.node("builder", nats=nats.url)
        builder.create_topic(PARTITIONS)
        builder.start("--role", "indexer")
        for path, body in READS.items():
            reply = self.read(builder, path, body)
            self.assertEqual(reply.status, 503, path)
            self.assertIn("without the ingest role", reply.json()["status"]["error"], path)

    def test_starting_process_is_never_ready_with_nothing(self):
        windrow = self.node("a")
        windrow.create_topic(PARTITIONS)
        ends = self.feed()
        windrow.start()
        windrow.wait_caught_up(ends)
        for _ in range(3):
            self.assertEqual(windrow.stop(), 0)
            windrow.spawn_run()
            seen = []

            def ready():
                answer = self.read(windrow, "/points/count", {"exact": True})
                reply = answer.json()
                whole = answer.status == 200 and not reply["windrow"]["partial"]
                seen.append((whole, answer.status == 200 and reply["result"]["count"]))
                is_ready = windrow.ready()
                if is_ready:
                    after = self.read(windrow, "/points/count", {"exact": True}).json()
                    self.assertEqual((after["windrow"]["partial"], after["result"]["count"]), (False, ROWS))
                return is_ready

            harness.wait_for(ready, "ready", 60, interval_s=0.005)
            self.assertEqual({count for whole, count in seen if whole}, {ROWS})

    def test_start_without_a_broker_still_knows_its_partitions(self):
        windrow = self.node("a")
        windrow.create_topic(PARTITIONS)
        ends = self.feed()
        windrow.start()
        windrow.wait_caught_up(ends)
        self.assertEqual(windrow.stop(), 0)
        self.kafka.stop()
        windrow.start()

        def whole():
            reply = self.read(windrow, "/points/count", {"exact": True}).json()
            return not reply["windrow"]["partial"] and reply

        reply = harness.wait_for(whole, "all shards are open", 30)
        self.assertEqual((reply["result"]["count"], reply["windrow"]["missing"]), (ROWS, []))

    def test_writes_reach_ids_that_another_partitioner_put_elsewhere(self):
        windrow = self.node("a")
        windrow.create_topic(PARTITIONS)
        ends = self.feed(partitioner="consistent")  # crc32, librdkafka's own
        windrow.start()
        windrow.wait_caught_up(ends)

        def count(**body):
            return self.read(windrow, "/points/count", body).json()["result"]["count"]

        done = self.read(windrow, "/points/delete?wait=true", {"filter": {"must": [{"key": "parity", "match": {"value": 1}}]}})
        self.assertEqual((done.status, done.json()["result"]["status"]), (200, "completed"))
        self.assertEqual(count(), ROWS // 2)
        done = self.read(windrow, "/points/delete?wait=true", {"points": list(range(0, 100, 2))})
        self.assertEqual((done.status, done.json()["result"]["status"]), (200, "completed"))
        self.assertEqual(count(), ROWS // 2 - 50)
        changed = [{"id": number, "vector": [1.0] * DIM, "payload": {"parity": 7}} for number in range(100, 200, 2)]
        done = windrow.request("PUT", f"/collections/{COLLECTION}/points?wait=true", {"points": changed})
        self.assertEqual((done.status, done.json()["result"]["status"]), (200, "completed"))
        self.assertEqual(count(), ROWS // 2 - 50, "no id came twice")
        self.assertEqual(count(filter={"must": [{"key": "parity", "match": {"value": 7}}]}), 50)
        self.assertEqual(count(filter={"must": [{"key": "parity", "match": {"value": 0}}]}), ROWS // 2 - 100)


if __name__ == "__main__":
    harness.main()
