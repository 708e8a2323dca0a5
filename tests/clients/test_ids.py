"""An id is one thing: text and number of the same digits live side by side, and each way to delete hits the one that was named.
Keys of foreign producers are read by the collection's rule, and a tombstone that names nothing is counted and warned of."""

import json
import os
import sys
import time
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
import harness

harness.require_client("qdrant_client")
harness.require_client("confluent_kafka")

from kafka_client import PARTITIONER, next_message
from confluent_kafka import Consumer, Producer, TopicPartition
from qdrant_client import QdrantClient, models
from servers import Kafka
from service import COLLECTION, Windrow

DIM = 4
PAIRS = [("42", 42), ("0", 0), ("18446744073709551615", 2**64 - 1), ('{"id": 7}', 7), ("{not json}", 8), ('"9"', 9), ("\x01\x7f", 10), ("x" * 255, 11)]
UUID = "550e8400-e29b-41d4-a716-446655440000"


class Ids(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.kafka = Kafka().start()
        cls.addClassCleanup(cls.kafka.stop)

    def setUp(self):
        self.topic = f"ids-{self._testMethodName[:60]}"
        self.now_ms = int(time.time() * 1000)

    def service(self, partitions=2, group=None, **options):
        """With gRPC, on the test's topic."""
        windrow = Windrow(self.kafka.address, dim=DIM, topics=[self.topic], group=group or self.topic, late={"allowed": "1h"}, **options)
        self.addCleanup(windrow.stop)
        grpc_port = harness.free_ports(1)[0]
        windrow.tree["http"]["grpc_listen"] = f"127.0.0.1:{grpc_port}"
        windrow.configure(windrow.tree)
        windrow.create_topic(partitions)
        windrow.start()
        harness.wait_for(windrow.ready, "windrow is ready")
        windrow.grpc_port = grpc_port
        return windrow

    def client(self, windrow, grpc):
        client = QdrantClient(host="127.0.0.1", port=windrow.port, grpc_port=windrow.grpc_port, prefer_grpc=grpc, https=False, timeout=30, check_compatibility=False)
        self.addCleanup(client.close)
        return client

    def point(self, ident, **payload):
        return models.PointStruct(id=ident, vector=[1, 2, 3, 4], payload={**payload, "time_ms": self.now_ms})

    def send(self, *messages):
        """(key, value) as bytes, or (key, value, headers), in order, to partition 0. Returns the offset of the last."""
        offsets = []
        producer = Producer({"bootstrap.servers": self.kafka.address, "enable.idempotence": True, **PARTITIONER})
        for key, value, *headers in messages:
            producer.produce(self.topic, value, key, 0, headers=headers[0] if headers else None, on_delivery=lambda error, sent: offsets.append(sent.offset()))
        self.assertEqual(producer.flush(60), 0)
        return max(offsets)

    def value(self, ident):
        return json.dumps({"id": ident, "vector": [1, 2, 3, 4], "payload": {"time_ms": self.now_ms}}).encode()

    def deletes(self, windrow):
        found = windrow.metrics("windrow_deletes_total")
        return {label.split('"')[1]: value for labels, value in found.items() for label in labels if label.startswith("outcome=") and value}

    def check_deletes(self, windrow, expected):
        """A delete is seen a moment before it is counted."""
        def counted():
            found = self.deletes(windrow)
            return found == expected or sum(found.values()) >= sum(expected.values()) and self.fail(f"{found} deletes, not {expected}")
        harness.wait_for(counted, f"{expected} deletes")

    def test_each_delete_hits_the_id_that_it_names(self):
        windrow = self.service()
        for grpc in (False, True):
            client = self.client(windrow, grpc)
            for text, number in [*PAIRS, (UUID, 12)]:
                with self.subTest(grpc=grpc, text=text[:20]):
                    client.upsert(COLLECTION, [self.point(text), self.point(number)], wait=True)
                    self.assertEqual(set(windrow.scroll()), {text, number})
                    client.delete(COLLECTION, [text], wait=True)
                    self.assertEqual(set(windrow.scroll()), {number})
                    client.upsert(COLLECTION, [self.point(text)], wait=True)
                    client.delete(COLLECTION, [number], wait=True)
                    self.assertEqual(set(windrow.scroll()), {text})
                    client.delete(COLLECTION, [text], wait=True)
                    self.assertEqual(windrow.scroll(), {})
        self.check_deletes(windrow, {"done": 6 * (len(PAIRS) + 1)})

    def test_filters_batches_updates_and_conditions_hit_the_id_that_they_name(self):
        windrow = self.service()
        for grpc in (False, True):
            client = self.client(windrow, grpc)
            client.upsert(COLLECTION, [self.point("77", tag="a"), self.point(77, tag="b")], wait=True)
            client.set_payload(COLLECTION, {"seen": True}, ["77"], wait=True)
            self.assertEqual({ident: point["payload"].get("seen") for ident, point in windrow.scroll().items()}, {"77": True, 77: None})
            client.upsert(COLLECTION, [self.point("77", tag="c")], wait=True, update_mode=models.UpdateMode.UPDATE_ONLY)
            client.upsert(COLLECTION, [self.point("78", tag="c")], wait=True, update_mode=models.UpdateMode.UPDATE_ONLY)
            self.assertEqual({ident: point["payload"]["tag"] for ident, point in windrow.scroll().items()}, {"77": "c", 77: "b"})
            only_text = models.Filter(must=[models.FieldCondition(key="tag", match=models.MatchValue(value="c"))])
            client.delete(COLLECTION, only_text, wait=True)
            self.assertEqual(set(windrow.scroll()), {77})
            operations = [models.UpsertOperation(upsert=models.PointsList(points=[self.point("77", tag="d")])),
                          models.DeleteOperation(delete=models.PointIdsList(points=[77])),
                          models.SetPayloadOperation(set_payload=models.SetPayload(payload={"last": 1}, points=["77"]))]
            client.batch_update_points(COLLECTION, operations, wait=True)
            self.assertEqual({ident: point["payload"].get("last") for ident, point in windrow.scroll().items()}, {"77": 1})
            client.delete(COLLECTION, ["77"], wait=True)

    def test_path_of_a_point_may_say_the_kind(self):
        windrow = self.service(partitions=1)
        self.client(windrow, grpc=False).upsert(COLLECTION, [self.point("42")], wait=True)
        path = f"/collections/{COLLECTION}/points/42"
        self.assertEqual(windrow.request("GET", path).status, 404) # a number
        self.assertEqual(windrow.request("GET", f"{path}?id_kind=number").status, 404)
        self.assertEqual(windrow.request("GET", f"{path}?id_kind=text").json()["result"]["id"], "42")
        self.assertEqual(windrow.request("GET", f"/collections/{COLLECTION}/points/a?id_kind=number").status, 400)
        self.assertEqual(windrow.request("GET", f"{path}?id_kind=uuid").status, 400)

    def test_command_deletes_texts_of_digits(self):
        windrow = self.service()
        lines = "\n".join(self.value(ident).decode() for ident in ("42", 42, "043"))
        done = windrow.command("produce", "-C", COLLECTION, input=lines)
        self.assertEqual(done.returncode, 0, done.stderr)
        harness.wait_for(lambda: set(windrow.scroll()) == {"42", 42, "043"}, "all are searchable")
        for arguments, left in ((["--text-ids", "42"], {42, "043"}), (["42", "043"], set())):
            done = windrow.command("produce", "-C", COLLECTION, "--delete", *arguments)
            self.assertEqual(done.returncode, 0, done.stderr)
            harness.wait_for(lambda left=left: set(windrow.scroll()) == left, f"{arguments} are deleted, {left} are left")
        self.check_deletes(windrow, {"done": 3})

    def test_own_messages_say_the_kind_of_their_id(self):
        windrow = self.service(partitions=1)
        client = self.client(windrow, grpc=False)
        client.upsert(COLLECTION, [self.point("42"), self.point(42), self.point(UUID)], wait=True)
        client.delete(COLLECTION, ["42"], wait=True)
        client.set_payload(COLLECTION, {"a": 1}, [42], wait=True)
        windrow.command("produce", "-C", COLLECTION, "--delete", "42")
        consumer = Consumer({"bootstrap.servers": self.kafka.address, "group.id": "headers"})
        self.addCleanup(consumer.close)
        consumer.assign([TopicPartition(self.topic, 0, 0)])
        found = []
        while len(found) < 6:
            message = next_message(consumer)
            found.append((message.key().decode(), dict(message.headers())["windrow-id"].decode()))
        self.assertEqual(found, [("42", "text"), ("42", "number"), (UUID, "text"), ("42", "text"), ("42", "number"), ("42", "number")])

    def test_foreign_tombstone_deletes_the_id_that_exists_or_is_told(self):
        windrow = self.service(partitions=1)
        last = self.send((b"42", self.value("42")), (b"42", None),           # the text: no number is there
                         (b"x", self.value("y")), (b"x", None),              # names nothing
                         (b'"doc-1"', self.value("doc-1")), (b'"doc-1"', None),
                         ((44).to_bytes(8, "big"), self.value(44)), ((44).to_bytes(8, "big"), None),
                         (b"45", self.value("45")), (b"45", self.value(45)), (b"45", None))  # both: the number
        windrow.wait_caught_up({"0": last + 1})
        self.assertEqual(set(windrow.scroll()), {"y", "45"})
        self.check_deletes(windrow, {"other_reading": 3, "ambiguous": 1, "no_such_id": 1})
        log = windrow.log()
        self.assertIn(f'{self.topic} [0] offset 3: the delete of "x" changed nothing', log)
        self.assertIn(f'{self.topic} [0] offset 10: the key of the delete means 45 or "45"', log)
        # Whoever reads the log later comes to the same points.
        other = self.service(partitions=1, group=f"{self.topic}-again")
        other.wait_caught_up({"0": last + 1})
        self.assertEqual(other.scroll(), windrow.scroll())
        # Warnings come once a minute, counts always.
        last = self.send(*[(b"none", None)] * 50)
        windrow.wait_caught_up({"0": last + 1})
        harness.wait_for(lambda: self.deletes(windrow)["no_such_id"] == 51, "all 51 are counted")
        self.assertEqual(windrow.log().count("changed nothing"), 1)

    def test_rule_of_a_collection_reads_foreign_keys(self):
        value = json.dumps({"vector": [1, 2, 3, 4]}).encode()
        cases = [("text", b"42", "42"), ("number", b"42", 42), ("json", b'"42"', "42"), ("json", b"42", 42), ("json", b"\0\0\0\0\x07\"a\"", "a"),
                 ("long", (42).to_bytes(8, "big"), 42), ("uuid_bytes", bytes.fromhex(UUID.replace("-", "")), UUID)]
        for number, (rule, key, ident) in enumerate(cases):
            with self.subTest(rule=rule, key=key):
                self.topic = f"ids-rule-{number}"
                windrow = self.service(partitions=1, key=rule, event_time=None)
                last = self.send((key, value))
                windrow.wait_caught_up({"0": last + 1})
                self.assertEqual(set(windrow.scroll()), {ident})
                last = self.send((key, None), (b"\xff\xfe", None))
                windrow.wait_caught_up({"0": last + 1})
                self.assertEqual(windrow.scroll(), {})
                self.check_deletes(windrow, {"done": 1})
                self.assertEqual(windrow.outcomes().get('reason="id"'), 1) # no id by any rule: a dead letter
                client = self.client(windrow, grpc=False) # whose ids no rule reads
                client.upsert(COLLECTION, [self.point("42"), self.point(42)], wait=True)
                client.delete(COLLECTION, ["42"], wait=True)
                self.assertEqual(set(windrow.scroll()), {42})
                windrow.stop()


if __name__ == "__main__":
    harness.main()
