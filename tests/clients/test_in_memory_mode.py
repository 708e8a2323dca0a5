"""The same requests to windrow and to the in-memory mode of qdrant-client: filters, payload selectors, fused scores.

Half of the points are sealed and have columns for their filters, the others are live.
"""

import os
import sys
import time
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "support"))
import harness

harness.require_client("qdrant_client")

from qdrant_client import QdrantClient, models
from qdrant_client.http.exceptions import UnexpectedResponse
from servers import Kafka
from service import COLLECTION, MS_PER_HOUR, Windrow

POINTS = 240
DIM = 4
BIG = 2**53
KEYS = ["n", "s", "f", "b", "tags", "tags[]", "tags[0]", "big", "o.n", "o.s", "users[].n", "users[].ssn", "users[1].n", "users", "none"]
NUMBERS = [0, 1, 2, 3, -1, BIG - 1, BIG, BIG + 1, BIG + 2, -BIG - 1, 2**62, 2**62 + 1]
WORDS = ["red", "green", "blue", "red wine", ""]


def payload_of(random, number):
    """Some of the keys, with values of more than one type."""
    user = lambda: {"n": random.choice(NUMBERS), "ssn": f"{number}-{random.randrange(3)}", "s": random.choice(WORDS)}
    choices = {
        "n": lambda: random.choice([*NUMBERS[:5], None, 1.5, "1"]),
        "s": lambda: random.choice([*WORDS, None]),
        "f": lambda: random.choice([0.5, 1.0, 2.5, float(BIG)]),
        "b": lambda: random.choice([True, False]),
        "tags": lambda: random.sample([*WORDS, 1, 2, None], random.randrange(4)),
        "big": lambda: random.choice([*NUMBERS[5:], float(BIG)]),
        "o": lambda: {"n": random.choice(NUMBERS), "s": random.choice(WORDS), "deep": {"a": 1, "b": [1, {"c": 2}]}},
        "users": lambda: [user() for _ in range(random.randrange(3))],
    }
    return {key: make() for key, make in choices.items() if random.random() < 0.7}


