"""TTL: a record is gone the moment it expires, not a moment earlier, and its window's files follow."""

import glob
import json
import os
import sys
import time
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
import harness
from servers import Kafka
from service import TOPIC, Windrow

DIM = 16
ROWS = 600
WINDOW_MS = 5_000
TTL_MS = 20_000


def now_ms():
    return int(time.time() * 1000)


class Expiry(unittest.TestCase):
    def setUp(self):
        self.kafka = Kafka().start()
        self.windrow = Windrow(
            self.kafka.address, window="5s", ttl="20s", idle_timeout="1s", late={"allowed": "1s", "policy": "accept"},
        )
        self.windrow.create_topic(1)
        self.windrow.start()

    def tearDown(self):
        self.windrow.stop()
        self.kafka.stop()

    def produce(self):
        """Rows spread over the fifteen seconds before now: three or four windows, of which the old ones seal at once."""
        end_ms = now_ms()
        times = {number: end_ms - 15_000 + number * 15_000 // ROWS for number in range(ROWS)}
        records = []
        for number, time_ms in times.items():
            vector = [float(number % (place + 2)) for place in range(DIM)]
            value = {"id": number, "vector": vector, "payload": {"n": number}, "time_ms": time_ms}
            records.append((str(number), json.dumps(value)))
        self.kafka.produce(TOPIC, records)
        self.windrow.wait_caught_up({"0": ROWS})
        return times

    def check_once(self, times):
        """Returns how many rows are left. The clock goes on during a request: rows that expire meanwhile may be either."""
        before = now_ms()
        found = set(self.windrow.scroll(limit=10_000, with_vector=False))
        count = self.windrow.post("/points/count", {"exact": True})["count"]
        after = now_ms()
        gone_before = {number for number, time_ms in times.items() if time_ms + TTL_MS <= before}
        alive_after = {number for number, time_ms in times.items() if time_ms + TTL_MS > after}
        self.assertEqual(found & gone_before, set(), "returned after its expiry")
        self.assertEqual(alive_after - found, set(), "missing before its expiry")
        self.assertLessEqual(count, len(found))
        return len(found)

    def files(self):
        found = glob.glob(f"{self.windrow.folder}/data/**", recursive=True)
        return [path for path in found if path.endswith((".run", ".segment"))]

    def test_rows_expire_at_their_time_and_files_follow(self):
        times = self.produce()
        counts = []
        while now_ms() < max(times.values()) + TTL_MS + 1000:
            counts.append(self.check_once(times))
            time.sleep(0.2)
        self.assertEqual(self.check_once(times), 0)
        self.assertGreater(len(set(counts)), 10, "expiry is row by row, not window by window")
        harness.wait_for(lambda: not self.windrow.windows(), "every window is dropped", timeout_s=60)
        harness.wait_for(lambda: not self.files(), "the files of dropped windows go, in the background")


if __name__ == "__main__":
    harness.main()
