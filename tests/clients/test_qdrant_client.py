"""The stock qdrant-client from PyPI against windrow: every route of the query side, checked against brute force.

Runs in the private environment that scripts/test makes (`venv-clients` in the cache folder); skipped where it is missing.
"""

import json
import os
import sys
import time
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "support"))
sys.path.insert(0, os.path.join(HERE, "..", "..", "examples"))
import harness

harness.require_client("qdrant_client")

import numpy
from qdrant_client import QdrantClient, models
from qdrant_client.http.exceptions import UnexpectedResponse
from replay_sample import rfc3339
from servers import Kafka, Nats
from service import COLLECTION, MS_PER_HOUR, Windrow
from vectors import read_vectors

EXAMPLES = os.path.join(harness.ROOT, "examples")
SEALED_ROWS = 2000 # the rest of the sample stays live
K = 10


def load_sample():
    """The shipped sample: most of it three hours ago, in one window, the rest now, each point with a time of its own."""
    with open(os.path.join(EXAMPLES, "changelog-sample.jsonl"), encoding="utf-8") as lines:
        points = [json.loads(line) for line in lines]
    vectors = numpy.array(list(read_vectors(os.path.join(EXAMPLES, "changelog-sample.hbin"))), dtype=numpy.float32)
    now_ms = int(time.time() * 1000)
    sealed_ms = now_ms - now_ms % MS_PER_HOUR - 3 * MS_PER_HOUR
    for index, point in enumerate(points):
        point["payload"]["date"] = rfc3339(point["time_ms"])
        point["payload"]["year"] = int(point["payload"]["date"][:4])
        point["payload"]["row"] = {"number": index, "tags": ["even" if index % 2 == 0 else "odd", index % 5]}
        point["time_ms"] = sealed_ms + index if index < SEALED_ROWS else now_ms - len(points) + index
    return points, vectors / numpy.linalg.norm(vectors, axis=1, keepdims=True)


