"""What other people's serialisers write is read, and what windrow writes is read by them: msgpack, protobuf, confluent-kafka,
pyarrow, polars and duckdb from PyPI, over a real broker."""

import base64
import io
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

harness.require_client("pyarrow", "formats")

import duckdb
import msgpack
import numpy
import polars
import pyarrow
from confluent_kafka import Consumer, Producer
from confluent_kafka.schema_registry import SchemaRegistryClient
from confluent_kafka.schema_registry.protobuf import ProtobufSerializer
from confluent_kafka.serialization import MessageField, SerializationContext
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, struct_pb2
from kafka_client import next_message
from model import float32
from servers import Kafka
from service import COLLECTION, DEAD_LETTERS, TOPIC, Windrow, for_class

DIM = 5
# Values that a sloppy reader gets wrong: subnormal, near the longest that l2 takes (8.9e18), halfway cases, negative zero.
VECTOR = float32([1.4e-45, 8.8888888e18, 0.1, 16777217.0, -0.0])
NOW_MS = int(time.time() * 1000)
ARROW = "application/vnd.apache.arrow.stream"
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


def ms_of(time):
    return round(time.timestamp() * 1000)


def stream_of(table):
    sink = pyarrow.BufferOutputStream()
    with pyarrow.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue().to_pybytes()


