"""wait=true says what became of each point: searchable, or why not."""

import os
import sys
import time
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
import harness
from servers import Kafka
from service import COLLECTION, MS_PER_HOUR, Windrow

DIM = 4
DAYS_MS = 24 * MS_PER_HOUR
POINTS = f"/collections/{COLLECTION}/points"


class WriteOutcomes(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.kafka = Kafka().start()

    @classmethod
    def tearDownClass(cls):
        cls.kafka.stop()

    def service(self, policy):
        windrow = Windrow(self.kafka.address, dim=DIM, topics=[f"outcomes-{policy}"], late={"allowed": "1m", "policy": policy})
        windrow.start()
        self.addCleanup(windrow.stop)
        windrow.create_topic(1)
        harness.wait_for(windrow.ready, "windrow is ready")
        return windrow

    def write(self, windrow, ages_ms, wait="true"):
        """Points 0, 1, ... whose event times lie so far back."""
        now_ms = int(time.time() * 1000)
        points = [{"id": n, "vector": [1, n, 2, 3], "payload": {"time_ms": now_ms - age_ms}} for n, age_ms in enumerate(ages_ms)]
        return windrow.request("PUT", f"{POINTS}?wait={wait}", {"points": points})

    def assert_refused(self, reply, *words):
        self.assertEqual(reply.status, 400, reply.body)
        for word in words:
            self.assertIn(word, reply.json()["status"]["error"])

    def test_accepted_late_points_are_completed(self):
        windrow = self.service("accept")
        self.assertEqual(self.write(windrow, [0]).json()["result"]["status"], "completed")
        self.assertEqual(self.write(windrow, [0, 3 * MS_PER_HOUR]).json()["result"]["status"], "completed")
        self.assertEqual(windrow.post("/points/count", {})["count"], 2)

    def test_each_refusal_is_told_with_its_reason(self):
        for policy, late in (("drop", "late records are dropped (late_dropped)"), ("dead_letter", "is a dead letter (late)")):
            with self.subTest(policy=policy):
                windrow = self.service(policy)
                self.assertEqual(self.write(windrow, [0]).json()["result"]["status"], "completed")
                self.assert_refused(self.write(windrow, [8 * DAYS_MS]), "1 of 1 points", "The first is 0", "older than the TTL (expired)")
                self.assert_refused(self.write(windrow, [-MS_PER_HOUR]), "max_future")  # before it is sent
                self.assert_refused(self.write(windrow, [0, 0, 3 * MS_PER_HOUR, 9 * DAYS_MS]), "2 of 4 points", "The first is 2", late)
                # The others are in, and those that were refused changed nothing.
                self.assertEqual(sorted(windrow.scroll()), [0, 1])
                self.assertEqual(self.write(windrow, [9 * DAYS_MS], wait="false").json()["result"]["status"], "acknowledged")
                operations = [{"upsert": {"points": [{"id": 7, "vector": [1, 2, 3, 4], "payload": {"time_ms": 1}}]}}, {"delete": {"points": [0]}}]
                self.assert_refused(windrow.request("POST", f"{POINTS}/batch?wait=true", {"operations": operations}), "The first is 7")
                self.assertEqual(windrow.post("/points/delete?wait=true", {"points": [0, 99]})["status"], "completed")


if __name__ == "__main__":
    harness.main()
