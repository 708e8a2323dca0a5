"""What other people's serialisers write is read: msgpack, protobuf and confluent-kafka from PyPI, over a real broker."""

import json
import os
import struct
import subprocess
import sys
import time
import unittest
import uuid

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
import harness

harness.require_client("msgpack", "formats")

import msgpack
from confluent_kafka import Producer
from confluent_kafka.schema_registry import SchemaRegistryClient
from confluent_kafka.schema_registry.protobuf import ProtobufSerializer
from confluent_kafka.serialization import MessageField, SerializationContext
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, struct_pb2
from model import float32
from servers import Kafka
from service import COLLECTION, TOPIC, Windrow

DIM = 5
# Values that a sloppy reader gets wrong: subnormal, largest, halfway cases, negative zero.
VECTOR = float32([1.4e-45, 3.4028234663852886e38, 0.1, 16777217.0, -0.0])
NOW_MS = int(time.time() * 1000)
PAYLOAD = {"text": "größer 🙂", "count": 5, "ratio": 0.25, "flags": [True, None, []], "place": {"lat": 52.5, "deep": {"n": -1}}}


def messages_of_schema():
    """Point and PointBatch as protoc and the protobuf package make them of the published schema."""
    folder = harness.scratch_folder("schema")
    path = os.path.join(folder, "windrow.bin")
    command = [sys.executable, "-m", "grpc_tools.protoc", f"-I{harness.ROOT}/ingest", f"--descriptor_set_out={path}"]
    subprocess.run([*command, "windrow.proto"], check=True, stdin=subprocess.DEVNULL)
    files = descriptor_pb2.FileDescriptorSet()
    with open(path, "rb") as file:
        files.ParseFromString(file.read())
    pool = descriptor_pool.Default()
    assert struct_pb2.Struct.DESCRIPTOR.file.pool is pool
    for file in files.file:
        pool.AddSerializedFile(file.SerializeToString())
    find = pool.FindMessageTypeByName
    return [message_factory.GetMessageClass(find(f"windrow.v1.{name}")) for name in ("Point", "PointBatch")]


class Formats(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.point_class, cls.batch_class = messages_of_schema()
        cls.kafka = Kafka().start()
        cls.windrow = Windrow(cls.kafka.address, dim=DIM)
        cls.windrow.create_topic(1)
        cls.windrow.start()
        cls.producer = Producer({"bootstrap.servers": cls.kafka.address})
        cls.sent = 0

    @classmethod
    def tearDownClass(cls):
        cls.windrow.stop()
        cls.kafka.stop()

    def expect(self, value, *ids, key=None, content_type=None, payload=PAYLOAD):
        """VALUE is one message; IDS must be there after it, each with VECTOR and PAYLOAD, and nothing was refused."""
        headers = [("content-type", content_type)] if content_type else []
        self.producer.produce(TOPIC, value, key, headers=headers)
        self.assertEqual(self.producer.flush(30), 0)
        type(self).sent += 1
        self.windrow.wait_caught_up({"0": self.sent})
        self.assertEqual(sum(self.windrow.metrics("windrow_records_rejected_total").values()), 0, self.windrow.log()[-1000:])
        body = {"ids": list(ids), "with_payload": True, "with_vector": True}
        points = {point["id"]: point for point in self.windrow.request("POST", f"/collections/{COLLECTION}/points", body).json()["result"]}
        for point_id in ids:
            self.assertEqual(points[point_id]["payload"], payload)
            self.assertEqual(struct.pack("<5f", *points[point_id]["vector"]), struct.pack("<5f", *VECTOR))

    def fields(self, point_id, vector=None):
        return {"id": point_id, "vector": VECTOR if vector is None else vector, "payload": PAYLOAD, "time_ms": NOW_MS}

    def test_json(self):
        unique = str(uuid.uuid4())
        self.expect(json.dumps(self.fields(1)), 1)
        self.expect(json.dumps(self.fields(unique), ensure_ascii=False, indent=2), unique, content_type="application/json; charset=utf-8")
        self.expect(json.dumps({"points": [self.fields(2), self.fields("a")]}), 2, "a")
        self.expect(json.dumps([self.fields(3), self.fields(4)]), 3, 4)
        self.expect(json.dumps({"collection_name": COLLECTION, **self.fields(5)}), 5)
        self.expect(json.dumps({"id": 6, "embedding": VECTOR, "time_ms": NOW_MS, **PAYLOAD}), 6)
        without_id = self.fields(7)
        del without_id["id"]
        self.expect(json.dumps(without_id), 7, key=json.dumps({"id": 7}))
        self.expect(json.dumps(self.fields(8, {"": VECTOR})), 8)

    def test_msgpack(self):
        packed = struct.pack("<5f", *VECTOR)
        self.expect(msgpack.packb(self.fields(20)), 20)
        self.expect(msgpack.packb(self.fields(21), use_single_float=True), 21)
        self.expect(msgpack.packb(self.fields(22, packed)), 22, content_type="application/msgpack")
        self.expect(msgpack.packb([self.fields(23, packed), self.fields("b", packed)]), 23, "b")
        self.expect(msgpack.packb({"points": [self.fields(24)]}), 24)
        many = [self.fields(number, packed) for number in range(1000, 1100)]
        self.expect(msgpack.packb(many), *range(1000, 1100))

    def protobuf_point(self, **fields):
        point = self.point_class(vector=VECTOR, time_ms=NOW_MS, **fields)
        if not point.payload_json:
            point.payload.update(PAYLOAD)
        return point

    def test_protobuf(self):
        self.expect(self.protobuf_point(number=40).SerializeToString(), 40)
        self.expect(self.protobuf_point(text="c").SerializeToString(), "c", content_type="application/x-protobuf")
        self.expect(self.protobuf_point(number=41, payload_json=json.dumps(PAYLOAD)).SerializeToString(), 41)
        batch = self.batch_class(points=[self.protobuf_point(number=42), self.protobuf_point(text="d")])
        self.expect(batch.SerializeToString(), 42, "d")

    def test_protobuf_behind_confluents_framing(self):
        registry = SchemaRegistryClient.new_client({"url": "mock://formats"})
        context = SerializationContext(TOPIC, MessageField.VALUE)
        point = self.protobuf_point(number=60)
        framed = ProtobufSerializer(self.point_class, registry)(point, context)
        self.assertEqual(framed[:1], b"\0")
        self.assertEqual(framed[6:], point.SerializeToString())
        self.expect(framed, 60)
        # Not the first message of its file: the framing names it by index.
        batch = self.batch_class(points=[self.protobuf_point(number=61)])
        self.expect(ProtobufSerializer(self.batch_class, registry)(batch, context), 61)

    def test_raw(self):
        # It has no fields: the time is Kafka's and there is no payload.
        self.expect(struct.pack("<5f", *VECTOR), 80, key="80", payload={})
        self.expect(struct.pack("<5f", *VECTOR), "e", key="e", content_type="application/x-float32", payload={})

    def test_tombstone_of_each_key(self):
        for point_id, key in ((90, "90"), (91, '{"id": 91}'), ("f", "f")):
            self.expect(msgpack.packb(self.fields(point_id)), point_id, key=key)
            self.expect(None, key=key)
            found = self.windrow.request("POST", f"/collections/{COLLECTION}/points", {"ids": [point_id]}).json()["result"]
            self.assertEqual(found, [])


if __name__ == "__main__":
    harness.main()
