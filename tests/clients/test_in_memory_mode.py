"""The same requests to windrow and to the in-memory mode of qdrant-client: filters, payload selectors, all forms of queries.

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

import numpy as np
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


def place(random):
    return {"lon": random.choice([random.uniform(-180, 180), random.randrange(-9, 9)]), "lat": random.choice([random.uniform(-90, 90), random.randrange(-9, 9)])}


def payload_of(random, number):
    """Some of the keys, with values of more than one type."""
    user = lambda: {"n": random.choice(NUMBERS), "ssn": f"{number}-{random.randrange(3)}", "s": random.choice(WORDS)}
    choices = {
        "n": lambda: random.choice([*NUMBERS[:5], None, 1.5, "1"]),
        "s": lambda: random.choice([*WORDS, None]),
        "many": lambda: random.sample(range(40), random.randrange(5)),
        "f": lambda: random.choice([0.5, 1.0, 2.5, float(BIG)]),
        "b": lambda: random.choice([True, False]),
        "tags": lambda: random.sample([*WORDS, 1, 2, None], random.randrange(4)),
        "big": lambda: random.choice([*NUMBERS[5:], float(BIG)]),
        "o": lambda: {"n": random.choice(NUMBERS), "s": random.choice(WORDS), "deep": {"a": 1, "b": [1, {"c": 2}]}},
        "users": lambda: [user() for _ in range(random.randrange(3))],
        "place": lambda: random.choice([place(random), [place(random), place(random)], {"lat": "1", "lon": 2}, {"lon": 3}]),
        # Of text the in-memory mode would make degrees in a formula; Qdrant's engine does not.
        "spot": lambda: random.choice([place(random), place(random), [place(random)], [place(random), place(random)], {"lon": 3}]),
        "at": lambda: random.choice([f"2024-0{random.randrange(1, 9)}-01T00:00:00.{random.randrange(10**6):06}Z", "2024-03-01", "soon"]),
        "text": lambda: " ".join(random.choice(["Red", "green;", "BLUE", "wine", "42"]) for _ in range(random.randrange(5))),
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

    def text_match(self):
        text = " ".join(self.random.sample(["red", "GREEN", "blue", "wine", "4", "r"], self.random.randrange(1, 3)))
        return self.random.choice(
            [
                models.MatchText(text=text),
                models.MatchTextAny(text_any=text),
                models.MatchPhrase(phrase=text),
                models.MatchPrefix(prefix=text[:3].title()),
                models.MatchSubstring(substring=text[1:3]),
            ]
        )

    def time(self):
        return f"2024-0{self.random.randrange(1, 9)}-01T00:00:00.{self.random.randrange(10**6):06}Z"

    def region(self):
        """Borders are no differences: corners lie between the places that are whole degrees."""
        random = self.random
        point = lambda: models.GeoPoint(lon=random.uniform(-179, 179), lat=random.uniform(-89, 89))
        ring = lambda corners: models.GeoLineString(points=[*corners, corners[0]])
        box = sorted(random.uniform(-80, 80) for _ in range(2))
        west, east = random.uniform(-170, 0), random.uniform(0, 170)
        square = [models.GeoPoint(lon=x, lat=y) for x, y in ((west, box[0]), (east, box[0]), (east, box[1]), (west, box[1]))]
        return random.choice(
            [
                {"geo_radius": models.GeoRadius(center=point(), radius=random.uniform(1e5, 1e7))},
                {"geo_bounding_box": models.GeoBoundingBox(top_left=point(), bottom_right=point())},
                {"geo_polygon": models.GeoPolygon(exterior=ring([point() for _ in range(random.randrange(3, 7))]))},
                {"geo_polygon": models.GeoPolygon(exterior=ring(square), interiors=[ring([point() for _ in range(3)]) for _ in range(2)])},
                {"geo_polygon": models.GeoPolygon(exterior=ring([models.GeoPoint(lon=x, lat=y) for x, y in ((-5, -5), (5, -5), (5, 5), (-5, 5))]))},
            ]
        )

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
            lambda: models.FieldCondition(key=key, is_empty=random.random() < 0.5),
            lambda: models.FieldCondition(key=key, is_null=random.random() < 0.5),
            lambda: models.IsNullCondition(is_null=models.PayloadField(key=key)),
            lambda: models.IsEmptyCondition(is_empty=models.PayloadField(key=key)),
            lambda: models.FieldCondition(key=random.choice(["text", "s"]), match=self.text_match()),
            lambda: models.FieldCondition(key="at", range=models.DatetimeRange(gte=self.time(), lt=self.time())),
            lambda: models.FieldCondition(key=random.choice(["place", "place[]"]), **self.region()),
            lambda: models.HasIdCondition(has_id=random.sample(range(POINTS), 20)),
            lambda: models.SliceCondition(slice=models.Slice(total=3, index=random.randrange(3))),
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
        slices = models.SliceCondition(slice=models.Slice(total=1, index=0))
        for inner in (models.HasIdCondition(has_id=list(range(POINTS))), models.HasVectorCondition(has_vector=""), slices):
            for name in ("must", "must_not"):
                nested = models.NestedCondition(nested=models.Nested(key="users", filter=models.Filter(**{name: [inner]})))
                self.compare(models.Filter(must=[nested]))

    def test_slices_share_out_all_points(self):
        for total in (1, 2, 7):
            slices = [models.Filter(must=[models.SliceCondition(slice=models.Slice(total=total, index=index))]) for index in range(total)]
            for one in slices:
                self.compare(one)
            self.assertEqual(sorted(sum((self.ids(self.client, one) for one in slices), [])), list(range(POINTS)))
        for total, index in ((0, 0), (3, 3)):
            self.compare(models.Filter(must=[models.SliceCondition(slice=models.Slice(total=total, index=index))]))

    def test_min_should_wants_at_least_one(self):
        conditions = [models.FieldCondition(key="n", match=models.MatchValue(value=1))]
        condition = models.Filter(min_should=models.MinShould(conditions=conditions, min_count=0))
        self.assertIsNone(self.ids(self.memory, condition))
        self.assertIsNone(self.ids(self.client, condition))
        reply = self.windrow.request("POST", f"/collections/{COLLECTION}/points/count", {"filter": condition.model_dump(exclude_none=True)})
        self.assertEqual(reply.status, 422, reply.body)
        self.assertIn(b"$.filter.min_should.min_count: value 0 invalid", reply.body)

    def matrix(self, client, **asked):
        """{a: [(b, score)]}, the same from both forms."""
        found = client.search_matrix_offsets(COLLECTION, **asked)
        pairs = {}
        for row, column, score in zip(found.offsets_row, found.offsets_col, found.scores, strict=True):
            pairs.setdefault(found.ids[row], []).append((found.ids[column], score))
        return pairs, found.ids

    def client_pairs(self, client, asked):
        for a, near in self.matrix(client, **asked)[0].items():
            for b, score in near:
                yield a, b, score

    def test_a_matrix_of_all_points_has_the_same_pairs(self):
        """Of a sample as large as the collection chance decides nothing."""
        for limit in (1, 3, POINTS):
            condition = models.Filter(must=[models.HasIdCondition(has_id=self.random.sample(range(POINTS), 60))])
            asked = {"query_filter": condition, "sample": POINTS, "limit": limit}
            got, wanted = (list(self.client_pairs(client, asked)) for client in (self.client, self.memory))
            self.assertEqual([pair[:2] for pair in got], [pair[:2] for pair in wanted])
            np.testing.assert_allclose([pair[2] for pair in got], [pair[2] for pair in wanted], rtol=1e-4, atol=1e-5)
            pairs = self.client.search_matrix_pairs(COLLECTION, **asked).pairs
            self.assertEqual([(pair.a, pair.b, pair.score) for pair in pairs], got)

    def test_a_matrix_of_a_sample_is_among_its_points(self):
        pairs, ids = self.matrix(self.client, sample=20, limit=4)
        self.assertEqual((len(set(ids)), ids, {len(near) for near in pairs.values()}), (20, sorted(ids), {4}))
        for a, near in pairs.items():
            others = sorted(((b, float(np.dot(self.points[a].vector, self.points[b].vector))) for b in ids if b != a), key=lambda pair: -pair[1])
            self.assertEqual([b for b, _ in near], [b for b, _ in others[:4]])
        self.assertNotEqual(ids, self.matrix(self.client, sample=20)[1])
        alone = models.Filter(must=[models.HasIdCondition(has_id=[3])])
        self.assertEqual(self.matrix(self.client, query_filter=alone), ({}, []))
        for key, value, status in (("sample", 1, 422), ("limit", 0, 422), ("using", "other", 400), ("zzz", 1, 400)):
            reply = self.windrow.request("POST", f"/collections/{COLLECTION}/points/search/matrix/pairs", {key: value})
            self.assertEqual(reply.status, status, reply.body)

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

    # Queries. Vectors are random, so that no two scores are equal but by one formula.

    def vector(self):
        return [self.random.uniform(-1, 1) for _ in range(DIM)]

    def example(self):
        return self.random.choice([self.vector(), self.random.randrange(POINTS)])

    def pairs(self, least):
        return [models.ContextPair(positive=self.example(), negative=self.example()) for _ in range(self.random.randrange(least, 4))]

    def recommend(self):
        strategy = self.random.choice([None, *models.RecommendStrategy])
        average = strategy in (None, models.RecommendStrategy.AVERAGE_VECTOR)
        some = lambda least: [self.example() for _ in range(self.random.randrange(least, 4))]
        negative = some(0)
        return models.RecommendInput(positive=some(1 if average or not negative else 0), negative=negative, strategy=strategy)

    def feedback(self):
        items = [models.FeedbackItem(example=self.example(), score=self.random.choice([0, 0.25, 1, -2])) for _ in range(self.random.randrange(4))]
        naive = models.NaiveFeedbackStrategyParams(a=self.random.uniform(0.1, 2), b=self.random.choice([0, 0.5, 2]), c=self.random.uniform(-1, 1))
        return models.RelevanceFeedbackInput(target=self.example(), feedback=items, strategy=models.NaiveFeedbackStrategy(naive=naive))

    def query(self, fused=None, distinct=False):
        """A form that ranks by scores; over `fused` prefetches a fusion, too. `distinct`: no two rows have one score, as many have
        in a context, and some whose places are summed."""
        kinds = [
            lambda: models.NearestQuery(nearest=self.example()),
            lambda: models.RecommendQuery(recommend=self.recommend()),
            lambda: models.DiscoverQuery(discover=models.DiscoverInput(target=self.example(), context=self.pairs(1))),
            lambda: models.RelevanceFeedbackQuery(relevance_feedback=self.feedback()),
            lambda: models.ContextQuery(context=self.pairs(1)),
        ]
        fusions = [
            lambda: models.FusionQuery(fusion=models.Fusion.DBSF),
            lambda: models.FusionQuery(fusion=models.Fusion.RRF),
            lambda: models.RrfQuery(rrf=models.Rrf(k=self.random.randrange(1, 60))),
            lambda: models.RrfQuery(rrf=models.Rrf(weights=[self.random.choice([0, 0.5, 1, 3]) for _ in range(fused)])),
        ]
        if distinct:
            kinds, fusions = kinds[:-1], fusions[:1]
        return self.random.choice(kinds + (fusions if fused else []))()

    def conditions(self):
        """Of a query and its prefetch both hold here, and clauses are joined there: `must` alone means the same."""
        return models.Filter(must=[self.condition(1)]) if self.random.random() < 0.3 else None

    def prefetch(self, depth=0):
        inner = self.inner(depth + 1) if self.random.random() < 0.3 and depth < 2 else {"query": self.query(distinct=True)}
        # All that match: where a prefetch is cut, rows with equal scores would be cut by chance there.
        return models.Prefetch(**inner, filter=self.conditions(), limit=POINTS)

    def inner(self, depth=0):
        prefetch = [self.prefetch(depth) for _ in range(self.random.randrange(1, 3))]
        return {"prefetch": prefetch, "query": self.query(len(prefetch), distinct=depth > 0)}

    def compare_points(self, got, wanted, everything):
        """Scores are equal place by place; a point has the score that it has there. Equal scores may change places."""
        self.assertEqual(len(got), len(wanted))
        scores = {point.id: point.score for point in everything}
        for one, other in zip(got, wanted, strict=True):
            self.assertAlmostEqual(one.score, other.score, delta=2e-5 * max(1, abs(other.score)))
            self.assertAlmostEqual(one.score, scores[one.id], delta=2e-5 * max(1, abs(other.score)))

    def compare_query(self, client, **ask):
        page = {"limit": self.random.randrange(1, 20), "offset": self.random.choice([0, 0, 3])}
        with self.subTest(ask={name: str(part) for name, part in ask.items()}, page=page):
            wanted = self.memory.query_points(COLLECTION, **ask, **page).points
            everything = self.memory.query_points(COLLECTION, **ask, limit=POINTS).points
            self.compare_points(client.query_points(COLLECTION, **ask, **page).points, wanted, everything)

    def test_random_queries_score_the_same(self):
        for _ in range(100):
            self.compare_query(self.client, query=self.query(), query_filter=self.conditions())
        for _ in range(50):
            self.compare_query(self.client, **self.inner(), query_filter=self.conditions())

    # Formulas.

    def operand(self, depth, searches):
        """Mostly of what every point has, with defaults for the rest; some have no value for some point."""
        random = self.random
        number = lambda: random.choice([0, 1, 2.5, -3, 1e-3, 40])
        inner = lambda: self.operand(depth + 1, searches)
        some = lambda least: [inner() for _ in range(random.randrange(least, 4))]
        origin = models.GeoPoint(lon=random.uniform(-180, 180), lat=random.uniform(-90, 90))
        decay = lambda: models.DecayParamsExpression(
            x=inner(), target=random.choice([None, 0, inner()]), scale=random.choice([None, 0.5, 1e6]), midpoint=random.choice([None, 0.1, 0.9])
        )
        leaves = [
            number,
            lambda: random.choice(["$score", f"$score[{random.randrange(searches + 1)}]"]),
            lambda: random.choice(["time_ms", "f", "o.deep.a", "o.deep.b[0]", "tags[0]", "users[0].s", "n", "b", "none"]),
            lambda: models.DatetimeExpression(datetime=self.time()),
            lambda: models.DatetimeKeyExpression(datetime_key="at"),
            lambda: models.GeoDistance(geo_distance=models.GeoDistanceParams(origin=origin, to="spot")),
            lambda: self.condition(2),
        ]
        operations = [
            lambda: models.SumExpression(sum=some(0)),
            lambda: models.MultExpression(mult=some(0)),
            lambda: models.MaxExpression(max=some(1)),
            lambda: models.MinExpression(min=some(1)),
            lambda: models.NegExpression(neg=inner()),
            lambda: models.AbsExpression(abs=inner()),
            lambda: models.DivExpression(div=models.DivParams(left=inner(), right=inner(), by_zero_default=random.choice([None, 0.5]))),
            lambda: models.SqrtExpression(sqrt=models.AbsExpression(abs=inner())),
            lambda: models.PowExpression(pow=models.PowParams(base=inner(), exponent=number())),
            lambda: models.ExpExpression(exp=inner()),
            lambda: models.Log10Expression(log10=models.AbsExpression(abs=inner())),
            lambda: models.LnExpression(ln=inner()),
            lambda: models.AcoshExpression(acosh=inner()),
            lambda: models.ExpDecayExpression(exp_decay=decay()),
            lambda: models.GaussDecayExpression(gauss_decay=decay()),
            lambda: models.LinDecayExpression(lin_decay=decay()),
        ]
        return random.choice(operations if depth < 2 else leaves if depth > 3 else operations + leaves)()

    def formula(self, searches):
        place = {"lon": 1.5, "lat": -2}
        defaults = {"f": 0.25, "o.deep.a": [7], "o.deep.b[0]": -1, "tags[0]": 3, "n": [], "none": 9, "at": "2024-06-01", "spot": place, "$score[1]": 0.5}
        kept = {key: value for key, value in defaults.items() if self.random.random() < 0.9}
        return models.FormulaQuery(formula=self.operand(0, searches), defaults=kept)

    def wanted_by_formula(self, query, prefetch):
        """What the in-memory mode makes of the scores that the searches have here: formulas may blow up the least difference.
        None where some point has no score."""
        batch = self.client.query_batch_points(COLLECTION, requests=[models.QueryRequest(**dict(one)) for one in prefetch])
        # The shortest text of a float32 is up to half a unit from the number itself: the logarithm of a score near 1 shows it.
        for point in (point for one in batch for point in one.points):
            point.score = float(np.float32(point.score))
        memory = self.memory._client.collections[COLLECTION]
        try:
            points = memory._rescore_with_formula(query, [one.points for one in batch], POINTS, with_payload=["n"], with_vectors=False)
        except (ValueError, TypeError, AttributeError, ArithmeticError):  # it refuses in many ways
            return None
        return {point.id: (point.score, point.payload) for point in points}

    def got_by_formula(self, query, prefetch):
        try:
            found = self.client.query_points(COLLECTION, prefetch=prefetch, query=query, limit=POINTS, with_payload=["n"]).points
        except UnexpectedResponse as error:
            self.assertEqual(error.status_code, 400, error)
            return None
        scores = [point.score for point in found]
        self.assertEqual(scores, sorted(scores, reverse=True))
        return {point.id: (point.score, point.payload) for point in found}

    def test_random_formulas_score_the_same(self):
        compared = refused = 0
        for _ in range(250):
            limit = self.random.randrange(1, 25)
            prefetch = [models.Prefetch(query=self.query(), filter=self.conditions(), limit=limit) for _ in range(self.random.randrange(1, 3))]
            if self.random.random() < 0.3:
                prefetch.append(models.Prefetch(**self.inner(1), limit=limit))
            query = self.formula(len(prefetch))
            with self.subTest(query=query.model_dump_json(exclude_none=True), prefetch=str(prefetch)):
                got, wanted = self.got_by_formula(query, prefetch), self.wanted_by_formula(query, prefetch)
                self.assertEqual(got is None, wanted is None, (got, wanted))
                if wanted is None:
                    refused += 1
                    continue
                self.assertEqual(got.keys(), wanted.keys())
                for point, (score, payload) in wanted.items():
                    self.assertAlmostEqual(got[point][0], score, delta=1e-5 * max(1, abs(score)))
                    self.assertEqual(got[point][1], payload)
                compared += len(wanted) > 1
        print(f"{compared} formulas compared, {refused} refused by both", flush=True)
        self.assertGreater(compared, 50)
        self.assertGreater(refused, 20)

    def test_pages_and_thresholds_of_formulas(self):
        decay = models.ExpDecayExpression(exp_decay=models.DecayParamsExpression(x="time_ms", target=self.points[-1].payload["time_ms"], scale=1e7))
        for _ in range(15):
            tagged = models.FieldCondition(key="n", range=models.Range(gte=1))
            query = models.FormulaQuery(formula=models.SumExpression(sum=["$score", models.MultExpression(mult=[decay, "$score[1]"]), tagged, "f"]), defaults={"f": 0.5})
            ask = {"prefetch": [self.prefetch(), self.prefetch()], "query": query, "query_filter": self.conditions()}
            self.compare_query(self.client, **ask)
            scores = [point.score for point in self.memory.query_points(COLLECTION, **ask, limit=POINTS).points]
            place = self.random.randrange(1, max(2, len(scores)))
            if place < len(scores) and scores[place - 1] - scores[place] > 1e-3:
                self.compare_query(self.client, **ask, score_threshold=(scores[place - 1] + scores[place]) / 2)

    def test_thresholds_of_scores_by_examples(self):
        for _ in range(15):
            query = self.query()
            scores = [point.score for point in self.memory.query_points(COLLECTION, query=query, limit=POINTS).points]
            # Between two scores: equal ones are rounded in their own way.
            place = self.random.randrange(1, len(scores))
            if scores[place - 1] - scores[place] > 1e-4:
                self.compare_query(self.client, query=query, score_threshold=(scores[place - 1] + scores[place]) / 2)

    def test_groups_are_the_same(self):
        for _ in range(25):
            ask = {"query": self.query(distinct=True), "query_filter": self.conditions(), "limit": self.random.randrange(1, 6), "group_size": self.random.randrange(1, 4)}
            key = self.random.choice(["s", "n", "tags", "tags[]", "users[].s", "b", "o.n"])
            with self.subTest(ask=str(ask), key=key):
                got = self.client.query_points_groups(COLLECTION, group_by=key, **ask).groups
                wanted = self.memory.query_points_groups(COLLECTION, group_by=key, **ask).groups
                best = lambda groups: [(len(group.hits), [round(hit.score, 3) for hit in group.hits]) for group in groups]
                self.assertEqual(best(got), best(wanted))

    def test_batches_are_their_queries(self):
        requests = [models.QueryRequest(query=self.query(), filter=self.conditions(), limit=7) for _ in range(20)]
        got, wanted = (client.query_batch_points(COLLECTION, requests=requests) for client in (self.client, self.memory))
        for one, other in zip(got, wanted, strict=True):
            self.assertEqual([round(point.score, 3) for point in one.points], [round(point.score, 3) for point in other.points])

    def test_a_sample_is_of_rows_that_match(self):
        ask = {"query": models.SampleQuery(sample=models.Sample.RANDOM), "limit": 12}
        condition = models.Filter(must=[models.HasIdCondition(has_id=list(range(POINTS // 4, POINTS // 4 * 3)))])
        drawn = [tuple(point.id for point in self.client.query_points(COLLECTION, **ask, query_filter=condition).points) for _ in range(5)]
        self.assertGreater(len(set(drawn)), 1)
        for ids in drawn:
            self.assertEqual(len(set(ids)), 12)
            self.assertTrue(set(ids) <= set(condition.must[0].has_id))
        whole = self.client.query_points(COLLECTION, query=ask["query"], limit=POINTS + 9).points
        self.assertEqual(sorted(point.id for point in whole), list(range(POINTS)))

    def test_values_of_an_order_are_the_same(self):
        for key, start in (("f", None), ("at", None), ("o.n", None), ("many", None), ("many", 17)):
            for direction in models.Direction:
                order = models.OrderBy(key=key, direction=direction, start_from=start)
                with self.subTest(key=key, direction=direction, start=start):
                    got, wanted = (client.scroll(COLLECTION, order_by=order, limit=4 * POINTS)[0] for client in (self.client, self.memory))
                    self.assertEqual([point.order_value for point in got], [point.order_value for point in wanted])
                    self.assertGreater(len(got), 30)
                    ranked = self.client.query_points(COLLECTION, query=models.OrderByQuery(order_by=order), limit=4 * POINTS).points
                    self.assertEqual([point.order_value for point in ranked], [point.order_value for point in got])
                    if key == "many": # several entries a point, but one in a group and in a prefetch
                        ids = [point.id for point in got]
                        self.assertGreater(len(ids), len(set(ids)))
                        groups = self.client.query_points_groups(COLLECTION, group_by="n", query=models.OrderByQuery(order_by=order), limit=POINTS, group_size=9).groups
                        hits = [point.id for group in groups for point in group.hits]
                        self.assertEqual(len(hits), len(set(hits)))
                        prefetch = models.Prefetch(query=models.OrderByQuery(order_by=order), limit=7)
                        fused = self.client.query_points(COLLECTION, prefetch=prefetch, query=models.FusionQuery(fusion=models.Fusion.RRF), limit=POINTS).points
                        self.assertEqual(len({point.id for point in fused}), 7)

    def test_older_calls_are_the_same_queries(self):
        """Clients of former years, by what they sent."""
        calls = {
            "recommend": lambda: {"positive": [self.example(), self.example()], "negative": [self.example()], "strategy": "best_score"},
            "discover": lambda: {"target": self.example(), "context": [pair.model_dump() for pair in self.pairs(1)]},
            "search": lambda: {"vector": self.vector()},
        }
        for name, make in calls.items():
            bodies = [{**make(), "limit": 9} for _ in range(8)]
            forms = {"search": lambda body: {"nearest": body["vector"]}}
            forms.update({call: lambda body, call=call: {call: {key: body[key] for key in body if key != "limit"}} for call in ("recommend", "discover")})
            queries = [{"query": forms[name](body), "limit": 9} for body in bodies]
            wanted = [found["points"] for found in self.windrow.post("/points/query/batch", {"searches": queries})]
            self.assertEqual([len(points) for points in wanted], [9] * 8)
            self.assertEqual(self.windrow.post(f"/points/{name}/batch", {"searches": bodies}), wanted)
            self.assertEqual([self.windrow.post(f"/points/{name}", body) for body in bodies], wanted)


if __name__ == "__main__":
    harness.main()
