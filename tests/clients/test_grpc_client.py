"""The stock qdrant-client over gRPC (prefer_grpc=True) against windrow: it answers what REST answers.

Runs in the private environment that scripts/test makes (`venv-clients` in the cache folder); skipped where it is missing.
"""

import contextlib
import os
import socket
import struct
import sys
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "support"))
import harness

harness.require_client("qdrant_client")

import grpc
from qdrant_client import QdrantClient, models
from qdrant_client import grpc as wire
from qdrant_client.http.exceptions import UnexpectedResponse
from servers import Kafka
from service import COLLECTION, Windrow

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


class Both(unittest.TestCase):
    """One service, and the same client over both fronts."""

    @classmethod
    def setUpClass(cls):
        cls.dice = harness.seeded_random()
        cls.kafka = Kafka().start()
        cls.windrow = Windrow(cls.kafka.address, dim=DIM, metric="cosine")
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
        cls.kafka.stop()
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


class Calls(Both):
    def test_service_and_collections(self):
        self.assertTrue(self.grpc.grpc_collections)
        self.same(lambda client: client.get_collections())
        self.same(lambda client: (client.collection_exists(COLLECTION), client.collection_exists("other")))
        for info in (client.get_collection(COLLECTION) for client in (self.rest, self.grpc)):
            self.assertEqual((info.status, info.points_count, info.optimizer_status), ("green", POINTS, "ok"))
            vectors, graph = info.config.params.vectors, info.config.hnsw_config
            self.assertEqual((vectors.size, vectors.distance, graph.m, graph.ef_construct), (DIM, "Cosine", 16, 200))
        self.assertEqual(self.refusal(lambda client: client.get_collection("other"))[0], grpc.StatusCode.NOT_FOUND)
        self.same(lambda client: client.get_aliases())

    def test_health(self):
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
                lambda client: client.query_points(COLLECTION, query=models.DiscoverQuery(discover={"target": 1, "context": []})),
                grpc.StatusCode.UNIMPLEMENTED,
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

    def test_the_older_searches(self):
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
            with self.assertRaises(grpc.RpcError) as raised:
                stub.Search(wire.SearchPoints(collection_name=COLLECTION, limit=3), timeout=30)
            self.assertIn("expected dim: 16, got 0", raised.exception.details())

    def test_writes(self):
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
            channel.unary_unary("/qdrant.Points/Recommend")(b"", timeout=30)
        self.assertEqual(raised.exception.details(), "windrow does not serve /qdrant.Points/Recommend")
        counted = self.windrow.metrics("windrow_grpc_requests_total")
        self.assertGreaterEqual(counted[frozenset({'method="qdrant.Points/Count"', 'code="0"'})], 1)
        self.assertGreaterEqual(counted[frozenset({'method="unknown"', 'code="12"'})], 1)
        self.assertGreaterEqual(self.windrow.metrics("windrow_grpc_request_seconds_count")[frozenset({'method="qdrant.Points/Count"'})], 1)
        self.assertGreaterEqual(sum(self.windrow.metrics("windrow_grpc_connections").values()), 1)


def random_filter(dice, depth=0):
    def condition():
        kind = dice.randrange(10)
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
        match = dice.choice(
            [
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
    recommend = models.RecommendInput(positive=dice.sample(ids, 2), negative=dice.choice([None, [vector_of(dice)]]))
    mmr = models.NearestQuery(nearest=vector_of(dice), mmr=models.Mmr(diversity=0.5, candidates_limit=20))
    return dice.choice(
        [vector_of(dice), dice.choice(ids), None, order, models.RecommendQuery(recommend=recommend), mmr, vector_of(dice)]
    )


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


if __name__ == "__main__":
    harness.main()
