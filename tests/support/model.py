"""A stream of records, and the model of what a reader must see after the last of them."""

import copy
import json
import struct
import time
import uuid

from service import MS_PER_HOUR

DIM = 16


def float32(values):
    return list(struct.unpack(f"<{len(values)}f", struct.pack(f"<{len(values)}f", *values)))


class Stream:
    """Makes records and keeps the model. SPOILT is the share of records that must not be stored, DELETES of those that
    delete. With a NAME no two streams have an id in common, so they can be read into one collection."""

    def __init__(self, random, windows=6, spoilt=0.0, deletes=0.05, name=""):
        self.random = random
        self.deletes = deletes
        self.spoilt = spoilt
        self.name = name
        now_ms = int(time.time() * 1000)
        self.first_ms = now_ms - now_ms % MS_PER_HOUR - (windows - 1) * MS_PER_HOUR
        self.last_ms = now_ms
        self.windows = windows
        self.late = 1 / 12
        self.known = []
        self.model = {}
        self.counts = {"new": 0, "upsert": 0, "delete": 0, "late": 0}
        self.outcomes = {}  # as Windrow.outcomes() has them
        self.number = 0

    def copy(self):
        """To go back to when a transaction is aborted."""
        same = copy.copy(self)
        same.known, same.model = list(self.known), dict(self.model)
        same.counts, same.outcomes = dict(self.counts), dict(self.outcomes)
        return same

    def new_id(self):
        number = len(self.known) + 1
        kind = self.random.random()
        if kind < 0.6 and not self.name:
            return number
        if kind < 0.9:
            return str(uuid.UUID(int=self.random.getrandbits(128), version=4))
        return f"{self.name}package/{number} é"

    def time_ms(self, window):
        """A time in WINDOW; of all, the share LATE falls into an earlier window, long behind the watermark."""
        if window > 0 and self.random.random() < self.late:
            self.counts["late"] += 1
            window = self.random.randrange(window)
        start = self.first_ms + window * MS_PER_HOUR
        return self.random.randrange(start, max(start + 1, min(start + MS_PER_HOUR, self.last_ms)))

    def payload(self, number):
        return {
            "number": number,
            "text": self.random.choice(["plain", "naïve café", "日本語", 'quote " and \\ and \n', "🙂", ""]),
            "size": self.random.getrandbits(53) - (1 << 52),
            "ratio": self.random.random(),
            "tags": self.random.sample(["a", "b", "c", "d"], self.random.randrange(4)),
            "nested": {"empty": {}, "list": [], "null": None, "yes": True, "deep": {"n": number % 7}},
        }

    def count(self, outcome):
        self.outcomes[outcome] = self.outcomes.get(outcome, 0) + 1

    def spoilt_record(self):
        """What must not be stored, and must not hide a point of that id either."""
        point_id = self.random.choice(self.known) if self.known else 1
        vector = [0.5] * DIM
        outcome, value = self.random.choice(
            [
                ('reason="dimension"', {"id": point_id, "vector": vector[1:], "time_ms": self.last_ms}),
                ('reason="future"', {"id": point_id, "vector": vector, "time_ms": self.last_ms + 24 * MS_PER_HOUR}),
                ('reason="syntax"', None),
                ("expired", {"id": point_id, "vector": vector, "time_ms": self.last_ms - 24 * 30 * MS_PER_HOUR}),
            ]
        )
        self.count(outcome)
        return str(point_id), json.dumps(value) if value else '{"id": 1, "vector": [1, 2'

    def record(self, window=None):
        """One (key, value) for Kafka, after the model has been told; a delete has no value."""
        self.number += 1
        window = self.random.randrange(self.windows) if window is None else window
        if self.random.random() < self.spoilt:
            return self.spoilt_record()
        chance = self.random.random()
        if chance < self.deletes and self.known:
            point_id = self.random.choice(self.known)
            self.model.pop(point_id, None)
            self.counts["delete"] += 1
            self.count("deleted")
            return str(point_id), None
        if chance < self.deletes + 0.3 and self.known:
            point_id = self.random.choice(self.known)
            self.counts["upsert"] += 1
        else:
            point_id = self.new_id()
            self.known.append(point_id)
            self.counts["new"] += 1
        vector = float32([self.random.uniform(-1, 1) for _ in range(DIM)])
        payload = self.payload(self.number)
        self.model[point_id] = (vector, payload)
        self.count("ingested")
        value = {"id": point_id, "vector": vector, "payload": payload, "time_ms": self.time_ms(window)}
        return str(point_id), json.dumps(value, ensure_ascii=self.number % 2 == 0)

    def records(self, count, window=None):
        return [self.record(window) for _ in range(count)]


def assert_stored(test, model, *windrows):
    """Every point of MODEL is in exactly one of the processes, with its vector and payload, and no other point is."""
    points = {}
    for windrow in windrows:
        found = windrow.scroll()
        test.assertEqual(points.keys() & found.keys(), set(), "points that two processes have")
        points.update(found)
    test.assertEqual(sorted(map(str, points)), sorted(map(str, model)), "ids: left windrow, right the model")
    for point_id, (vector, payload) in model.items():
        test.assertEqual(points[point_id]["payload"], payload, f"payload of {point_id}")
        test.assertEqual(float32(points[point_id]["vector"]), vector, f"vector of {point_id}")
    count = sum(windrow.post("/points/count", {"exact": True})["count"] for windrow in windrows)
    test.assertEqual(count, len(model))
