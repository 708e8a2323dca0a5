"""The stock qdrant-client over gRPC (prefer_grpc=True) against windrow: it answers what REST answers.

Runs in the private environment that scripts/test makes (`venv-clients` in the cache folder); skipped where it is missing.
"""

import contextlib
import os
import queue
import socket
import struct
import sys
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "support"))
import harness

harness.require_client("qdrant_client")

import grpc
from google.protobuf.descriptor_pool import DescriptorPool
from grpc_reflection.v1alpha import reflection_pb2 as reflection
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase
from qdrant_client import QdrantClient, models
from qdrant_client import grpc as wire
from qdrant_client.http.exceptions import UnexpectedResponse
from qdrant_client.local.siphash import point_id_slice
from servers import Kafka
from service import COLLECTION, Windrow, for_class

DIM = 16
POINTS = 600
WORDS = ["red", "green", "blue", "über", "日本"]


def payload_of(index, dice):
    return {
        "n": index,
        "word": dice.choice(WORDS),
        "ratio": index / 7,
        "flag": index % 2 == 0,
        "nothing": None,
        "tags": [dice.choice(WORDS), index % 5],
        "big": 2**60 + index,
        "inner": {"deep": [{"x": index % 3}, {"x": "nul \0 inside"}], "empty": {}, "none": []},
        "place": {"lon": dice.uniform(0, 20), "lat": dice.uniform(40, 60)},
        "date": f"2026-01-{index % 28 + 1:02}T00:00:00Z",
    }


def vector_of(dice):
    return [dice.uniform(-1, 1) for _ in range(DIM)]


def points_of(count, dice):
    ids = [index if index % 3 else f"00000000-0000-4000-8000-{index:012}" for index in range(1, count + 1)]
    return [
        models.PointStruct(id=point_id, vector=vector_of(dice), payload=payload_of(index, dice))
        for index, point_id in enumerate(ids)
    ]


kafka = None  # of all classes


def setUpModule():
    global kafka
    kafka = Kafka().start()
    unittest.addModuleCleanup(kafka.stop)


class Both(unittest.TestCase):
    """One service, and the same client over both fronts."""

    @classmethod
    def setUpClass(cls):
        cls.dice = harness.seeded_random()
        cls.windrow = Windrow(kafka.address, dim=DIM, metric="cosine", topics=[cls.__name__], group=cls.__name__)
        cls.grpc_port = harness.free_ports(1)[0]
        cls.windrow.tree["http"]["grpc_listen"] = f"127.0.0.1:{cls.grpc_port}"
        cls.windrow.configure(cls.windrow.tree)
        cls.windrow.create_topic(2)
        cls.windrow.start()
        harness.wait_for(cls.windrow.ready, "windrow is ready")
        cls.rest = QdrantClient(url=cls.windrow.url, timeout=30)
        cls.grpc = QdrantClient(
            url=cls.windrow.url, grpc_port=cls.grpc_port, prefer_grpc=True, timeout=30, check_compatibility=False
        )
        cls.points = points_of(POINTS, cls.dice)
        done = cls.grpc.upsert(COLLECTION, cls.points, wait=True)
        assert done.status == models.UpdateStatus.COMPLETED, done

    @classmethod
    def tearDownClass(cls):
        cls.rest.close()
        cls.grpc.close()
        stopped = cls.windrow.stop()
        assert stopped == 0, cls.windrow.log()[-2000:]

    def same(self, call):
        """What CALL(client) gives over both fronts, compared as the client's models."""
        over_rest, over_grpc = call(self.rest), call(self.grpc)
        self.assertEqual(plain(over_rest), plain(over_grpc))
        return over_grpc

    def refusal(self, call):
        """The sentence that CALL(client) fails with, which is the same over both fronts, and the gRPC status."""
        with self.assertRaises(UnexpectedResponse) as over_rest:
            call(self.rest)
        with self.assertRaises(grpc.RpcError) as over_grpc:
            call(self.grpc)
        self.assertIn(over_grpc.exception.details(), over_rest.exception.content.decode())
        return over_grpc.exception.code(), over_grpc.exception.details()


