"""A stop ends whatever Kafka does, and nothing that was acknowledged is lost by it."""

import json
import os
import signal
import subprocess
import sys
import time
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
import harness
import kafka_client
from servers import Kafka
from service import COLLECTION, TOPIC, Windrow

DIM = 16
ROWS = 50
STOP_S = 60


def records():
    now_ms = int(time.time() * 1000)
    for number in range(1, ROWS + 1):
        yield str(number), json.dumps({"id": number, "vector": [number / ROWS] * DIM, "payload": {}, "time_ms": now_ms})


class Stop(unittest.TestCase):
    def setUp(self):
        self.kafka = Kafka().start()
        self.addCleanup(self.kafka.stop)
        self.windrow = Windrow(self.kafka.address)
        self.addCleanup(self.windrow.kill)
        self.windrow.create_topic(1)
        self.windrow.start()
        self.kafka.produce(TOPIC, records())
        self.windrow.wait_caught_up({"0": ROWS})
        kafka_client.Operator(self.kafka.address).delete_topic(TOPIC)
        harness.wait_for(lambda: not self.windrow.ready(), "the topic is missed")

    def wait_end(self):
        try:
            return self.windrow.process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self.fail(f"the process did not end:\n{self.windrow.log()[-3000:]}")

    def check_rows(self):
        """What was stored is there. Without the broker: what becomes of a shard whose topic is gone is another matter.
        The endpoint answers before the shards are open."""
        self.kafka.stop()
        self.windrow.start()
        harness.wait_for(self.every_row, "every row is there")

    def every_row(self):
        reply = self.windrow.request("POST", f"/collections/{COLLECTION}/points/scroll", {"limit": 2 * ROWS}).json()
        found = {point["id"] for point in reply["result"]["points"]} == set(range(1, ROWS + 1))
        self.assertTrue(found or reply["windrow"]["partial"], reply)
        return found

    def test_stop_after_the_topic_was_deleted_ends_and_says_how(self):
        self.windrow.process.send_signal(signal.SIGTERM)
        code = self.wait_end()
        self.assertEqual(code, 1 if "left behind" in self.windrow.log() else 0, self.windrow.log()[-3000:])
        self.check_rows()
        # The next one, and so this test, need not wait for the client.
        self.windrow.process.send_signal(signal.SIGTERM)
        self.wait_end()

    def test_second_signal_ends_the_process_at_once(self):
        """Of two kinds, so that they do not become one."""
        self.windrow.process.send_signal(signal.SIGTERM)
        self.windrow.process.send_signal(signal.SIGINT)
        code = self.wait_end()
        log = self.windrow.log()
        self.assertEqual(code, 1, log[-3000:])
        self.assertIn("ending at once on a second signal", log)
        self.check_rows()


if __name__ == "__main__":
    harness.main()
