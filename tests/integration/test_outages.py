"""Servers that are missing, go away, come back or forget: windrow stays up, says so, and loses nothing."""

import json
import os
import sys
import time
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
import harness
from servers import Kafka, Nats
from service import MS_PER_HOUR, TOPIC, Windrow

DIM = 16
ROWS = 300


def records(first, count, time_ms):
    """COUNT records that differ, all at one time."""
    for number in range(first, first + count):
        vector = [((number * 7919 + place * 104729) % 1000) / 1000 for place in range(DIM)]
        value = {"id": number, "vector": vector, "payload": {"n": number}, "time_ms": time_ms}
        yield str(number), json.dumps(value)


def hours_ago(hours):
    return int(time.time() * 1000) - hours * MS_PER_HOUR


class Outages(unittest.TestCase):
    def setUp(self):
        self.kafka, self.nats, self.windrow = Kafka(), Nats(), None

    def tearDown(self):
        for server in (self.windrow, self.nats, self.kafka):
            if server:
                server.stop()

    def start_with_topic(self, *arguments, nats=None):
        self.kafka.start()
        self.windrow = Windrow(self.kafka.address, nats)
        self.windrow.create_topic(1)
        self.windrow.start(*arguments)

    def produce_old_window(self, first=1, hours=3):
        """One window that closes as soon as the shard has been idle, and a record that keeps the clock at now."""
        self.kafka.produce(TOPIC, records(first, ROWS, hours_ago(hours)))
        self.kafka.produce(TOPIC, records(first + ROWS, 1, hours_ago(0)))
        self.windrow.wait_caught_up(self.kafka.end_offsets(TOPIC, 1))

    def assert_stored(self, count):
        self.assertEqual(set(self.windrow.scroll()), set(range(1, count + 1)))

    def test_missing_broker_is_waited_for(self):
        self.windrow = Windrow(self.kafka.address)
        self.windrow.start()
        reply = self.windrow.request("GET", "/readyz")
        self.assertEqual(reply.status, 503)
        self.assertTrue(reply.body.strip(), "says why")
        harness.wait_for(lambda: self.kafka.address in self.windrow.log(), "the log names the broker that does not answer")
        self.assertTrue(self.windrow.alive(), self.windrow.log()[-2000:])
        self.assertEqual(self.windrow.request("GET", "/livez").status, 200)

        self.kafka.start()
        self.windrow.create_topic(1)
        self.kafka.produce(TOPIC, records(1, ROWS, hours_ago(0)))
        self.windrow.wait_caught_up({"0": ROWS}, timeout_s=90)
        self.assert_stored(ROWS)

    def test_missing_broker_does_not_keep_a_stop_waiting(self):
        self.windrow = Windrow(self.kafka.address)
        self.windrow.start()
        self.assertEqual(self.windrow.stop(timeout_s=30), 0, self.windrow.log()[-2000:])

    def test_broker_that_goes_away_and_comes_back(self):
        self.start_with_topic()
        self.kafka.produce(TOPIC, records(1, ROWS, hours_ago(0)))
        self.windrow.wait_caught_up({"0": ROWS})
        self.kafka.stop()
        # The session ends without an answer: the partition is lost, and nobody else has it.
        harness.wait_for(lambda: " lost at offset" in self.windrow.log(), "the session has ended")
        time.sleep(2)
        self.assertTrue(self.windrow.alive(), self.windrow.log()[-2000:])
        self.assertTrue(self.windrow.ready())
        self.assert_stored(ROWS)
        self.kafka.start()
        self.kafka.produce(TOPIC, records(ROWS + 1, ROWS, hours_ago(0)))
        self.windrow.wait_caught_up({"0": 2 * ROWS}, timeout_s=90)
        self.assert_stored(2 * ROWS)

    def test_missing_nats_only_delays_the_index(self):
        self.start_with_topic(nats=self.nats.url)
        self.produce_old_window()
        ready = self.windrow.request("GET", "/readyz")
        self.assertEqual((ready.status, ready.body.splitlines()[0]), (200, b"ready"))
        self.assertRegex(ready.body.decode(), r"(?m)^disconnected: NATS does not answer.*; index jobs wait$")
        harness.wait_for(lambda: sum(self.windrow.metrics("windrow_index_queue_connected").values()) == 0, "the metric says so")
        self.assert_stored(ROWS + 1)
        harness.wait_for(lambda: [w for w in self.windrow.windows() if w["state"] == "sealed"], "the window is sealed")
        self.assertEqual([w["segment"] for w in self.windrow.windows()], [None, None])
        self.nats.start()
        self.windrow.wait_indexed(1, timeout_s=90)
        self.assert_stored(ROWS + 1)
        self.assertEqual(self.windrow.request("GET", "/readyz").body, b"all shards are ready")
        harness.wait_for(lambda: sum(self.windrow.metrics("windrow_index_queue_connected").values()) == 1, "the metric says so")

    def test_lost_message_is_found_by_reconciliation(self):
        """The seal is published while nobody builds; then the queue forgets it."""
        self.nats.start()
        self.start_with_topic("--role", "ingest", nats=self.nats.url)
        self.produce_old_window()
        harness.wait_for(lambda: self.nats.messages() >= 1, "the seal waits in the queue")
        self.assertEqual(self.windrow.stop(), 0)
        self.nats.wipe()
        self.assertEqual(self.nats.messages(), 0)
        self.windrow.start()
        self.windrow.wait_indexed(1, timeout_s=90)
        self.assert_stored(ROWS + 1)

    def test_queue_that_waits_is_worked_off_after_a_restart(self):
        self.nats.start()
        self.start_with_topic("--role", "ingest", nats=self.nats.url)
        self.produce_old_window()
        harness.wait_for(lambda: self.nats.messages() >= 1, "the seal waits in the queue")
        self.assertEqual(self.windrow.stop(), 0)
        self.windrow.start()
        self.windrow.wait_indexed(1)
        harness.wait_for(lambda: self.nats.messages() == 0, "the message is acknowledged and gone")

    def test_sigterm_in_the_middle_of_a_stream_is_a_clean_stop(self):
        self.start_with_topic()
        self.kafka.produce(TOPIC, records(1, 20 * ROWS, hours_ago(0)))
        self.assertEqual(self.windrow.stop(), 0, self.windrow.log()[-2000:])
        self.windrow.start()
        self.windrow.wait_caught_up({"0": 20 * ROWS})
        self.assert_stored(20 * ROWS)


if __name__ == "__main__":
    harness.main()
