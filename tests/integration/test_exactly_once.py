"""20,000 records over six windows, with upserts, deletes and late records, and windrow killed five times on the way.

At the end a scroll of every point must equal a model that applies the records in order: nothing lost, nothing doubled,
nothing resurrected; ids, payloads and vectors.
"""

import os
import subprocess
import sys
import time
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
import harness
from model import Stream, assert_stored
from servers import Kafka, Nats, write_records
from service import DEAD_LETTERS, TOPIC, Windrow

RECORDS = 20_000
WINDOWS = 6
KILLS = 5
PARTITIONS = 2


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

    def assert_deleted_stay_away(self, stream):
        gone = [point_id for point_id in stream.known if point_id not in stream.model]
        self.assertGreater(len(gone), 100, "the stream deletes some for good")
        self.assertEqual(self.windrow.post("/points", {"ids": gone[:500]}), [])

    def chunk_size(self, window):
        return RECORDS // WINDOWS + (1 if window < RECORDS % WINDOWS else 0)

    def test_scroll_after_five_kills_equals_the_model(self):
        stream = Stream(self.random, WINDOWS)
        kinds = ["consuming", "sealing", "recovering", "consuming", "recovering"]
        self.assertEqual(len(kinds), KILLS)
        self.random.shuffle(kinds)
        self.windrow.start()
        for window in range(WINDOWS):
            path = write_records(self.kafka.folder, stream.records(self.chunk_size(window), window))
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
        assert_stored(self, stream.model, self.windrow)

        self.windrow.wait_indexed((WINDOWS - 1) * PARTITIONS)
        assert_stored(self, stream.model, self.windrow)
        self.assert_deleted_stay_away(stream)

        self.assertEqual(self.windrow.stop(), 0, self.windrow.log()[-2000:])
        self.windrow.start()
        self.windrow.wait_caught_up(ends)
        assert_stored(self, stream.model, self.windrow)
        self.assertEqual(self.kafka.consume(DEAD_LETTERS), [])
        self.assert_found_by_its_own_vector(stream)

    def assert_found_by_its_own_vector(self, stream):
        for point_id in self.random.sample(sorted(stream.model, key=str), 50):
            vector = stream.model[point_id][0]
            reply = self.windrow.search_reply({"query": {"nearest": vector}, "limit": 1, "params": {"exact": True}})
            self.assertEqual([hit["id"] for hit in reply["result"]["points"]], [point_id])


if __name__ == "__main__":
    harness.main()