class Formats(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.point_class, cls.batch_class = messages_of_schema()
        cls.kafka = Kafka().start()
        cls.windrow = Windrow(cls.kafka.address, dim=DIM)
        cls.windrow.create_topic(1)
        cls.windrow.start()
        cls.producer = Producer({"bootstrap.servers": cls.kafka.address})
        cls.sent = cls.refused = 0

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
        self.assertEqual(self.rejected(), self.refused, self.windrow.log()[-1000:])
        body = {"ids": list(ids), "with_payload": True, "with_vector": True}
        points = {point["id"]: point for point in self.windrow.request("POST", f"/collections/{COLLECTION}/points", body).json()["result"]}
        for point_id in ids:
            self.assertEqual(points[point_id]["payload"], payload)
            self.assertEqual(struct.pack("<5f", *points[point_id]["vector"]), struct.pack("<5f", *VECTOR))

    def rejected(self):
        return sum(self.windrow.metrics("windrow_records_rejected_total").values())

    def fields(self, point_id, vector=None):
        return {"id": point_id, "vector": VECTOR if vector is None else vector, "payload": PAYLOAD, "time_ms": NOW_MS}

    def test_json_records_are_searchable(self):
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

    def test_msgpack_records_are_searchable(self):
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

    def test_protobuf_records_are_searchable(self):
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

    def test_raw_records_are_searchable(self):
        # It has no fields: the time is Kafka's and there is no payload.
        self.expect(struct.pack("<5f", *VECTOR), 80, key="80", payload={})
        self.expect(struct.pack("<5f", *VECTOR), "e", key="e", content_type="application/x-float32", payload={})

    def test_arrow_batches_are_searchable(self):
        times = pyarrow.array([NOW_MS * 1000] * 2, pyarrow.timestamp("us", "UTC"))
        vectors = pyarrow.array([VECTOR] * 2, pyarrow.list_(pyarrow.float32(), DIM))
        payloads = pyarrow.array([json.dumps(PAYLOAD)] * 2)
        table = pyarrow.table({"id": ["400", "arrow"], "vector": vectors, "time_ms": times, "payload": payloads})
        self.expect(stream_of(table), 400, "arrow")
        self.expect(stream_of(pyarrow.concat_tables([table.take([0])] * 3)), 400, content_type=ARROW)

        flat = {"text": "größer 🙂", "n": 5, "words": ["a", "b"], "kind": "x"}
        frame = polars.DataFrame(
            {"id": [410, 411], "vector": [VECTOR] * 2, "time_ms": [NOW_MS] * 2, **{key: [value] * 2 for key, value in flat.items()}},
            schema_overrides={"vector": polars.Array(polars.Float32, DIM), "time_ms": polars.Datetime("ms"), "kind": polars.Categorical})
        buffer = io.BytesIO()
        frame.write_ipc_stream(buffer)
        self.expect(buffer.getvalue(), 410, 411, payload=flat)

        relation = duckdb.sql(f"select 420 + range as id, {[str(value) for value in VECTOR]}::float[{DIM}] as vector, {NOW_MS} as time_ms, 'größer 🙂' as text, 5 as n, "
                              "['a', 'b'] as words, 'x' as kind from range(300)")
        self.expect(stream_of(relation.to_arrow_table()), *range(420, 720), payload=flat)

        path = os.path.join(harness.scratch_folder("again"), "rows.arrows")
        self.assertEqual(self.export("--arrow", path, "--filter", '{"must": [{"has_id": [400, "arrow"]}]}').returncode, 0)
        again = pyarrow.ipc.open_stream(path).read_all().rename_columns({"time": "time_ms"})
        before = self.offset_of("arrow")
        self.expect(stream_of(again), 400, "arrow")
        self.assertGreater(self.offset_of("arrow"), before)

    def offset_of(self, point_id):
        body = {"filter": {"must": [{"has_id": [point_id]}]}, "windrow": {"place": True}}
        return self.windrow.post("/points/scroll", body)["points"][0]["windrow"]["offset"]

    def test_bad_row_of_arrow_is_a_message_that_can_be_sent_again(self):
        vectors = pyarrow.array([VECTOR, [*VECTOR[:4], float("nan")], VECTOR], pyarrow.list_(pyarrow.float32(), DIM))
        ahead = NOW_MS + 86_400_000
        table = pyarrow.table({"id": [750, 751, 752], "vector": vectors, "time_ms": [NOW_MS, NOW_MS, ahead], "n": [1, 2, 3]})
        type(self).refused += 2
        self.expect(stream_of(table), 750, payload={"n": 1})
        consumer = Consumer({"bootstrap.servers": self.kafka.address, "group.id": "letters", "auto.offset.reset": "earliest"})
        consumer.subscribe([DEAD_LETTERS])
        letters = {}
        while len(letters) < 2:
            letter = next_message(consumer)
            letters[msgpack.unpackb(letter.value())["id"]] = letter
        consumer.close()
        reason = dict(letters[751].headers())["__connect.errors.exception.message"]
        self.assertEqual(reason, b"$.batches[0].rows[1].vector[4]: NaN is not a finite float32")
        row = msgpack.unpackb(letters[752].value())
        self.assertEqual((row["n"], row["vector"]), (3, struct.pack("<5f", *VECTOR)))
        self.expect(msgpack.packb({**row, "time_ms": NOW_MS}), 752, content_type="application/msgpack", payload={"n": 3})

    def read_arrow(self, path, body, accept=ARROW):
        """The reply as pyarrow reads it, with its headers; polars and duckdb must read the same."""
        reply = self.windrow.request("POST", f"/collections/{COLLECTION}/points/{path}", body, headers={"Accept": accept})
        self.assertEqual((reply.status, reply.headers["Content-Type"]), (200, ARROW), reply.body[:500])
        table = pyarrow.ipc.open_stream(reply.body).read_all()
        table.validate(full=True)
        if table.num_rows:
            self.assertEqual(polars.read_ipc_stream(reply.body).to_arrow().to_pylist(), table.to_pylist())
        self.assertEqual(duckdb.from_arrow(table).to_arrow_table().to_pylist(), table.to_pylist())
        return table, reply

    def test_replies_in_arrow(self):
        ids = [*range(200, 230), *(f"text-{number}-ü🙂" for number in range(5))]
        points = [{"id": point_id, "vector": [float(number), 1, 2, 3, 4], "payload": {"n": number, "text": "größer 🙂"}, "time_ms": NOW_MS - number}
                  for number, point_id in enumerate(ids)]
        bare = ids[11]
        points[11]["vector"] = {}
        self.producer.produce(TOPIC, json.dumps(points))
        self.assertEqual(self.producer.flush(30), 0)
        type(self).sent += 1
        self.windrow.wait_caught_up({"0": self.sent})
        only_these = {"must": [{"has_id": ids}]}
        body = {"filter": only_these, "limit": 7, "with_vector": True, "with_payload": {"exclude": ["text"]}, "windrow": {"place": True}}
        rows, pages = [], 0
        while True:
            table, reply = self.read_arrow("scroll", body)
            expected = self.windrow.request("POST", f"/collections/{COLLECTION}/points/scroll", body).json()
            freshness = json.loads(table.schema.metadata[b"windrow"])
            self.assertEqual({**freshness, "watermarks_ms": 0}, {**expected["windrow"], "watermarks_ms": 0})
            following = reply.headers["windrow-next-page-offset"]
            self.assertEqual(json.loads(following or "null"), expected["result"]["next_page_offset"])
            for row, point in zip(table.to_pylist(), expected["result"]["points"], strict=True):
                self.assertEqual(row["id"], str(point["id"]))
                self.assertEqual(row["vector"], None if point["id"] == bare else point["vector"])
                self.assertEqual(json.loads(row["payload"]), point["payload"])
                self.assertEqual(
                    {"time_ms": ms_of(row["time"]), "shard": row["shard"], "offset": row["offset"], "window_start_ms": ms_of(row["window_start"])},
                    point["windrow"])
            rows += table.to_pylist()
            pages += 1
            if following is None:
                break
            body["offset"] = json.loads(following)
        self.assertEqual((pages, len(rows)), (5, 35))

        query = {"query": [3.0, 1, 2, 3, 4], "filter": only_these, "limit": 35}
        table, _ = self.read_arrow("query", query)
        expected = self.windrow.search_reply(query)["result"]["points"]
        self.assertEqual(table.column_names, ["id", "score", "time"])
        self.assertEqual(table["id"].to_pylist(), [str(point["id"]) for point in expected])
        self.assertEqual(table["score"].to_pylist(), [point["score"] for point in expected])
        self.assertEqual(table.schema.field("time").type, pyarrow.timestamp("ms", "UTC"))

        query["filter"] = {"must": [{"has_id": ids[:30]}]}
        table, _ = self.read_arrow("query", query, f"application/json;q=0.5, {ARROW}; ids=uint64")
        self.assertEqual(table.schema.field("id").type, pyarrow.uint64())
        self.assertEqual(sorted(table["id"].to_pylist()), [point_id for point_id in ids[:30] if point_id != bare])
        empty, _ = self.read_arrow("query", {**query, "filter": {"must": [{"has_id": []}]}})
        self.assertEqual(empty.num_rows, 0)
        for accept, text in ((f"{ARROW};ids=uint64", "is not a number"), (f"{ARROW};ids=int8", "expected ids=uint64 or ids=utf8, got ids=int8")):
            refused = self.windrow.request("POST", f"/collections/{COLLECTION}/points/scroll", body, headers={"Accept": accept})
            self.assertEqual(refused.status, 400)
            self.assertIn(text, refused.json()["status"]["error"])

    def export(self, *arguments):
        """Its output is bytes."""
        command = [harness.Environment.binary, "export", "-c", self.windrow.config_path, "-C", COLLECTION, *arguments]
        return subprocess.run(command, capture_output=True, timeout=90, check=False)

    def test_export_is_one_stream_of_all_pages(self):
        ids = list(range(300, 340))
        points = [{"id": point_id, "vector": [float(point_id), 1, 2, 3, 4], "payload": {"part": "export", "n": point_id}, "time_ms": NOW_MS - point_id}
                  for point_id in ids]
        points[9]["vector"] = {} # on the second page
        self.producer.produce(TOPIC, json.dumps(points))
        self.assertEqual(self.producer.flush(30), 0)
        type(self).sent += 1
        self.windrow.wait_caught_up({"0": self.sent})
        path = os.path.join(harness.scratch_folder("export"), "rows.arrows")
        these = ("--filter", '{"must": [{"key": "part", "match": {"value": "export"}}]}')
        done = self.export("--arrow", path, *these, "--page", "7", "--number-ids", "--json")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(json.loads(done.stdout), {"rows": 40, "bytes": os.path.getsize(path)})
        self.assertEqual(os.listdir(os.path.dirname(path)), ["rows.arrows"])
        table = pyarrow.ipc.open_stream(path).read_all()
        self.assertEqual(table["id"].to_pylist(), ids)
        self.assertEqual([vector and vector[0] for vector in table["vector"].to_pylist()], [None if point_id == 309 else point_id for point_id in ids])
        self.assertEqual(polars.read_ipc_stream(path)["id"].to_list(), ids)
        done = self.export("--arrow", "-", "--from", str(NOW_MS - 319), "--to", str(NOW_MS - 310), *these, "--no-vectors")
        table = pyarrow.ipc.open_stream(done.stdout).read_all()
        self.assertEqual((table["id"].to_pylist(), table.column_names), ([str(number) for number in range(311, 320)], ["id", "time", "payload"]))
        self.assertIn(b"9 rows", done.stderr)
        done = self.export("--arrow", path + "2", "--filter", '{"mustt": 1}')
        self.assertEqual((done.returncode, os.path.exists(path + "2"), os.path.exists(path + "2.part")), (1, False, False))
        self.assertIn(b"mustt", done.stderr)
        self.assertEqual(self.export("--arrow", path, "--filter", "[").returncode, 64)

    def upsert_bytes(self, parameters, rows, content_type="application/octet-stream"):
        return self.windrow.request("PUT", f"/collections/{COLLECTION}/points?wait=true{parameters}", raw=rows, headers={"Content-Type": content_type})

    def test_upsert_of_vectors_as_bytes(self):
        rows = [VECTOR, [1.0, 2, 3, 4, 5], [6.0, 7, 8, 9, 10]]
        packed = [struct.pack("<5f", *row) for row in rows]
        largest = 2**64 - 1
        for parameters, body, ids in (("&first_id=800", b"".join(packed), [800, 801, 802]), (f"&first_id={largest}", packed[0], [largest]),
                                      ("", b"".join(struct.pack("<Q", point_id) + row for point_id, row in zip((9000, largest - 1, 810), packed)), [9000, largest - 1, 810])):
            reply = self.upsert_bytes(parameters, body)
            self.assertEqual((reply.status, reply.json()["result"]["status"]), (200, "completed"), reply.body)
            type(self).sent += len(ids)
            body = {"ids": ids, "with_vector": True}
            points = self.windrow.request("POST", f"/collections/{COLLECTION}/points", body).json()["result"]
            self.assertEqual([struct.pack("<5f", *point["vector"]) for point in points], packed[: len(ids)])
            self.assertEqual([(point["id"], point["payload"]) for point in points], [(point_id, {}) for point_id in ids])
        bad = struct.pack("<5f", 1, 2, float("-inf"), 4, 5)
        for parameters, body, text in (("&first_id=1", packed[0] + bad, "row 1, value 2 (byte 28): -infinity is not a finite float32"),
                                       ("", struct.pack("<Q", 1) + bad, "row 0, value 2 (byte 16)"),
                                       ("&first_id=1", packed[0] + b"abc", "23 bytes are not rows of 20 (5 float32)"),
                                       ("", packed[0], "20 bytes are not rows of 28 (an id of 8 bytes and 5 float32)"),
                                       (f"&first_id={largest}", packed[0] * 2, "the ids exceed 64 bits"),
                                       ("&first_id=-1", packed[0], "first_id")):
            reply = self.upsert_bytes(parameters, body)
            self.assertIn(reply.status, (400, 422))
            self.assertIn(text, reply.json()["status"]["error"])
        reply = self.upsert_bytes("&first_id=1", b'{"points": []}', "application/json")
        self.assertEqual(reply.status, 400)
        self.assertIn("belongs to a body of vectors", reply.json()["status"]["error"])

    def test_tombstone_of_each_key(self):
        for point_id, key in ((90, "90"), (91, '{"id": 91}'), ("f", "f")):
            for nothing in (None, b"null"): # the second is what JsonConverter of Kafka Connect writes
                self.expect(msgpack.packb(self.fields(point_id)), point_id, key=key)
                self.expect(nothing, key=key)
                found = self.windrow.request("POST", f"/collections/{COLLECTION}/points", {"ids": [point_id]}).json()["result"]
                self.assertEqual(found, [])


def bits_of(values):
    """As numpy.packbits."""
    return bytes(int("".join(str(int(value)) for value in values[at : at + 8]).ljust(8, "0"), 2) for at in range(0, len(values), 8))


# How each type is written, by struct where it has a letter.
TYPES = {
    "float32": lambda values: struct.pack(f"<{len(values)}f", *values),
    "float16": lambda values: struct.pack(f"<{len(values)}e", *values),
    "bfloat16": lambda values: b"".join(struct.pack("<f", value)[2:] for value in values),
    "int8": lambda values: struct.pack(f"{len(values)}b", *map(int, values)),
    "binary": bits_of,
}


class VectorsAsBytes(unittest.TestCase):
    """Every type in every format, in a collection that takes bytes for int8. Twelve bits fill no whole byte."""

    DIM = 12

    @classmethod
    def setUpClass(cls):
        cls.point_class, cls.batch_class = messages_of_schema()
        for_class(cls, dim=cls.DIM, vectors={"messages": "int8"})
        cls.windrow.create_topic(1)
        cls.windrow.start()
        cls.producer = Producer({"bootstrap.servers": cls.kafka.address})
        cls.sent = 0
        cls.vectors = {}

    def send(self, value, key=None, said=None, **headers):
        if said:
            headers["windrow-vector-type"] = said
        self.producer.produce(TOPIC, value, key, headers=list(headers.items()))
        self.assertEqual(self.producer.flush(30), 0)
        type(self).sent += 1

    def new(self, kind):
        """A new id with a vector that each type of at least as many bits as KIND holds exactly."""
        point_id = len(self.vectors) + 1
        values = [float(point_id >> bit & 1) for bit in range(self.DIM)]
        if kind != "binary":
            values = [value * 3 - point_id % 5 for value in values]
        self.vectors[point_id] = values
        return point_id, TYPES[kind](values)

    def check(self):
        """Everything that was sent is there, with its values, and is what a search for it finds first."""
        self.windrow.wait_caught_up({"0": self.sent})
        points = self.windrow.scroll()
        self.assertEqual({point_id: point["vector"] for point_id, point in points.items()}, self.vectors)
        for values in self.vectors.values():
            nearest = self.windrow.search_reply({"query": values, "limit": 1, "params": {"exact": True}})["result"]["points"][0]
            self.assertEqual((self.vectors[nearest["id"]], nearest["score"]), (values, 0))

    def test_types_in_all_formats(self):
        for kind in TYPES:
            # Bytes that name their type, those of a header, and those of the collection.
            for said, named in ((None, True), (kind, False), (None, False)):
                if not said and not named and kind != "int8":
                    continue

                def vector(packed):
                    return {kind: packed} if named else packed

                point_id, packed = self.new(kind)
                fields = {"id": point_id, "vector": vector(base64.b64encode(packed).decode()), "payload": {}, "time_ms": NOW_MS}
                self.send(json.dumps(fields), said=said)
                point_id, packed = self.new(kind)
                self.send(msgpack.packb([{"id": point_id, "vector": vector(packed), "payload": {}, "time_ms": NOW_MS}]), said=said)
                point_id, packed = self.new(kind)
                point = self.point_class(number=point_id, vector_bytes=packed, time_ms=NOW_MS)
                if named:
                    point.vector_type = f"VECTOR_TYPE_{kind.upper()}"
                self.send(point.SerializeToString(), said=said)
                if named:
                    continue
                point_id, packed = self.new(kind)
                self.send(packed, str(point_id), said=said)
                for column in (pyarrow.binary(len(packed)), pyarrow.binary(), pyarrow.large_binary(), pyarrow.binary_view()):
                    point_id, packed = self.new(kind)
                    self.send(stream_of(pyarrow.table({"id": [point_id], "vector": pyarrow.array([packed], column), "time_ms": [NOW_MS]})), said=said)
        for kind, items in (("float32", pyarrow.float32()), ("float16", pyarrow.float16()), ("int8", pyarrow.int8())):
            point_id, packed = self.new(kind)
            lists = pyarrow.FixedSizeListArray.from_buffers(
                pyarrow.list_(items, self.DIM), 1, [None], children=[pyarrow.Array.from_buffers(items, self.DIM, [None, pyarrow.py_buffer(packed)])])
            self.send(stream_of(pyarrow.table({"id": [point_id], "embedding": lists, "time_ms": [NOW_MS]})))
        point_id, packed = self.new("float32")
        self.send(packed, str(point_id), **{"content-type": "application/x-float32"})
        point_id, packed = self.new("int8")
        frame = polars.DataFrame({"id": [point_id], "vector": [packed], "time_ms": [NOW_MS]})
        buffer = io.BytesIO()
        frame.write_ipc_stream(buffer)
        self.send(buffer.getvalue())
        # What windrow itself writes into the topic is read as it was meant.
        point_id, packed = self.new("float32")
        reply = self.windrow.request("PUT", f"/collections/{COLLECTION}/points?wait=true&first_id={point_id}", raw=packed,
                                     headers={"Content-Type": "application/octet-stream"})
        self.assertEqual(reply.status, 200, reply.body)
        path = os.path.join(harness.scratch_folder("rows"), "rows.fbin")
        with open(path, "wb") as file: # its ids are 0 and up
            file.write(struct.pack("<II", 1, self.DIM) + TYPES["float32"](self.vectors[1]))
        self.assertEqual(self.windrow.command("produce", "-C", COLLECTION, path).returncode, 0)
        self.vectors[0] = self.vectors[1]
        type(self).sent += 2
        self.check()

    def test_produce_sends_no_raw_rows_of_another_type(self):
        tree = json.loads(json.dumps(self.windrow.tree))
        tree["collections"][COLLECTION]["format"] = "raw"
        path = os.path.join(harness.scratch_folder("raw"), "windrow.yaml")
        with open(path, "w", encoding="utf-8") as file:
            json.dump(tree, file)
        rows = os.path.join(os.path.dirname(path), "rows.fbin")
        with open(rows, "wb") as file:
            file.write(struct.pack("<II12f", 1, self.DIM, *range(self.DIM)))
        done = subprocess.run([harness.Environment.binary, "produce", "-c", path, "-C", COLLECTION, rows], capture_output=True, text=True, timeout=90, check=False)
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("its raw messages are int8, .fbin files have float32", done.stderr)

    def test_bytes_that_do_not_fit_are_dead_letters(self):
        nan = struct.pack("<e", float("nan"))
        half = TYPES["float16"]([0.0] * 11)
        counted = self.windrow.outcomes()
        for value, said, reason in ((half + nan, "float16", b"raw[11]: NaN is not a finite float32"),
                                    (half + struct.pack("<e", float("-inf")), "float16", b"raw[11]: -infinity is not a finite float32"),
                                    (msgpack.packb({"vector": {"float16": half}}), None, b"$.vector: 11 values of float16 in 22 bytes, the collection has dimension 12"),
                                    (msgpack.packb({"vector": half + nan}), None, b"$.vector: 24 values of int8 in 24 bytes, the collection has dimension 12 (float16 or bfloat16 would fit"),
                                    (b"\xff\xff", "binary", b"raw: bits behind the last of 12 are not 0"),
                                    (b"\xff\xf0", "bits", b"header windrow-vector-type: expected float32"),
                                    (json.dumps({"vector": {"int8": "AAAA"}}), None, b"$.vector: 3 values of int8 in 3 bytes, the collection has dimension 12")):
            self.send(value, "bad", said)
            consumer = Consumer({"bootstrap.servers": self.kafka.address, "group.id": "letters", "auto.offset.reset": "earliest"})
            consumer.subscribe([DEAD_LETTERS])
            letter = next_message(consumer)
            consumer.commit(letter, asynchronous=False)
            consumer.close()
            headers = dict(letter.headers())
            self.assertIn(reason, headers["__connect.errors.exception.message"])
            self.assertEqual(letter.value(), value if isinstance(value, bytes) else value.encode())
            self.assertEqual(headers.get("windrow-vector-type"), said and said.encode())
        self.windrow.wait_caught_up({"0": self.sent})
        self.assertEqual(self.windrow.outcomes().get("ingested", 0), counted.get("ingested", 0))


class Hamming(unittest.TestCase):
    """Packed bits in, numbers of bits that differ out, by every kind of segment, against numpy."""

    BITS = 256
    ROWS = 3000

    @classmethod
    def setUpClass(cls):
        for_class(cls, dim=cls.BITS, metric="hamming", format="raw", event_time={}, vectors={"messages": "binary"})
        tree = cls.windrow.tree
        common = tree["collections"].pop(COLLECTION)
        cls.kinds = {"flat": "float32", "hnsw": "int8", "ivf_pq": "float16"}
        for kind, storage in cls.kinds.items():
            tree["collections"][kind] = {**common, "topics": [kind], "index": {"kind": kind, "flat_below": 50}, "vectors": {"messages": "binary", "storage": storage}}
        tree["http"]["allow_create"] = True
        cls.windrow.configure(tree)
        random = numpy.random.default_rng(7)
        centres = random.integers(0, 2, (20, cls.BITS), numpy.uint8)
        cls.rows = centres[random.integers(0, 20, cls.ROWS)] ^ (random.random((cls.ROWS, cls.BITS)) < 0.15)
        cls.queries = centres ^ (random.random(centres.shape) < 0.15)
        for kind in cls.kinds:
            done = cls.windrow.command("produce", "-C", kind, "--create-topic", "1", "--delete", "9999")
            assert done.returncode == 0, done.stderr
        cls.windrow.start()
        producer = Producer({"bootstrap.servers": cls.kafka.address})
        for kind in cls.kinds:
            for number, row in enumerate(cls.rows):
                producer.produce(kind, numpy.packbits(row).tobytes(), str(number), timestamp=NOW_MS - 2 * 3_600_000)
        assert producer.flush(60) == 0

    def query(self, kind, bits, **body):
        body = {"query": bits.tolist(), "limit": 10, **body}
        reply = self.windrow.request("POST", f"/collections/{kind}/points/query", body)
        self.assertEqual(reply.status, 200, reply.body)
        return [(point["id"], point["score"]) for point in reply.json()["result"]["points"]]

    def check(self, kind, least_recall, **body):
        """Every score is the count that numpy gives; as many of the nearest as LEAST_RECALL are found. Rows that tie are as good."""
        found = 0
        for bits in self.queries:
            counts = numpy.count_nonzero(self.rows != bits, axis=1)
            nearest = numpy.sort(counts)[:10]
            answer = self.query(kind, bits, **body)
            self.assertEqual(len(answer), 10)
            for point_id, score in answer:
                self.assertEqual(score, counts[point_id])
            scores = [score for _, score in answer]
            self.assertEqual(scores, sorted(scores))
            found += sum(score <= nearest[-1] for score in scores)
        self.assertGreaterEqual(found / (10 * len(self.queries)), least_recall)

    def windows_of(self, kind):
        return self.windrow.request("GET", f"/windows?collection={kind}").json()["windows"]

    def test_every_kind_counts_as_numpy_does(self):
        exact = {"params": {"exact": True}}
        for kind, storage in self.kinds.items():
            def all_there(kind=kind):
                reply = self.windrow.request("POST", f"/collections/{kind}/points/count", {}).json()
                return reply["result"]["count"] == self.ROWS

            def sealed(kind=kind):
                states = [(window["state"], (window["segment"] or {}).get("kind")) for window in self.windows_of(kind)]
                if states != ([("sealed", None)] if kind == "flat" else [("indexed", kind)]):
                    raise ValueError(states)
                return True

            harness.wait_for(all_there, f"{kind}: the rows are there", 90)
            self.check(kind, 1, **exact) # open, or sealed by now
            harness.wait_for(sealed, f"{kind}: its window is sealed", 120)
            self.assertEqual(self.windows_of(kind)[0]["storage"]["type"], storage)
            self.check(kind, 1, **exact)
            self.check(kind, 0.9)
            # A threshold leaves out what equals it; with_vector gives the bits back.
            best = self.query(kind, self.queries[0], **exact)
            third = best[2][1]
            self.assertEqual(self.query(kind, self.queries[0], score_threshold=third, **exact), [hit for hit in best if hit[1] < third])
            point = self.windrow.request("POST", f"/collections/{kind}/points", {"ids": [5], "with_vector": True}).json()["result"][0]
            self.assertEqual(point["vector"], self.rows[5].tolist())
        self.assertEqual(sum(self.windrow.metrics("windrow_records_rejected_total").values()), 0)

    def test_what_is_no_bit_is_refused_and_clients_read_manhattan(self):
        half = [0.0] * (self.BITS - 1) + [0.5]
        for path, body, text in (("query", {"query": half}, "$.query[255]: 0.5 is not 0 or 1, and it is compared by hamming"),
                                 ("query", {"query": {"recommend": {"positive": [half]}}}, "[255]: 0.5 is not 0 or 1"),
                                 ("query", {"prefetch": {"query": half}, "query": {"fusion": "rrf"}}, "[255]: 0.5 is not 0 or 1")):
            reply = self.windrow.request("POST", f"/collections/flat/points/{path}", body)
            self.assertEqual(reply.status, 400, reply.body)
            self.assertIn(text, reply.json()["status"]["error"])
        reply = self.windrow.request("PUT", "/collections/flat/points", {"points": [{"id": 1, "vector": half}]})
        self.assertEqual(reply.status, 400, reply.body)
        self.assertIn("[255]: 0.5 is not 0 or 1", reply.json()["status"]["error"])
        reply = self.windrow.request("PUT", "/collections/flat/points?first_id=1", raw=TYPES["float32"](half), headers={"Content-Type": "application/octet-stream"})
        self.assertEqual(reply.status, 400, reply.body)
        self.assertIn("row 0, value 255 (byte 1020): 0.5 is not 0 or 1", reply.json()["status"]["error"])
        params = self.windrow.request("GET", "/collections/flat").json()["result"]["config"]["params"]
        self.assertEqual(params["vectors"], {"size": self.BITS, "distance": "Manhattan"})
        reply = self.windrow.request("PUT", "/collections/made?timeout=60", {"vectors": {"size": 3, "distance": "Hamming"}})
        self.assertEqual(reply.status, 200, reply.body)
        for vector, status in (([1, 0, 1], 200), ([1, 0, 2], 400)):
            reply = self.windrow.request("PUT", "/collections/made/points?wait=true", {"points": [{"id": 1, "vector": vector}]})
            self.assertEqual(reply.status, status, reply.body)
        reply = self.windrow.request("POST", "/collections/made/points/query", {"query": [0, 1, 1]})
        self.assertEqual([(point["id"], point["score"]) for point in reply.json()["result"]["points"]], [(1, 2)])


if __name__ == "__main__":
    harness.main()
