"""20,000 records over six windows, with upserts, deletes and late records, and windrow killed five times on the way.

At the end a scroll of every point must equal a model that applies the records in order: nothing lost, nothing doubled,
nothing resurrected; ids, payloads and vectors.
"""

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
from servers import Kafka, Nats, write_records
from service import DEAD_LETTERS, MS_PER_HOUR, TOPIC, Windrow

RECORDS = 20_000
WINDOWS = 6
KILLS = 5
PARTITIONS = 2
DIM = 16


def float32(values):
    return list(struct.unpack(f"<{len(values)}f", struct.pack(f"<{len(values)}f", *values)))


class Stream:
    """Makes records and keeps the model: what a reader must see after the last one."""

    def __init__(self, random):
        self.random = random
        now_ms = int(time.time() * 1000)
        self.first_ms = now_ms - now_ms % MS_PER_HOUR - (WINDOWS - 1) * MS_PER_HOUR
        self.last_ms = now_ms
        self.known = []
        self.model = {}
        self.counts = {"new": 0, "upsert": 0, "delete": 0, "late": 0}

    def new_id(self):
        number = len(self.known) + 1
        kind = self.random.random()
        if kind < 0.6:
            return number
        if kind < 0.9:
            return str(uuid.UUID(int=self.random.getrandbits(128), version=4))
        return f"package/{number} é"

    def time_ms(self, window):
        """A time in WINDOW; one in twelve falls into an earlier window, long behind the watermark."""
        if window > 0 and self.random.random() < 1 / 12:
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

    def record(self, number, window):
        """One (key, value) for Kafka, after the model has been told."""
        chance = self.random.random()
        if chance < 0.05 and self.known:
            point_id = self.random.choice(self.known)
            self.model.pop(point_id, None)
            self.counts["delete"] += 1
            return str(point_id), None
        if chance < 0.35 and self.known:
            point_id = self.random.choice(self.known)
            self.counts["upsert"] += 1
        else:
            point_id = self.new_id()
            self.known.append(point_id)
            self.counts["new"] += 1
        vector = float32([self.random.uniform(-1, 1) for _ in range(DIM)])
        payload = self.payload(number)
        self.model[point_id] = (vector, payload)
        value = {"id": point_id, "vector": vector, "payload": payload, "time_ms": self.time_ms(window)}
        return str(point_id), json.dumps(value, ensure_ascii=number % 2 == 0)

    def chunk(self, window):
        size = RECORDS // WINDOWS + (1 if window < RECORDS % WINDOWS else 0)
        first = window * (RECORDS // WINDOWS)
        return [self.record(first + index, window) for index in range(size)]


class ExactlyOnce(unittest.TestCase):
    def setUp(self):
        self.random = harness.seeded_random()
        self.kafka = Kafka().start()
        self.nats = Nats().start()
        # Small memtables, so that flushes and chunks are part of what a kill interrupts.
        self.windrow = Windrow(self.kafka.address, self.nats.url, store={"memtable_max_bytes": "1MiB"})
        self.windrow.create_topic(PARTITIONS)

    def tearDown(self):
        for server in (self.windrow, self.nats, self.kafka):
            server.stop()

    def kill_at_some_moment(self, producer, kind):
        """Five kinds of moment, each once: early and late in consumption, in the seals that follow, twice in recovery."""
        if kind == "consuming":
            time.sleep(self.random.uniform(0, 0.4))
        elif kind == "sealing":
            producer.wait()
            time.sleep(self.random.uniform(0.2, 1.5))
        else:
            producer.wait()
            self.windrow.kill()
            self.windrow.spawn_run()
            time.sleep(self.random.uniform(0, 0.3))
        self.windrow.kill()
        print(f"killed while {kind}", flush=True)

    def assert_scroll_equals(self, model):
        points = self.windrow.scroll()
        self.assertEqual(sorted(map(str, points)), sorted(map(str, model)), "ids: left windrow, right the model")
        for point_id, (vector, payload) in model.items():
            self.assertEqual(points[point_id]["payload"], payload, f"payload of {point_id}")
            self.assertEqual(float32(points[point_id]["vector"]), vector, f"vector of {point_id}")
        self.assertEqual(self.windrow.post("/points/count", {"exact": True})["count"], len(model))

    def assert_deleted_stay_away(self, stream):
        gone = [point_id for point_id in stream.known if point_id not in stream.model]
        self.assertGreater(len(gone), 100, "the stream deletes some for good")
        self.assertEqual(self.windrow.post("/points", {"ids": gone[:500]}), [])

    def test_scroll_after_five_kills_equals_the_model(self):
        stream = Stream(self.random)
        kinds = ["consuming", "sealing", "recovering", "consuming", "recovering"]
        self.assertEqual(len(kinds), KILLS)
        self.random.shuffle(kinds)
        self.windrow.start()
        for window in range(WINDOWS):
            path = write_records(self.kafka.folder, stream.chunk(window))
            producer = subprocess.Popen(self.kafka.produce_command(TOPIC, path))
            if window < KILLS:
                self.kill_at_some_moment(producer, kinds[window])
                self.windrow.start()
            self.assertEqual(producer.wait(60), 0)
            # The next window's records must come after this one's seal has been decided, or nothing would be late.
            self.windrow.wait_caught_up(self.kafka.end_offsets(TOPIC, PARTITIONS))
        print(f"{stream.counts}, {len(stream.model)} live", flush=True)
        ends = self.kafka.end_offsets(TOPIC, PARTITIONS)
        self.assertEqual(sum(ends.values()), RECORDS)
        self.assert_scroll_equals(stream.model)

        self.windrow.wait_indexed((WINDOWS - 1) * PARTITIONS)
        self.assert_scroll_equals(stream.model)
        self.assert_deleted_stay_away(stream)

        self.assertEqual(self.windrow.stop(), 0, self.windrow.log()[-2000:])
        self.windrow.start()
        self.windrow.wait_caught_up(ends)
        self.assert_scroll_equals(stream.model)
        self.assertEqual(self.kafka.consume(DEAD_LETTERS), [])
        self.assert_found_by_its_own_vector(stream)

    def assert_found_by_its_own_vector(self, stream):
        for point_id in self.random.sample(sorted(stream.model, key=str), 50):
            vector = stream.model[point_id][0]
            reply = self.windrow.search_reply({"query": {"nearest": vector}, "limit": 1, "params": {"exact": True}})
            self.assertEqual([hit["id"] for hit in reply["result"]["points"]], [point_id])


if __name__ == "__main__":
    harness.main()
