"""The byte cap of a collection with windows: the oldest whole window goes, and when only open ones are left, reading pauses and says so."""

import json
import os
import sys
import time
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
import harness
from servers import Kafka
from service import MS_PER_HOUR, TOPIC, Windrow

DIM = 16
PAYLOAD = "x" * 2000  # does not matter to codecs: each is salted
ROWS = 1500


class ByteCap(unittest.TestCase):
    def setUp(self):
        self.kafka = Kafka().start()
        self.addCleanup(self.kafka.stop)
        self.windrow = Windrow(
            self.kafka.address, store={"memtable_max_bytes": "1MiB"}, window="1h", ttl="7d", max_bytes="24MiB",
            idle_timeout="1h", late={"allowed": "0s", "policy": "accept"},
        )
        self.addCleanup(self.windrow.stop)
        self.windrow.create_topic(1)
        self.windrow.start()
        self.start_ms = (int(time.time() * 1000) // MS_PER_HOUR - 20) * MS_PER_HOUR
        self.end = 0
        self.random = harness.seeded_random()

    def produce(self, hour, count=ROWS):
        records = []
        for number in range(self.end, self.end + count):
            salt = self.random.randbytes(len(PAYLOAD) // 2).hex()
            value = {"id": number, "vector": [float(number)] * DIM, "payload": {"salt": salt}, "time_ms": self.start_ms + hour * MS_PER_HOUR}
            records.append((str(number), json.dumps(value)))
        self.kafka.produce(TOPIC, records)
        self.end += count

    def drops(self):
        return {cause: sum(value for labels, value in self.windrow.metrics("windrow_window_drops_total").items() if f'cause="{cause}"' in labels)
                for cause in ("fifo", "ttl")}

    def shard(self):
        return self.windrow.request("GET", "/status").json()["collections"][0]["shards"][0]

    def test_oldest_window_goes_and_then_reading_pauses(self):
        # About three MiB an hour: some ten windows are too many for 24 MiB, and all but the last may go.
        for hour in range(12):
            self.produce(hour)
            self.windrow.wait_caught_up({"0": self.end})
        harness.wait_for(lambda: self.drops()["fifo"] >= 1, "the cap dropped a window", 60)
        harness.wait_for(lambda: self.shard()["total_bytes"] <= 24 << 20, "the cap holds", 60)
        starts = [window["start_ms"] for window in self.windrow.windows()]
        dropped = int(self.drops()["fifo"])
        self.assertEqual(starts, [self.start_ms + hour * MS_PER_HOUR for hour in range(dropped, 12)], "the oldest went, none between")
        self.assertEqual(self.drops()["ttl"], 0)
        self.assertIn("dropping its oldest window", self.windrow.log())

        # All into the open window: the sealed ones go, it alone is over the cap, and reading waits.
        for _ in range(10):
            self.produce(12, count=2 * ROWS)
        waiting = harness.wait_for(lambda: self.shard()["waiting"], "the partition says that it waits", 60)
        self.assertIn("exceeds max_bytes", waiting)
        harness.wait_for(lambda: self.shard()["paused"], "the partition is paused", 30)
        harness.wait_for(lambda: [w["state"] for w in self.windrow.windows()] == ["open"], "only the open window is left", 30)
        self.assertLess(self.shard()["next_offset"], self.end)
        gauges = {labels for labels, value in self.windrow.metrics("windrow_partition_waiting").items() if value}
        self.assertEqual({label for labels in gauges for label in labels if label.startswith("reason")}, {'reason="store"'})
        self.assertIn("WAITS", self.windrow.command("status").stdout)
        self.assertEqual(len(self.windrow.scroll(with_vector=False)), self.shard()["next_offset"] - 12 * ROWS, "nothing of the open window is lost")

        # A larger cap after a restart: it goes on.
        self.windrow.stop()
        self.windrow.tree["collections"]["points"]["max_bytes"] = "1GiB"
        self.windrow.configure(self.windrow.tree)
        self.windrow.start()
        self.windrow.wait_caught_up({"0": self.end})
        self.assertEqual(len(self.windrow.scroll(with_vector=False)), self.end - 12 * ROWS)
        self.assertIsNone(self.shard()["waiting"])


if __name__ == "__main__":
    harness.main()
