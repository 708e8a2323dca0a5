"""Merging on demand and every style of merging: answers are the same before and after, and as a plain model says."""

import json
import os
import sys
import time
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
import harness
from servers import Kafka
from service import COLLECTION, TOPIC, Windrow

DONE, FAILED, USAGE = 0, 1, 64
DIM = 16
ROUNDS = 8
ROUND_ROWS = 400
IDS = 1500
HOUR_MS = 3_600_000
STORE = {"memtable_max_bytes": "1MiB"}
MANIFEST = frozenset({f'collection="{COLLECTION}"', 'shard="0"', 'kind="manifest"'})


def record(number, time_ms):
    """ID comes again in later rounds with another vector and payload."""
    vector = [float((number * (place + 3)) % 31) for place in range(DIM)]
    return {"id": number % IDS, "vector": vector, "payload": {"n": number}, "time_ms": time_ms}


class Compaction(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.kafka = Kafka().start()

    @classmethod
    def tearDownClass(cls):
        cls.kafka.stop()

    def start(self, **options):
        topic = f"{TOPIC}-{self.id().rpartition('.')[2]}"
        self.windrow = Windrow(self.kafka.address, store=STORE, group=topic, topics=[topic], **options)
        self.topic = topic
        if options["window"] is None:
            del self.windrow.tree["collections"][COLLECTION]["late"]  # nothing is late without windows
            self.windrow.configure(self.windrow.tree)
        self.addCleanup(self.windrow.stop)
        self.windrow.create_topic(1)
        self.windrow.start()
        self.model, self.end = {}, 0

    def produce(self, count, time_ms):
        records = []
        for number in range(self.end, self.end + count):
            value = record(number, time_ms)
            records.append((str(value["id"]), json.dumps(value)))
            self.model[value["id"]] = value["payload"]
        self.kafka.produce(self.topic, records)
        self.end += count
        self.windrow.wait_caught_up({"0": self.end})

    def check(self):
        found = {number: point["payload"] for number, point in self.windrow.scroll(with_vector=False).items()}
        self.assertEqual(found, self.model)
        query = record(self.end - 1, 0)["vector"]
        best = self.windrow.search_reply({"query": query, "limit": 1, "params": {"exact": True}})["result"]["points"][0]
        self.assertEqual(best["score"], 0)

    def compact(self, *arguments):
        return self.windrow.command("compact", "-C", COLLECTION, *arguments)

    def live_without_windows(self, style):
        levels = {} if style == "size_tiered" else {"leveled": {"target_file_size": "1MiB"}}
        self.start(window=None, ttl=None, compaction={"style": style, **levels})
        for turn in range(ROUNDS):
            self.produce(ROUND_ROWS, 1_700_000_000_000 + turn * HOUR_MS)
            self.check()
            if turn == ROUNDS // 2:
                self.windrow.stop()
                self.windrow.start()
                self.windrow.wait_caught_up({"0": self.end})
        done = self.compact("--json")
        self.assertEqual(done.returncode, DONE, done.stderr)
        windows = json.loads(done.stdout)["result"]
        self.assertEqual([(w["window_start_ms"], w["window_length_ms"], w["action"]) for w in windows], [(0, 0, "merge")])
        self.assertEqual(windows[0]["rows"], len(self.model))
        self.check()
        for time_text in ("1700000000000", "2h"):
            refused = self.windrow.command("rebuild", "-C", COLLECTION, "--window", time_text)
            self.assertEqual(refused.returncode, FAILED)
            self.assertIn("has no windows to rebuild", refused.stderr)
        self.check()
        self.assertGreater(self.windrow.metrics("windrow_lsm_bytes_written_total")[MANIFEST], 0)
        status = self.windrow.command("status")
        self.assertIn("no windows", status.stdout)
        self.windrow.stop()
        verified = self.windrow.command("verify")
        self.assertEqual(verified.returncode, DONE, verified.stdout)

    def test_size_tiered_without_windows(self):
        self.live_without_windows("size_tiered")

    def test_leveled_without_windows(self):
        self.live_without_windows("leveled")

    def test_hybrid_without_windows(self):
        self.live_without_windows("hybrid")

    def test_windows_are_sealed_and_resealed_when_asked(self):
        self.start(window="1h", ttl=None, max_bytes="1GiB", idle_timeout="1h", compaction={"style": "fifo"})
        now_ms = int(time.time() * 1000)
        start_ms = now_ms // HOUR_MS * HOUR_MS
        self.produce(ROUND_ROWS, now_ms)
        self.assertEqual([w["state"] for w in self.windrow.windows()], ["open"])
        # A window that is open is sealed only by name.
        done = self.compact()
        self.assertEqual((done.returncode, done.stdout.strip()), (DONE, "nothing to do"), done.stderr)
        for generation, action in ((1, "seal"), (2, "reseal"), (2, "none")):
            done = self.compact("--window", str(now_ms), "--json")
            self.assertEqual(done.returncode, DONE, done.stderr)
            window = json.loads(done.stdout)["result"][0]
            self.assertEqual((window["window_start_ms"], window["action"], window["generation"]), (start_ms, action, generation))
            self.check()
            if generation == 1:
                self.produce(ROUND_ROWS, now_ms)
        for arguments, status, text in (
            (("--window", "2001-01-01"), FAILED, "no window that contains 2001-01-01"),
            (("--shard", "7"), FAILED, "shard 7"),
            (("--window", "yesterday"), USAGE, 'invalid time "yesterday"'),
        ):
            done = self.compact(*arguments)
            self.assertEqual(done.returncode, status)
            self.assertIn(text, done.stderr)


if __name__ == "__main__":
    harness.main()