class InMemoryMode(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.random = harness.seeded_random()
        now_ms = int(time.time() * 1000)
        sealed_ms = now_ms - now_ms % MS_PER_HOUR - 3 * MS_PER_HOUR
        cls.points = [
            models.PointStruct(
                id=number,
                vector=[cls.random.uniform(-1, 1) for _ in range(DIM)],
                payload={**payload_of(cls.random, number), "time_ms": (sealed_ms if number < POINTS // 2 else now_ms - POINTS) + number},
            )
            for number in range(POINTS)
        ]
        cls.memory = QdrantClient(":memory:")
        cls.memory.create_collection(COLLECTION, models.VectorParams(size=DIM, distance=models.Distance.DOT))
        cls.memory.upsert(COLLECTION, cls.points)
        cls.kafka = Kafka().start()
        cls.windrow = Windrow(cls.kafka.address, dim=DIM, metric="dot", payload_index=["n", "s", "tags", "big", "users[].n"])
        cls.windrow.start()
        cls.windrow.create_topic(1)
        harness.wait_for(cls.windrow.ready, "windrow is ready")
        cls.client = QdrantClient(url=cls.windrow.url, timeout=30)
        for first in (0, POINTS // 2):
            cls.client.upsert(COLLECTION, cls.points[first : first + POINTS // 2], wait=True)
        cls.windrow.wait_indexed(1)

    @classmethod
    def tearDownClass(cls):
        cls.client.close()
        cls.windrow.stop()
        cls.kafka.stop()

    def ids(self, client, condition):
        """Of a scroll, or None where the filter is refused."""
        try:
            found = client.scroll(COLLECTION, scroll_filter=condition, limit=POINTS, with_payload=False)[0]
        except (ValueError, UnexpectedResponse):
            return None
        return sorted(point.id for point in found)

    def compare(self, condition):
        with self.subTest(filter=condition.model_dump_json(exclude_none=True)):
            self.assertEqual(self.ids(self.client, condition), self.ids(self.memory, condition))

    def condition(self, depth):
        random = self.random
        key = random.choice(KEYS)
        number, word = random.choice(NUMBERS), random.choice(WORDS)
        kinds = [
            lambda: models.FieldCondition(key=key, match=models.MatchValue(value=random.choice([number, word, True, False]))),
            lambda: models.FieldCondition(key=key, match=models.MatchAny(any=random.sample(NUMBERS, 2))),
            lambda: models.FieldCondition(key=key, match=models.MatchExcept(**{"except": random.sample(WORDS, 2)})),
            lambda: models.FieldCondition(key=key, match=models.MatchText(text=word)),
            lambda: models.FieldCondition(key=key, range=models.Range(gte=number, lt=random.choice(NUMBERS))),
            lambda: models.FieldCondition(key=key, range=models.Range(gt=number)),
            lambda: models.FieldCondition(key=key, values_count=models.ValuesCount(gte=random.randrange(3))),
            # Beside a key, with `[]` in it, these are asked of each element by Qdrant's engine (tests/indexer/query/filter_cases.json)
            # and of all together by the in-memory mode.
            lambda: models.FieldCondition(key=key.replace("[]", ""), is_empty=random.random() < 0.5),
            lambda: models.FieldCondition(key=key.replace("[]", ""), is_null=random.random() < 0.5),
            lambda: models.IsNullCondition(is_null=models.PayloadField(key=key)),
            lambda: models.IsEmptyCondition(is_empty=models.PayloadField(key=key)),
            lambda: models.HasIdCondition(has_id=random.sample(range(POINTS), 20)),
            lambda: models.HasVectorCondition(has_vector=""),
            lambda: models.NestedCondition(nested=models.Nested(key="users", filter=self.filter(depth + 1))),
            lambda: self.filter(depth + 1),
        ]
        return random.choice(kinds[: -2 if depth > 2 else None])()

    def filter(self, depth=0):
        some = lambda: [self.condition(depth) for _ in range(self.random.randrange(1, 3))]
        parts = {name: some() for name in ("must", "should", "must_not") if self.random.random() < 0.4}
        if self.random.random() < 0.2:
            parts["min_should"] = models.MinShould(conditions=some(), min_count=self.random.randrange(1, 3))
        return models.Filter(**parts)

    def test_random_filters_match_the_same_points(self):
        for _ in range(400):
            self.compare(self.filter())

    def test_ids_and_vectors_are_no_part_of_an_element(self):
        for inner in (models.HasIdCondition(has_id=list(range(POINTS))), models.HasVectorCondition(has_vector="")):
            for name in ("must", "must_not"):
                nested = models.NestedCondition(nested=models.Nested(key="users", filter=models.Filter(**{name: [inner]})))
                self.compare(models.Filter(must=[nested]))

    def test_min_should_wants_at_least_one(self):
        conditions = [models.FieldCondition(key="n", match=models.MatchValue(value=1))]
        condition = models.Filter(min_should=models.MinShould(conditions=conditions, min_count=0))
        self.assertIsNone(self.ids(self.memory, condition))
        self.assertIsNone(self.ids(self.client, condition))
        reply = self.windrow.request("POST", f"/collections/{COLLECTION}/points/count", {"filter": condition.model_dump(exclude_none=True)})
        self.assertEqual(reply.status, 422, reply.body)
        self.assertIn(b"$.filter.min_should.min_count: value 0 invalid", reply.body)

    def test_integers_beyond_2_to_the_53_are_themselves(self):
        for number in NUMBERS:
            self.compare(models.Filter(must=[models.FieldCondition(key="big", match=models.MatchValue(value=number))]))
            # The client's own range holds doubles only; what is sent as an integer is compared as one.
            for bound, keep in {"gt": int.__gt__, "gte": int.__ge__, "lt": int.__lt__, "lte": int.__le__}.items():
                body = {"limit": POINTS, "filter": {"must": {"key": "big", "range": {bound: number}}}}
                found = self.windrow.post("/points/scroll", body)["points"]
                wanted = [point.id for point in self.points if "big" in point.payload and keep(int(point.payload["big"]), number)]
                self.assertEqual([point["id"] for point in found], wanted, (bound, number))

    def test_payload_selectors_keep_and_drop_the_same(self):
        paths = [
            "n", "o", "o.n", "o.deep.b", "o.deep.b[]", "o.deep.b[].c", "users", "users[]", "users[].ssn", "users[0]", "users[0].ssn",
            "users.ssn", "tags[]", "tags[0]", "tags", "s.x", '"o".n', "none", "users[].none",
        ]
        chosen = [[path] for path in paths] + [self.random.sample(paths, 3) for _ in range(60)]
        for some in chosen:
            for selector in (some, models.PayloadSelectorInclude(include=some), models.PayloadSelectorExclude(exclude=some)):
                with self.subTest(selector=selector):
                    ask = dict(collection_name=COLLECTION, limit=POINTS, with_payload=selector)
                    got, wanted = self.client.scroll(**ask)[0], self.memory.scroll(**ask)[0]
                    self.assertEqual([point.payload for point in got], [point.payload for point in wanted])

    def test_broken_payload_paths_are_refused(self):
        for path in ("a..b", "a[", "a[x]", "", '"a', "a]"):
            for client in (self.client, self.memory):
                with self.subTest(path=path), self.assertRaises((ValueError, UnexpectedResponse)):
                    client.scroll(COLLECTION, with_payload=models.PayloadSelectorExclude(exclude=[path]))

    def test_thresholds_of_fused_scores_keep_what_equals_them(self):
        vectors = [[self.random.uniform(-1, 1) for _ in range(DIM)] for _ in range(3)]
        prefetch = [models.Prefetch(query=vector, limit=12, params=models.SearchParams(exact=True)) for vector in vectors]
        scores = {1 / (2 + place) for place in range(12)}
        ask = dict(collection_name=COLLECTION, prefetch=prefetch, query=models.FusionQuery(fusion=models.Fusion.RRF))
        scores |= {point.score for point in self.memory.query_points(**ask, limit=40).points}
        for threshold in sorted(scores):
            for limit, offset in ((40, 0), (5, 2)):
                with self.subTest(threshold=threshold, limit=limit):
                    page = dict(ask, score_threshold=threshold, limit=limit, offset=offset)
                    got, wanted = self.client.query_points(**page).points, self.memory.query_points(**page).points
                    self.assertEqual(len(got), len(wanted))
                    for one, other in zip(got, wanted, strict=True):  # equal scores may change places
                        self.assertAlmostEqual(one.score, other.score, delta=1e-6)


if __name__ == "__main__":
    harness.main()