def plain(value):
    """Models as trees of values, numbers in single precision: REST writes vectors and scores in few digits. Over
    gRPC the client does not tell no payload from an empty one."""
    if hasattr(value, "model_dump"):
        return plain(value.model_dump())
    if isinstance(value, dict):
        return {key: {} if key == "payload" and item is None else plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return struct.pack("f", value) if isinstance(value, float) else value



class Matrix(Both):
    def test_a_matrix_is_that_of_rest(self):
        """Of a sample as large as what matches chance decides nothing."""
        asked = {"query_filter": models.Filter(must=[models.FieldCondition(key="n", range=models.Range(lt=40))]), "sample": POINTS, "limit": 3}
        found = self.same(lambda client: client.search_matrix_pairs(COLLECTION, **asked))
        self.assertEqual(len(found.pairs), 40 * 3)
        self.same(lambda client: client.search_matrix_offsets(COLLECTION, **asked))


class Slices(Both):
    def test_ids_fall_into_the_slices_of_qdrant(self):
        """Numbers and UUIDs."""
        total = 5
        for index in range(total):
            one = models.Filter(must=[models.SliceCondition(slice=models.Slice(total=total, index=index))])
            found = self.same(lambda client, one=one: client.scroll(COLLECTION, scroll_filter=one, limit=POINTS, with_payload=False)[0])
            wanted = {point.id for point in self.points if point_id_slice(point.id, total) == index}
            self.assertEqual({point.id for point in found}, wanted)


class Reflection(Both):
    """What grpcurl and its like ask for."""

    def setUp(self):
        self.channel = grpc.insecure_channel(f"127.0.0.1:{self.grpc_port}")
        self.addCleanup(self.channel.close)

    def test_the_stock_client_finds_services_and_their_messages(self):
        database = ProtoReflectionDescriptorDatabase(self.channel)
        services = {"qdrant.Points", "qdrant.Collections", "qdrant.Qdrant", "grpc.health.v1.Health"}
        own = {f"grpc.reflection.{version}.ServerReflection" for version in ("v1", "v1alpha")}
        self.assertEqual(set(database.get_services()), services | own)
        pool = DescriptorPool(database)
        query = pool.FindServiceByName("qdrant.Points").FindMethodByName("Query")
        self.assertEqual(query.input_type.full_name, "qdrant.QueryPoints")
        self.assertEqual(query.input_type.fields_by_name["collection_name"].number, 1)
        self.assertEqual(pool.FindMessageTypeByName("grpc.health.v1.HealthCheckResponse").enum_types[0].name, "ServingStatus")
        with self.assertRaises(KeyError):
            pool.FindMessageTypeByName("qdrant.Nothing")
        with self.assertRaises(KeyError):
            pool.FindMessageTypeByName("qdrant.QueryPoints.limit.more")

    def test_requests_of_one_stream_are_answered_as_they_come(self):
        """As grpcurl has it: the next question follows the answer, and the older protocol is spoken too."""
        for version in ("v1", "v1alpha"):
            call = self.channel.stream_stream(f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo")
            questions = queue.Queue()
            answers = call(iter(questions.get, None), timeout=30)
            for name in ("qdrant.Points.Query", "grpc.reflection." + version + ".ServerReflection", "qdrant.proto", "nothing"):
                asked = reflection.ServerReflectionRequest(**{"file_by_filename" if ".proto" in name else "file_containing_symbol": name})
                questions.put(asked.SerializeToString())
                answer = reflection.ServerReflectionResponse.FromString(next(answers))
                self.assertEqual(answer.original_request, asked)
                self.assertEqual(answer.WhichOneof("message_response"), "error_response" if name == "nothing" else "file_descriptor_response")
            questions.put(None)
            self.assertEqual(list(answers), [])
            self.assertEqual(answers.code(), grpc.StatusCode.OK)

    def test_what_is_no_question_is_refused(self):
        call = self.channel.stream_stream("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo")
        for body, code in ((b"", grpc.StatusCode.INVALID_ARGUMENT), (b"\xff", grpc.StatusCode.INVALID_ARGUMENT), (b"x" * 5000, grpc.StatusCode.RESOURCE_EXHAUSTED)):
            with self.assertRaises(grpc.RpcError) as error:
                list(call(iter([body]), timeout=30))
            self.assertEqual(error.exception.code(), code)


class Calls(Both):
    def test_service_and_collections_are_told_as_over_rest(self):
        self.assertTrue(self.grpc.grpc_collections)
        self.same(lambda client: client.get_collections())
        self.same(lambda client: (client.collection_exists(COLLECTION), client.collection_exists("other")))
        for info in (client.get_collection(COLLECTION) for client in (self.rest, self.grpc)):
            self.assertEqual((info.status, info.points_count, info.optimizer_status), ("green", POINTS, "ok"))
            vectors, graph = info.config.params.vectors, info.config.hnsw_config
            self.assertEqual((vectors.size, vectors.distance, graph.m, graph.ef_construct), (DIM, "Cosine", 16, 200))
        self.assertEqual(self.refusal(lambda client: client.get_collection("other"))[0], grpc.StatusCode.NOT_FOUND)
        self.same(lambda client: client.get_aliases())

    def test_health_says_version_and_serving(self):
        with grpc.insecure_channel(f"127.0.0.1:{self.grpc_port}") as channel:
            reply = wire.QdrantStub(channel).HealthCheck(wire.HealthCheckRequest(), timeout=30)
            self.assertTrue(reply.version.startswith("1.19"))
            check = channel.unary_unary("/grpc.health.v1.Health/Check")
            self.assertEqual(check(b"", timeout=30), b"\x08\x01")  # SERVING

    def test_a_vector_comes_back_as_it_went(self):
        found = self.same(lambda client: client.retrieve(COLLECTION, [1, 2, 99999], with_vectors=True))
        self.assertEqual([point.id for point in found], [1, 2])
        self.assertEqual(found[0].payload, self.points[0].payload)

    def test_random_requests_answer_as_over_rest(self):
        for number in range(200):
            with self.subTest(number=number):
                self.same(random_call(self.dice, [point.id for point in self.points]))

    def test_formulas_score_as_over_rest(self):
        for number in range(60):
            prefetch = [models.Prefetch(query=vector_of(self.dice), limit=10) for _ in range(2)]
            formula = models.FormulaQuery(formula=random_formula(self.dice), defaults=DEFAULTS)
            with self.subTest(number=number, formula=str(formula)):
                found = self.same(lambda client: client.query_points(COLLECTION, query=formula, prefetch=prefetch, limit=30))
                self.assertGreater(len(found.points), 9)

    def test_errors_are_the_same_sentences(self):
        short = self.refusal(lambda client: client.query_points(COLLECTION, query=[1.0, 2.0]))
        self.assertEqual(short[0], grpc.StatusCode.INVALID_ARGUMENT)
        self.assertIn("expected dim: 16, got 2", short[1])
        none = models.Filter(min_should=models.MinShould(conditions=[], min_count=0))
        calls = [
            (lambda client: client.query_points("other", query=[1.0]), grpc.StatusCode.NOT_FOUND),
            (lambda client: client.query_points(COLLECTION, query=[1.0] * DIM, using="name"), grpc.StatusCode.INVALID_ARGUMENT),
            (lambda client: client.query_points(COLLECTION, query=[1.0] * DIM, limit=0), grpc.StatusCode.INVALID_ARGUMENT),
            (
                lambda client: client.query_points(
                    COLLECTION, prefetch=models.Prefetch(query=[1.0] * DIM), query=models.FormulaQuery(formula=models.LnExpression(ln=-1.0))
                ),
                grpc.StatusCode.INVALID_ARGUMENT,
            ),
            (
                lambda client: client.query_points(
                    COLLECTION, prefetch=models.Prefetch(query=[1.0] * DIM), query=models.FormulaQuery(formula=models.MaxExpression(max=[]))
                ),
                grpc.StatusCode.INVALID_ARGUMENT,
            ),
            (lambda client: client.count(COLLECTION, count_filter=none), grpc.StatusCode.INVALID_ARGUMENT),
            (
                lambda client: client.scroll(COLLECTION, shard_key_selector="key"),
                grpc.StatusCode.UNIMPLEMENTED,
            ),
        ]
        for call, status in calls:
            self.assertEqual(self.refusal(call)[0], status)

    def test_a_batch_concerns_one_collection(self):
        request = wire.QueryBatchPoints(collection_name=COLLECTION, query_points=[wire.QueryPoints(collection_name="other")])
        with grpc.insecure_channel(f"127.0.0.1:{self.grpc_port}") as channel, self.assertRaises(grpc.RpcError) as raised:
            wire.PointsStub(channel).QueryBatch(request, timeout=30)
        self.assertEqual(raised.exception.code(), grpc.StatusCode.INVALID_ARGUMENT)

    def recommend_and_discover(self, stub, vector):
        """As the queries of the same meaning answer."""
        ids = lambda result: [hit.id.num or hit.id.uuid for hit in result]
        wanted = lambda query: [point.id for point in self.rest.query_points(COLLECTION, query=query, limit=4).points]
        number = wire.PointId(num=1)
        form = {"positive": [number], "positive_vectors": [wire.Vector(data=vector)], "strategy": wire.RecommendStrategy.BestScore}
        recommend = wire.RecommendPoints(collection_name=COLLECTION, limit=4, **form)
        best = wanted(models.RecommendQuery(recommend=models.RecommendInput(positive=[1, vector], strategy="best_score")))
        self.assertEqual(ids(stub.Recommend(recommend, timeout=30).result), best)
        batch = wire.RecommendBatchPoints(collection_name=COLLECTION, recommend_points=[recommend] * 2)
        self.assertEqual([ids(each.result) for each in stub.RecommendBatch(batch, timeout=30).result], [best] * 2)
        groups = wire.RecommendPointGroups(collection_name=COLLECTION, limit=2, group_by="word", group_size=3, **form)
        self.assertEqual([len(group.hits) for group in stub.RecommendGroups(groups, timeout=30).result.groups], [3, 3])
        example = lambda **one: wire.VectorExample(**one)
        pair = wire.ContextExamplePair(positive=example(id=number), negative=example(vector=wire.Vector(data=vector)))
        target = wire.TargetVector(single=example(vector=wire.Vector(data=vector)))
        discover = wire.DiscoverPoints(collection_name=COLLECTION, target=target, context=[pair], limit=4)
        found = wanted(models.DiscoverQuery(discover={"target": vector, "context": [{"positive": 1, "negative": vector}]}))
        self.assertEqual(ids(stub.Discover(discover, timeout=30).result), found)
        batch = wire.DiscoverBatchPoints(collection_name=COLLECTION, discover_points=[discover])
        self.assertEqual([ids(each.result) for each in stub.DiscoverBatch(batch, timeout=30).result], [found])

    def test_the_older_searches_find_what_queries_find(self):
        vector = self.points[0].vector
        with grpc.insecure_channel(f"127.0.0.1:{self.grpc_port}") as channel:
            stub = wire.PointsStub(channel)
            search = wire.SearchPoints(collection_name=COLLECTION, vector=vector, limit=3)
            one = stub.Search(search, timeout=30)
            self.assertEqual([hit.id.num for hit in one.result][:1], [1])
            self.assertEqual(len(one.result), 3)
            batch = stub.SearchBatch(wire.SearchBatchPoints(collection_name=COLLECTION, search_points=[search] * 2), timeout=30)
            self.assertEqual([list(each.result) for each in batch.result], [list(one.result)] * 2)
            groups = stub.SearchGroups(
                wire.SearchPointGroups(collection_name=COLLECTION, vector=vector, limit=2, group_by="word", group_size=2),
                timeout=30,
            )
            self.assertEqual([len(group.hits) for group in groups.result.groups], [2, 2])
            self.recommend_and_discover(stub, vector)
            with self.assertRaises(grpc.RpcError) as raised:
                stub.Search(wire.SearchPoints(collection_name=COLLECTION, limit=3), timeout=30)
            self.assertIn("expected dim: 16, got 0", raised.exception.details())

    def test_writes_change_what_both_clients_read(self):
        fresh = models.PointStruct(id=70001, vector=vector_of(self.dice), payload={"word": "fresh"})
        self.grpc.upsert(COLLECTION, [fresh], wait=True)
        self.assertEqual(self.same(lambda client: client.retrieve(COLLECTION, [70001]))[0].payload, {"word": "fresh"})
        operations = [
            models.UpsertOperation(upsert=models.PointsList(points=[models.PointStruct(id=70002, vector=[1.0] * DIM)])),
            models.DeleteOperation(delete=models.PointIdsList(points=[70001])),
        ]
        self.assertEqual(len(self.grpc.batch_update_points(COLLECTION, operations, wait=True)), 2)
        self.assertEqual([point.id for point in self.grpc.retrieve(COLLECTION, [70001, 70002])], [70002])
        word = models.Filter(must=[models.HasIdCondition(has_id=[70002])])
        done = self.grpc.delete(COLLECTION, models.FilterSelector(filter=word), wait=True)
        self.assertEqual(done.status, models.UpdateStatus.COMPLETED)
        self.assertEqual(self.same(lambda client: client.count(COLLECTION)).count, POINTS)
        self.assertEqual(
            self.grpc.create_payload_index(COLLECTION, "word", models.PayloadSchemaType.KEYWORD, wait=True).status,
            models.UpdateStatus.COMPLETED,
        )

    def test_indexes_are_made_with_their_parameters(self):
        fields = {
            "n": models.IntegerIndexParams(type="integer", lookup=True, range=False, on_disk=True),
            "tags": models.KeywordIndexParams(type="keyword", is_tenant=True),
            "ratio": models.FloatIndexParams(type="float", is_principal=True),
            "place": models.GeoIndexParams(type="geo", on_disk=True),
            "inner.deep[].x": models.TextIndexParams(type="text", tokenizer=models.TokenizerType.WORD, lowercase=True, phrase_matching=True),
            "flag": models.BoolIndexParams(type="bool"),
            "date": models.DatetimeIndexParams(type="datetime", on_disk=False),
            "no": models.UuidIndexParams(type="uuid", is_tenant=False),
            "nothing": models.PayloadSchemaType.INTEGER,
        }
        for field, schema in fields.items():
            self.grpc.create_payload_index(COLLECTION, field, field_schema=schema, wait=True)
        shown = self.same(lambda client: {field: index.model_dump(exclude_none=True) for field, index in client.get_collection(COLLECTION).payload_schema.items() if field in fields})
        self.assertEqual(set(shown), set(fields))
        for field, schema in fields.items():
            if field != "nothing":
                self.assertEqual(shown[field]["params"], schema.model_dump(exclude_none=True))
            # Points that have the field, which is not null and no empty list.
            self.assertEqual(shown[field]["points"], 0 if field in ("no", "nothing") else POINTS, field)
        for field in fields:
            self.grpc.delete_payload_index(COLLECTION, field)
        for schema, words in ((models.TextIndexParams(type="text", stopwords=models.Language.ENGLISH), "`stopwords`"), (models.TextIndexParams(type="text", tokenizer="prefix"), "`tokenizer`")):
            with self.assertRaisesRegex(grpc.RpcError, words):
                self.grpc.create_payload_index(COLLECTION, "word", field_schema=schema)

    def test_parts_of_points_change(self):
        """The same changes over each front to a point of its own; both points end alike."""
        vector, other = vector_of(self.dice), vector_of(self.dice)
        ends = []
        for point_id, client in ((71001, self.rest), (71002, self.grpc)):
            only = models.Filter(must=[models.HasIdCondition(has_id=[point_id])])
            point = models.PointStruct(id=point_id, vector=vector, payload={"a": {"b": 1, "c": [1, 2]}, "d": None})
            absent = models.PointStruct(id=point_id + 10, vector=vector, payload={"new": True})
            client.upsert(COLLECTION, [point], wait=True)
            client.upsert(COLLECTION, [point.model_copy(update={"payload": {"lost": 1}}), absent], wait=True, update_mode=models.UpdateMode.INSERT_ONLY)
            client.set_payload(COLLECTION, {"b": 2, "word": "über"}, points=[point_id], key="a", wait=True)
            client.set_payload(COLLECTION, {"e": [1.5, "x"]}, points=only, wait=True)
            client.delete_payload(COLLECTION, ["d"], points=[point_id], wait=True)
            client.update_vectors(COLLECTION, [models.PointVectors(id=point_id, vector=other)], wait=True)
            steps = client.retrieve(COLLECTION, [point_id], with_vectors=True)
            operations = [
                models.SetPayloadOperation(set_payload=models.SetPayload(payload={"f": 1}, points=[point_id])),
                models.DeletePayloadOperation(delete_payload=models.DeletePayload(keys=["e"], points=[point_id])),
            ]
            client.batch_update_points(COLLECTION, operations, wait=True)
            steps += client.retrieve(COLLECTION, [point_id])
            client.overwrite_payload(COLLECTION, {"all": "new"}, points=[point_id], wait=True)
            steps += client.retrieve(COLLECTION, [point_id])
            client.clear_payload(COLLECTION, [point_id], wait=True)
            steps += client.retrieve(COLLECTION, [point_id])
            ends.append([plain({**step.model_dump(), "id": 0}) for step in steps])
            client.delete(COLLECTION, [point_id, point_id + 10], wait=True)
        self.assertEqual(*ends)
        self.assertEqual(ends[0][0]["payload"]["a"]["word"], "über")
        self.assertEqual(len(ends[0]), 4)

    def test_memory_stays_flat(self):
        """Of the service, over calls that succeed, fail, are cancelled, and come on connections of their own."""
        if harness.is_sanitized():
            self.skipTest("the address sanitizer keeps what is freed for a while")
        vector = self.points[0].vector
        query = wire.Query(nearest=wire.VectorInput(dense=wire.DenseVector(data=vector)))
        good = wire.QueryPoints(collection_name=COLLECTION, query=query, limit=20, with_payload=wire.WithPayloadSelector(enable=True))
        bad = wire.QueryPoints(collection_name=COLLECTION, query=query, using="name")

        def resident_kib():
            with open(f"/proc/{self.windrow.process.pid}/status", encoding="utf-8") as file:
                return next(int(line.split()[1]) for line in file if line.startswith("VmRSS:"))

        def work(rounds):
            for _ in range(rounds):
                options = [("grpc.use_local_subchannel_pool", 1)]
                with grpc.insecure_channel(f"127.0.0.1:{self.grpc_port}", options) as channel:
                    stub = wire.PointsStub(channel)
                    calls = [stub.Query.future(message, timeout=60) for message in [good, bad] * 50]
                    for call in calls[90:]:
                        call.cancel()
                    self.assertEqual([call.code().name for call in calls[:2]], ["OK", "INVALID_ARGUMENT"])

        work(20)
        before = resident_kib()
        work(60)
        self.assertLess(resident_kib() - before, 8 * 1024)

    def test_client_that_floods_goes_and_is_counted(self):
        frame = b"\0\0\5\2\0\0\0\0\1" + b"\0\0\0\0\0" # PRIORITY of a stream that does not exist: work for nothing
        before = sum(self.windrow.metrics("windrow_grpc_floods_total").values())
        with socket.create_connection(("127.0.0.1", self.grpc_port), timeout=20) as flood:
            with contextlib.suppress(OSError): # it is closed in the middle
                flood.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\4\0\0\0\0\0" + 20_000 * frame)
            harness.wait_for(lambda: sum(self.windrow.metrics("windrow_grpc_floods_total").values()) > before, "the flood is counted", 30)
        self.assertEqual(self.grpc.count(COLLECTION).count, POINTS)

    def test_calls_are_counted(self):
        self.grpc.count(COLLECTION)
        with grpc.insecure_channel(f"127.0.0.1:{self.grpc_port}") as channel, self.assertRaises(grpc.RpcError) as raised:
            channel.unary_unary("/qdrant.Points/Unheard")(b"", timeout=30)
        self.assertEqual(raised.exception.details(), "windrow does not serve /qdrant.Points/Unheard")
        counted = self.windrow.metrics("windrow_grpc_requests_total")
        self.assertGreaterEqual(counted[frozenset({'method="qdrant.Points/Count"', 'code="0"'})], 1)
        self.assertGreaterEqual(counted[frozenset({'method="unknown"', 'code="12"'})], 1)
        self.assertEqual({counted[frozenset({'method="qdrant.Points/Scroll"', f'code="{code}"'})] for code in (8, 13, 14)}, {0.0}, "there from the start")
        self.assertGreaterEqual(self.windrow.metrics("windrow_grpc_request_seconds_count")[frozenset({'method="qdrant.Points/Count"'})], 1)
        self.assertGreaterEqual(sum(self.windrow.metrics("windrow_grpc_connections").values()), 1)


def random_filter(dice, depth=0):
    def condition():
        kind = dice.randrange(11)
        if kind == 0 and depth < 2:
            return random_filter(dice, depth + 1)
        if kind == 1:
            return models.HasIdCondition(has_id=[dice.randrange(1, 40) for _ in range(5)])
        if kind == 2:
            return models.IsEmptyCondition(is_empty=models.PayloadField(key=dice.choice(["inner.none", "n", "missing"])))
        if kind == 3:
            return models.IsNullCondition(is_null=models.PayloadField(key="nothing"))
        if kind == 4:
            inner = models.FieldCondition(key="x", match=models.MatchValue(value=dice.randrange(3)))
            return models.NestedCondition(nested=models.Nested(key="inner.deep", filter=models.Filter(must=[inner])))
        if kind == 5:
            low = dice.uniform(0, POINTS)
            return models.FieldCondition(key="n", range=models.Range(gte=low, lt=low + POINTS / 2))
        if kind == 6:
            day = dice.randrange(1, 28)
            return models.FieldCondition(key="date", range=models.DatetimeRange(gt=f"2026-01-{day:02}T00:00:00Z"))
        if kind == 7:
            return models.FieldCondition(key="tags", values_count=models.ValuesCount(gte=dice.randrange(4)))
        if kind == 9:
            corner = lambda lon, lat: models.GeoPoint(lon=lon, lat=lat)
            ring = models.GeoLineString(points=[corner(5, 45), corner(20, 45), corner(12, 55), corner(5, 45)])
            region = dice.choice(
                [
                    {"geo_radius": models.GeoRadius(center=corner(10, 50), radius=dice.uniform(1e5, 1e6))},
                    {"geo_bounding_box": models.GeoBoundingBox(top_left=corner(8, 52), bottom_right=corner(14, 48))},
                    {"geo_polygon": models.GeoPolygon(exterior=ring, interiors=[ring])},
                    {"geo_polygon": models.GeoPolygon(exterior=ring)},
                ]
            )
            return models.FieldCondition(key="place", **region)
        match = dice.choice(
            [
                models.MatchPhrase(phrase=dice.choice(WORDS)),
                models.MatchPrefix(prefix=dice.choice(WORDS)[:2]),
                models.MatchTextAny(text_any="red über"),
                models.MatchValue(value=dice.choice(WORDS)),
                models.MatchAny(any=dice.sample(WORDS, 2)),
                models.MatchExcept(**{"except": dice.sample(WORDS, 2)}),
                models.MatchText(text=dice.choice(WORDS)),
            ]
        )
        if kind == 8:
            match = dice.choice([models.MatchValue(value=dice.choice([True, False])), models.MatchAny(any=[1, 2, 3])])
            return models.FieldCondition(key=dice.choice(["flag", "n", "tags"]), match=match)
        return models.FieldCondition(key=dice.choice(["word", "tags"]), match=match)

    def some(count):
        return [condition() for _ in range(count)] or None

    least = models.MinShould(conditions=[condition(), condition()], min_count=dice.randrange(1, 3))
    return models.Filter(
        must=some(dice.randrange(2)),
        should=some(dice.randrange(3)),
        must_not=some(dice.randrange(2)),
        min_should=dice.choice([None, None, least]),
    )


def random_query(dice, ids):
    order = models.OrderByQuery(
        order_by=models.OrderBy(key="n", direction=dice.choice(list(models.Direction)), start_from=dice.choice([None, 17]))
    )
    strategy = dice.choice([None, *models.RecommendStrategy])
    recommend = models.RecommendInput(positive=dice.sample(ids, 2), negative=dice.choice([None, [vector_of(dice)]]), strategy=strategy)
    pairs = [models.ContextPair(positive=dice.choice(ids), negative=vector_of(dice)) for _ in range(dice.randrange(1, 3))]
    feedback = models.RelevanceFeedbackInput(
        target=vector_of(dice),
        feedback=[models.FeedbackItem(example=dice.choice([vector_of(dice), *ids]), score=dice.choice([0, 1, 0.5])) for _ in range(dice.randrange(4))],
        strategy=models.NaiveFeedbackStrategy(naive=models.NaiveFeedbackStrategyParams(a=1, b=dice.choice([0, 2]), c=0.5)),
    )
    examples = [
        models.DiscoverQuery(discover=models.DiscoverInput(target=vector_of(dice), context=pairs)),
        models.ContextQuery(context=pairs),
        models.RecommendQuery(recommend=recommend),
        models.RelevanceFeedbackQuery(relevance_feedback=feedback),
    ]
    mmr = models.NearestQuery(nearest=vector_of(dice), mmr=models.Mmr(diversity=0.5, candidates_limit=20))
    return dice.choice(
        [vector_of(dice), dice.choice(ids), None, order, *examples, mmr, vector_of(dice)]
    )


DEFAULTS = {"n": 4, "inner.none": [0.5], "spot": {"lon": 3.0, "lat": 4.0}, "day": "2024-05-06", "$score[1]": 0.25}


def random_formula(dice, depth=0):
    """Numbers that floats have exactly; of each kind of expression one field or more."""
    inner = lambda: random_formula(dice, depth + 1)
    decay = models.DecayParamsExpression(x=dice.choice(["n", "$score"]), target=dice.choice([None, 2.0]), scale=dice.choice([None, 4.0]), midpoint=dice.choice([None, 0.25]))
    distance = models.GeoDistanceParams(origin=models.GeoPoint(lon=1.5, lat=-2.5), to="spot")
    kinds = [
        lambda: dice.choice([0.5, -2.0, "n", "$score", "$score[1]", "inner.none"]),
        lambda: random_filter(dice),
        lambda: models.FieldCondition(key="n", range=models.Range(gte=3)),
        lambda: models.HasIdCondition(has_id=[1, 2, 3]),
        lambda: models.GeoDistance(geo_distance=distance),
        lambda: models.DatetimeExpression(datetime="2024-01-02T03:04:05Z"),
        lambda: models.DatetimeKeyExpression(datetime_key="day"),
        lambda: dice.choice([models.ExpDecayExpression(exp_decay=decay), models.GaussDecayExpression(gauss_decay=decay), models.LinDecayExpression(lin_decay=decay)]),
        lambda: models.SumExpression(sum=[inner(), inner()]),
        lambda: models.MultExpression(mult=[inner(), inner()]),
        lambda: dice.choice([models.MaxExpression(max=[inner(), 1.0]), models.MinExpression(min=[inner(), 1.0])]),
        lambda: models.NegExpression(neg=inner()),
        lambda: models.AbsExpression(abs=inner()),
        lambda: models.DivExpression(div=models.DivParams(left=inner(), right=2.0)),
        lambda: models.DivExpression(div=models.DivParams(left=inner(), right=0.0, by_zero_default=0.5)),
        lambda: models.SqrtExpression(sqrt=models.AbsExpression(abs=inner())),
        lambda: models.PowExpression(pow=models.PowParams(base=0.5, exponent=2.0)),
        lambda: models.ExpExpression(exp=models.MinExpression(min=[inner(), 1.0])),
        lambda: dice.choice([models.Log10Expression(log10=8.0), models.LnExpression(ln=8.0), models.AcoshExpression(acosh=8.0)]),
    ]
    return dice.choice(kinds if depth < 3 else kinds[:8])()


def random_call(dice, ids):
    """A function of a client: one of the reads with options of all kinds."""
    selectors = [True, False, ["word", "inner.deep[].x"], models.PayloadSelectorExclude(exclude=["inner", "tags"])]
    shown = {"with_payload": dice.choice(selectors), "with_vectors": dice.choice([True, False, [""]])}
    condition = dice.choice([None, random_filter(dice)])
    limit = dice.randrange(1, 20)
    query = random_query(dice, ids)
    searched = {
        "limit": limit,
        "query_filter": condition,
        "search_params": dice.choice([None, models.SearchParams(exact=True, hnsw_ef=64)]),
        **shown,
    }
    prefetch = [models.Prefetch(query=vector_of(dice), limit=30, filter=random_filter(dice)) for _ in range(2)]
    fusion = dice.choice(
        [models.FusionQuery(fusion=models.Fusion.DBSF), models.RrfQuery(rrf=models.Rrf(k=5)), models.RrfQuery(rrf=models.Rrf(weights=[0.5, 2]))]
    )
    formula = models.FormulaQuery(formula=random_formula(dice), defaults=DEFAULTS)
    vector = vector_of(dice)
    start = dice.choice([None, dice.choice(ids)])
    order = dice.choice([None, "n", models.OrderBy(key="date", direction=models.Direction.DESC)])
    batch = [
        models.QueryRequest(query=vector_of(dice), filter=random_filter(dice), limit=5, with_payload=True) for _ in range(3)
    ]
    calls = [
        lambda client: client.query_points(COLLECTION, query=query, offset=dice_offset, **searched),
        lambda client: client.query_points(COLLECTION, query=vector, score_threshold=0.2, **searched),
        lambda client: client.query_points(
            COLLECTION, query=models.FusionQuery(fusion=models.Fusion.RRF), prefetch=prefetch, limit=limit, **shown
        ),
        lambda client: client.query_points(COLLECTION, query=fusion, prefetch=prefetch, limit=limit, **shown),
        lambda client: client.query_points(COLLECTION, query=formula, prefetch=prefetch, limit=limit, **shown),
        lambda client: client.query_points(COLLECTION, query=vector, prefetch=prefetch[0], limit=limit, **shown),
        lambda client: client.query_batch_points(COLLECTION, requests=batch),
        lambda client: client.query_points_groups(COLLECTION, group_by=key, query=vector, group_size=2, **searched),
        lambda client: client.scroll(COLLECTION, scroll_filter=condition, limit=limit, offset=start, **shown),
        lambda client: client.scroll(COLLECTION, scroll_filter=condition, limit=limit, order_by=order, **shown),
        lambda client: client.count(COLLECTION, count_filter=condition),
        lambda client: client.facet(COLLECTION, key=key, facet_filter=condition, limit=limit),
        lambda client: client.retrieve(COLLECTION, dice_ids, **shown),
    ]
    dice_offset, key = dice.randrange(3), dice.choice(["word", "n", "tags"])
    dice_ids = [*dice.sample(ids, 3), 987654]
    return dice.choice(calls)


class Bits(unittest.TestCase):
    """Clients have no name for Hamming: they read Manhattan, and what that ranks."""

    def test_clients_read_hamming_as_manhattan(self):
        port = harness.free_ports(1)[0]
        for_class(type(self), dim=4, metric="hamming", event_time={})
        self.windrow.tree["http"]["grpc_listen"] = f"127.0.0.1:{port}"
        self.windrow.configure(self.windrow.tree)
        self.windrow.create_topic(1)
        self.windrow.start()
        points = [models.PointStruct(id=point_id, vector=bits, payload={}) for point_id, bits in ((1, [1, 0, 1, 1]), (2, [0, 0, 0, 1]))]
        for prefer_grpc in (False, True):
            client = QdrantClient(url=self.windrow.url, grpc_port=port, prefer_grpc=prefer_grpc, check_compatibility=False)
            client.upsert(COLLECTION, points, wait=True)
            self.assertEqual(client.get_collection(COLLECTION).config.params.vectors.distance, models.Distance.MANHATTAN)
            found = client.query_points(COLLECTION, query=[1.0, 0.0, 1.0, 0.0]).points
            self.assertEqual([(point.id, point.score) for point in found], [(1, 1), (2, 3)])
            with self.assertRaises((UnexpectedResponse, grpc.RpcError)) as refused:
                client.query_points(COLLECTION, query=[1.0, 0.0, 1.0, 0.5])
            self.assertIn("$.query[3]: 0.5 is not 0 or 1", str(refused.exception))


if __name__ == "__main__":
    harness.main()