class StockClient(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.points, cls.vectors = load_sample()
        cls.payloads = {point["id"]: point["payload"] for point in cls.points}
        cls.times_ms = {point["id"]: point["time_ms"] for point in cls.points}
        cls.live_from_ms = cls.points[SEALED_ROWS]["time_ms"]
        cls.rows = {point["id"]: row for row, point in enumerate(cls.points)}
        random = numpy.random.default_rng(7)
        typed = numpy.array(list(read_vectors(os.path.join(EXAMPLES, "queries.hbin"))), dtype=numpy.float32)
        near = cls.vectors[random.choice(len(cls.vectors), 90, replace=False)] + random.normal(0, 0.03, (90, 384))
        cls.queries = numpy.vstack([typed, near]).astype(numpy.float32)

        cls.kafka, cls.nats = Kafka().start(), Nats().start()
        cls.windrow = Windrow(cls.kafka.address, cls.nats.url, dim=384, metric="cosine", payload_index=["package", "year"])
        cls.windrow.start()
        cls.produce()
        cls.windrow.wait_caught_up({"0": len(cls.points)})
        cls.windrow.wait_indexed(1)
        cls.client = QdrantClient(url=cls.windrow.url, timeout=30)

    @classmethod
    def produce(cls):
        """With windrow's own producer, from standard input."""
        lines = [
            json.dumps({**point, "vector": vector.tolist()}) for point, vector in zip(cls.points, cls.vectors, strict=True)
        ]
        done = cls.windrow.command("produce", "-C", COLLECTION, "--create-topic", "1", input="\n".join(lines) + "\n")
        assert done.returncode == 0, done.stderr

    @classmethod
    def tearDownClass(cls):
        cls.client.close()
        stopped = cls.windrow.stop()
        cls.nats.stop()
        cls.kafka.stop()
        assert stopped == 0, cls.windrow.log()[-2000:]

    def brute_force(self, query, limit, keep=lambda point_id: True):
        """[(id, score)] of the best rows that KEEP accepts, by exact cosine."""
        scores = self.vectors.astype(numpy.float64) @ (query / numpy.linalg.norm(query))
        ranked = (self.points[row]["id"] for row in numpy.argsort(-scores, kind="stable"))
        best = [point_id for point_id in ranked if keep(point_id)][:limit]
        return [(point_id, scores[self.rows[point_id]]) for point_id in best]

    def query(self, vector, limit=K, **options):
        return self.client.query_points(COLLECTION, query=vector.tolist(), limit=limit, **options).points

    def assert_exact(self, hits, vector, keep=lambda point_id: True):
        """The best scores in order, and each hit has the score it claims: near-duplicates may change places."""
        wanted = self.brute_force(vector, K, keep)
        self.assertEqual(len(hits), len(wanted))
        self.assertEqual(len({hit.id for hit in hits}), len(hits))
        own_scores = self.vectors.astype(numpy.float64) @ (vector / numpy.linalg.norm(vector))
        for hit, (_, score) in zip(hits, wanted, strict=True):
            self.assertTrue(keep(hit.id))
            self.assertAlmostEqual(hit.score, score, delta=1e-5)
            self.assertAlmostEqual(hit.score, own_scores[self.rows[hit.id]], delta=1e-5)

    def live(self):
        """A filter for what has not been sealed, with the virtual key for event time."""
        start = rfc3339(self.live_from_ms - self.live_from_ms % 1000)
        return models.Filter(must=[models.FieldCondition(key="@time", range=models.DatetimeRange(gte=start))])

    def test_windows_are_as_planned(self):
        states = [(window["state"], window["segment"] and window["segment"]["kind"]) for window in self.windrow.windows()]
        self.assertIn(states[0], [("indexed", "hnsw"), ("indexed", "ivf_pq")])
        self.assertEqual(states[-1], ("open", None))

    def test_service_and_collections_are_described(self):
        self.assertTrue(self.client.info().version.startswith("1.19"))
        self.assertEqual([found.name for found in self.client.get_collections().collections], [COLLECTION])
        self.assertTrue(self.client.collection_exists(COLLECTION))
        self.assertFalse(self.client.collection_exists("other"))
        info = self.client.get_collection(COLLECTION)
        self.assertEqual((info.config.params.vectors.size, info.config.params.vectors.distance), (384, models.Distance.COSINE))
        self.assertEqual(info.points_count, len(self.points))
        self.assertGreaterEqual(info.indexed_vectors_count, SEALED_ROWS)

    def test_telemetry_says_who_answers(self):
        found = self.client.http.service_api.telemetry().result
        self.assertEqual((found.app.name, found.collections.number_of_collections), ("windrow", 1))
        self.assertTrue(found.id)
        self.assertEqual(self.client.http.service_api.telemetry(anonymize=True).result.id, "")

    def test_every_key_of_the_clients_models_is_taken_or_refused_by_name(self):
        """`unknown field` is for what the client cannot send."""
        routes = {
            ("post", "/points/query"): [models.QueryRequest],
            ("post", "/points/query/batch"): [models.QueryRequestBatch],
            ("post", "/points/query/groups"): [models.QueryGroupsRequest],
            ("post", "/points/scroll"): [models.ScrollRequest],
            ("post", "/points/count"): [models.CountRequest],
            ("post", "/points"): [models.PointRequest],
            ("post", "/facet"): [models.FacetRequest],
            ("post", "/points/batch"): [models.UpdateOperations],
            ("put", "/index"): [models.CreateFieldIndex],
            ("put", "/points"): [models.PointsList, models.PointsBatch],
            ("post", "/points/delete"): [models.PointIdsList, models.FilterSelector],
        }
        document = self.windrow.request("GET", "/openapi.json").json()

        def parts(schema, root):
            """What a schema consists of: itself, without references and choices."""
            if "$ref" in schema:
                found = root
                for name in schema["$ref"][2:].split("/"):
                    found = found[name]
                yield from parts(found, root)
                return
            yield schema
            for one in schema.get("anyOf", []) + schema.get("allOf", []):
                yield from parts(one, root)

        def compare(sent, model, taken, place, seen):
            """Every key of the client's schemas SENT is in the service's schemas TAKEN."""
            sent = [part for one in sent for part in parts(one, model)]
            taken = [part for one in taken for part in parts(one, document)]
            if not any(part.get("type") in ("object", "array") for part in taken) or not any(taken):
                return  # refused by name, or free
            properties = {}
            for part in sent:
                for key, schema in part.get("properties", {}).items():
                    properties.setdefault(key, []).append(schema)
            for key, schemas in properties.items():
                known = [part["properties"][key] for part in taken if key in part.get("properties", {})]
                self.assertTrue(known, f"{place}.{key}")
                pair = json.dumps([schemas, known], sort_keys=True)
                if pair not in seen:
                    seen.add(pair)
                    compare(schemas, model, known, f"{place}.{key}", seen)
            items = [part["items"] for part in sent if isinstance(part.get("items"), dict)]
            if items and any("items" in part for part in taken):
                compare(items, model, [part["items"] for part in taken if "items" in part], f"{place}[]", seen)

        for (method, path), sent in routes.items():
            body = document["paths"]["/collections/{collection}" + path][method]["requestBody"]["content"]["application/json"]
            for model in sent:
                schema = model.model_json_schema(by_alias=True)
                compare([schema], schema, [body["schema"]], path, set())

    def test_recall_over_sealed_and_live_windows_is_at_least_95_percent(self):
        found = 0
        for vector in self.queries:
            wanted = {point_id for point_id, _ in self.brute_force(vector, K)}
            found += len(wanted & {hit.id for hit in self.query(vector)})
        recall = found / (K * len(self.queries))
        print(f"recall@{K} {recall:.4f}", flush=True)
        self.assertGreaterEqual(recall, 0.95)

    def test_live_window_is_exact(self):
        start_ms = self.live_from_ms - self.live_from_ms % 1000
        for vector in self.queries[:40]:
            hits = self.query(vector, query_filter=self.live())
            self.assert_exact(hits, vector, lambda point_id: self.times_ms[point_id] >= start_ms)

    def test_exact_search_is_exact(self):
        for vector in self.queries[:40]:
            hits = self.query(vector, search_params=models.SearchParams(exact=True))
            self.assert_exact(hits, vector)

    def test_filters_return_what_brute_force_returns(self):
        field = models.FieldCondition
        cases = {
            "match": ([field(key="package", match=models.MatchValue(value="linux"))], lambda p: p["package"] == "linux"),
            "match any": (
                [field(key="urgency", match=models.MatchAny(any=["high", "low"]))], lambda p: p["urgency"] in ("high", "low"),
            ),
            "match except": (
                [field(key="urgency", match=models.MatchExcept(**{"except": ["medium"]}))], lambda p: p["urgency"] != "medium",
            ),
            "match a number": ([field(key="year", match=models.MatchValue(value=2020))], lambda p: p["year"] == 2020),
            "range": ([field(key="year", range=models.Range(gte=2017, lt=2019))], lambda p: 2017 <= p["year"] < 2019),
            "nested key": ([field(key="row.number", range=models.Range(lt=100))], lambda p: p["row"]["number"] < 100),
            "array": ([field(key="row.tags", match=models.MatchValue(value="odd"))], lambda p: "odd" in p["row"]["tags"]),
            "two conditions": (
                [field(key="year", range=models.Range(gt=2020)), field(key="urgency", match=models.MatchValue(value="high"))],
                lambda p: p["year"] > 2020 and p["urgency"] == "high",
            ),
            "missing field": ([field(key="nothing", match=models.MatchValue(value=1))], lambda p: False),
        }
        for name, (must, keep) in cases.items():
            with self.subTest(name):
                chosen = models.Filter(must=must)
                hits = self.query(self.queries[0], query_filter=chosen, search_params=models.SearchParams(exact=True))
                self.assert_exact(hits, self.queries[0], lambda point_id: keep(self.payloads[point_id]))
                wanted = sum(1 for payload in self.payloads.values() if keep(payload))
                self.assertEqual(self.client.count(COLLECTION, count_filter=chosen, exact=True).count, wanted)

    def test_must_not_and_should_select_together(self):
        linux = models.FieldCondition(key="package", match=models.MatchValue(value="linux"))
        high = models.FieldCondition(key="urgency", match=models.MatchValue(value="high"))
        chosen = models.Filter(must_not=[linux], should=[high])
        wanted = sum(1 for p in self.payloads.values() if p["package"] != "linux" and p["urgency"] == "high")
        self.assertEqual(self.client.count(COLLECTION, count_filter=chosen, exact=True).count, wanted)

    def test_full_k_comes_back_under_a_narrow_filter(self):
        """Forty rows of 2,400 pass: a graph walk alone would lose some of them."""
        narrow = models.Filter(must=[models.FieldCondition(key="row.number", range=models.Range(gte=500, lt=540))])
        self.assertEqual(len(self.query(self.queries[3], limit=40, query_filter=narrow)), 40)

    def test_payload_and_vector_selectors_are_obeyed(self):
        hit = self.query(self.queries[0], limit=1)[0]
        self.assertEqual((hit.payload, hit.vector), (self.payloads[hit.id], None))
        hit = self.query(self.queries[0], limit=1, with_payload=["package", "year"], with_vectors=True)[0]
        payload = self.payloads[hit.id]
        self.assertEqual(hit.payload, {"package": payload["package"], "year": payload["year"]})
        numpy.testing.assert_allclose(hit.vector, self.vectors[self.rows[hit.id]], atol=1e-6)
        hit = self.query(self.queries[0], limit=1, with_payload=models.PayloadSelectorExclude(exclude=["row", "text"]))[0]
        self.assertEqual(set(hit.payload), set(payload) - {"row", "text"})

    def test_offset_limit_and_threshold_cut_one_ranking(self):
        exact = models.SearchParams(exact=True)
        whole = self.query(self.queries[1], limit=20, search_params=exact)
        page = self.query(self.queries[1], limit=10, offset=10, search_params=exact)
        self.assertEqual([hit.score for hit in page], [hit.score for hit in whole[10:]])
        threshold = (whole[4].score + whole[5].score) / 2
        cut = self.query(self.queries[1], limit=20, score_threshold=threshold, search_params=exact)
        self.assertEqual([hit.id for hit in cut], [hit.id for hit in whole if hit.score > threshold])

    def test_query_by_id_leaves_the_point_out(self):
        point_id = self.points[5]["id"]
        hits = self.client.query_points(
            COLLECTION, query=point_id, limit=K, search_params=models.SearchParams(exact=True)
        ).points
        self.assert_exact(hits, self.vectors[5], lambda other: other != point_id)

    def test_recommend_is_a_search_with_the_mean_that_leaves_the_examples_out(self):
        liked, disliked = [5, 900], [17]
        examples = {self.points[row]["id"] for row in liked + disliked}
        mean = 2 * self.vectors[liked].mean(axis=0) - self.vectors[disliked].mean(axis=0)
        recommend = models.RecommendInput(
            positive=[self.points[row]["id"] for row in liked], negative=[self.points[row]["id"] for row in disliked]
        )
        hits = self.client.query_points(
            COLLECTION, query=models.RecommendQuery(recommend=recommend), limit=K, search_params=models.SearchParams(exact=True)
        ).points
        self.assert_exact(hits, mean, lambda other: other not in examples)

    def test_fusion_ranks_by_the_places_in_both_searches(self):
        exact = models.SearchParams(exact=True)
        places = {}
        for vector in self.queries[:2]:
            for place, hit in enumerate(self.query(vector, limit=30, search_params=exact)):
                places[hit.id] = places.get(hit.id, 0) + 1 / (2 + place)
        prefetch = [models.Prefetch(query=vector.tolist(), limit=30, params=exact) for vector in self.queries[:2]]
        fusion = models.FusionQuery(fusion=models.Fusion.RRF)
        hits = self.client.query_points(COLLECTION, prefetch=prefetch, query=fusion, limit=K).points
        self.assertEqual(len(hits), K)
        for hit, score in zip(hits, sorted(places.values(), reverse=True), strict=False):
            self.assertAlmostEqual(hit.score, score, delta=1e-5)
            self.assertAlmostEqual(hit.score, places[hit.id], delta=1e-5)

    def test_scroll_goes_through_every_point_once_in_id_order(self):
        seen, offset = [], None
        while True:
            page, offset = self.client.scroll(COLLECTION, limit=333, offset=offset, with_payload=True)
            seen += page
            if offset is None:
                break
        self.assertEqual([point.id for point in seen], sorted(self.payloads))
        self.assertTrue(all(point.payload == self.payloads[point.id] for point in seen))

    def test_scroll_with_a_filter_brings_every_match(self):
        chosen = models.Filter(must=[models.FieldCondition(key="year", range=models.Range(gte=2025))])
        page, _ = self.client.scroll(COLLECTION, scroll_filter=chosen, limit=10_000)
        self.assertEqual([p.id for p in page], sorted(i for i, p in self.payloads.items() if p["year"] >= 2025))

    def test_retrieve_brings_payload_and_vector_of_known_ids(self):
        ids = [self.points[row]["id"] for row in (3, 2399, 1000)]
        found = self.client.retrieve(COLLECTION, ids=[*ids, 999_999], with_vectors=True)
        self.assertEqual({point.id for point in found}, set(ids))
        for point in found:
            self.assertEqual(point.payload, self.payloads[point.id])
            numpy.testing.assert_allclose(point.vector, self.vectors[self.rows[point.id]], atol=1e-6)

    def test_count_is_exact_with_and_without_a_filter(self):
        self.assertEqual(self.client.count(COLLECTION, exact=True).count, len(self.points))
        live = self.client.count(COLLECTION, count_filter=self.live(), exact=True).count
        start_ms = self.live_from_ms - self.live_from_ms % 1000
        self.assertEqual(live, sum(1 for time_ms in self.times_ms.values() if time_ms >= start_ms))

    def test_unknown_collection_raises_not_found(self):
        with self.assertRaises(UnexpectedResponse) as raised:
            self.client.query_points("other", query=self.queries[0].tolist())
        self.assertEqual(raised.exception.status_code, 404)
        self.assertIn(b"Collection `other` doesn't exist", raised.exception.content)

    def test_reply_tells_how_fresh_it_is(self):
        reply = self.windrow.search_reply({"query": {"nearest": self.queries[0].tolist()}, "limit": 1})["windrow"]
        self.assertEqual(reply["offsets"], {"0": len(self.points)})
        self.assertEqual(reply["partial"], False)
        self.assertGreaterEqual(reply["windows"]["live"], 1)
        self.assertEqual(reply["windows"]["searched"], len(self.windrow.windows()))

    def test_window_outside_the_asked_time_is_pruned(self):
        body = {"query": {"nearest": self.queries[0].tolist()}, "limit": K, "windrow": {"from": rfc3339(self.live_from_ms)}}
        reply = self.windrow.search_reply(body)
        self.assertGreaterEqual(reply["windrow"]["windows"]["pruned"], 1)
        start_ms = self.live_from_ms - self.live_from_ms % 1000
        self.assertTrue(all(self.times_ms[hit["id"]] >= start_ms for hit in reply["result"]["points"]))

    def test_health_metrics_and_status_are_answered(self):
        for path in ("/livez", "/readyz", "/healthz"):
            self.assertEqual(self.windrow.request("GET", path).status, 200, path)
        metrics = self.windrow.request("GET", "/metrics").body.decode()
        for name in ("windrow_records_ingested_total", "windrow_search_seconds_bucket", "windrow_windows", "windrow_build_info"):
            self.assertIn(name, metrics)
        status = self.windrow.request("GET", "/status").json()
        self.assertIn(COLLECTION, json.dumps(status))

    def test_zz_read_your_own_write(self):
        """Last by name, because it adds a point: a search that asks for its offset sees it."""
        vector = numpy.zeros(384, dtype=numpy.float32)
        vector[0] = 1
        line = json.dumps({"id": 1_000_000, "vector": vector.tolist(), "payload": {}, "time_ms": int(time.time() * 1000)})
        done = self.windrow.command("produce", "-C", COLLECTION, input=line + "\n")
        self.assertEqual(done.returncode, 0, done.stderr)
        body = {
            "query": {"nearest": vector.tolist()}, "limit": 1,
            "windrow": {"min_offsets": {"0": len(self.points)}, "timeout_ms": 20_000},
        }
        self.assertEqual(self.windrow.search_reply(body)["result"]["points"][0]["id"], 1_000_000)


if __name__ == "__main__":
    harness.main()
