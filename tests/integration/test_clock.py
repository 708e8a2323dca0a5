"""The safe clock of the running program: neither a leap, a restart nor a reload moves it too far; only an operator does."""

import json
import os
import signal
import struct
import sys
import time
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
import harness
from kafka_client import Sender
from servers import Kafka
from service import COLLECTION, DEAD_LETTERS, TOPIC, Windrow

DIM = 16
MINUTE_MS = 60_000
DAY_MS = 24 * 60 * MINUTE_MS
MARKER = "CLOCK_STANDS"


class WindrowAt(Windrow):
    """`windrow run` whose wall clock differs from the machine's by a number of days."""

    def __init__(self, kafka, **options):
        super().__init__(kafka, **options)
        self.clock_path = os.path.join(self.folder, "wall-clock")
        self.ahead_ms = 0
        self.set_clock(0)

    def set_clock(self, days):
        self.ahead_ms = days * DAY_MS
        with open(self.clock_path, "r+b" if os.path.exists(self.clock_path) else "wb") as file:
            file.write(struct.pack("<q", self.ahead_ms))

    def wall_ms(self):
        return int(time.time() * 1000) + self.ahead_ms

    def spawn_run(self, *arguments):
        self.spawn([os.environ["WINDROW_AT"], self.clock_path, "run", "-c", self.config_path, *arguments])

    def restart(self, *arguments):
        self.stop()
        return self.start(*arguments)

    def status(self):
        return self.request("GET", "/status").json()

    def clock(self):
        return self.status()["clock"]

    def marked(self):
        return os.path.exists(os.path.join(self.folder, "data", MARKER))

    def reload(self):
        before = len(self.log())
        self.process.send_signal(signal.SIGHUP)
        harness.wait_for(lambda: "reloaded" in self.log()[before:], "the reload is logged", 10)

    def trust(self):
        return self.command("trust-clock").stdout

    def ids(self):
        return set(self.scroll(with_vector=False))


class Clock(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        # Producers live in the time of the wall clock that a test sets.
        cls.kafka = Kafka(f"log.message.timestamp.after.max.ms={2**62}").start()

    @classmethod
    def tearDownClass(cls):
        cls.kafka.stop()

    def setUp(self):
        self.topic = f"{TOPIC}-{self._testMethodName}"
        self.windrow = WindrowAt(self.kafka.address, topics=[self.topic], group=self._testMethodName, window="1d", ttl="7d")
        self.windrow.create_topic(1)
        self.windrow.start()
        self.produced = 0

    def tearDown(self):
        self.windrow.stop()

    def produce(self, *numbers, time_ms=None, written_ms=None):
        time_ms = time_ms or self.windrow.wall_ms()
        written_ms = written_ms or self.windrow.wall_ms()
        values = [{"id": n, "vector": [float(n)] * DIM, "payload": {}, "time_ms": time_ms} for n in numbers]
        records = [(str(value["id"]), json.dumps(value)) for value in values]
        Sender(self.kafka.address).send(self.topic, records, timestamp_ms=written_ms)
        self.produced += len(numbers)

    def catch_up(self):
        self.windrow.wait_caught_up({"0": self.produced})

    def wait_stands(self, stands):
        harness.wait_for(lambda: self.windrow.clock()["stands"] == stands, f"the clock is frozen: {stands}", 20)
        harness.wait_for(lambda: self.windrow.marked() == stands, f"{MARKER} is there: {stands}", 20)
        harness.wait_for(lambda: list(self.windrow.metrics("windrow_clock_stands").values()) == [float(stands)], "a metric says so", 20)

    def wait_waiting(self, offset):
        def waiting():
            shards = self.windrow.status()["collections"][0]["shards"]
            return shards[0] if shards and shards[0]["waiting"] and shards[0]["paused"] else None

        shard = harness.wait_for(waiting, "the partition waits for the clock", 20)
        self.assertIn(f"offset {offset} ", shard["waiting"])
        self.assertEqual(shard["next_offset"], offset)
        self.assertIn(f"held: {shard['topic']} [0]: {shard['waiting'][:40]}", self.windrow.request("GET", "/readyz").body.decode())
        gauges = self.windrow.metrics("windrow_partition_waiting")
        self.assertEqual({labels for labels, value in gauges.items() if value},
                         {frozenset({f'collection="{COLLECTION}"', 'shard="0"', 'reason="clock"'})})

    def test_a_start_long_after_the_last_one_does_not_confirm_the_clock(self):
        self.produce(1, 2, 3)
        self.catch_up()
        stopped_ms = self.windrow.wall_ms()
        self.windrow.stop()
        self.windrow.set_clock(10)  # all has expired, if that is true
        self.windrow.start()
        self.wait_stands(True)
        clock = self.windrow.clock()
        self.assertLess(abs(clock["safe_ms"] - stopped_ms), MINUTE_MS)
        self.assertLess(abs(clock["wall_ms"] - self.windrow.wall_ms()), MINUTE_MS)
        self.assertIn("windrow trust-clock", clock["advice"])
        self.assertIn(clock["advice"].split(" at ")[0], self.windrow.command("status").stdout)
        harness.wait_for(lambda: "clock frozen at" in self.windrow.log(), "the log says so", 10)
        self.assertEqual(self.windrow.ids(), {1, 2, 3})

        # Time goes on: a record of now by that clock is taken, one of the wall clock waits, and so do all behind it.
        frozen_ms = self.windrow.clock()["safe_ms"]
        self.produce(4, time_ms=frozen_ms, written_ms=frozen_ms)
        self.catch_up()
        self.produce(5)
        self.produce(6, time_ms=self.windrow.wall_ms() + 60 * MINUTE_MS)
        self.produce(7, time_ms=self.windrow.clock()["safe_ms"])
        self.wait_waiting(offset=4)
        self.assertGreater(self.windrow.clock()["safe_ms"], clock["safe_ms"])
        self.assertTrue(self.windrow.ready(), "stored records are answered for")
        self.assertEqual(self.windrow.ids(), {1, 2, 3, 4})

        # Neither the next start nor a reload confirms the clock.
        self.windrow.restart()
        self.wait_stands(True)
        self.wait_waiting(offset=4)
        self.windrow.reload()
        self.wait_stands(True)
        self.assertEqual(self.windrow.ids(), {1, 2, 3, 4})
        self.assertEqual(sum(self.windrow.metrics("windrow_dead_letters_total").values()), 0)

        # Once an operator trusts the system clock, old records expire, waiting ones are stored, and only a record ahead of both
        # clocks becomes a dead letter.
        said = self.windrow.trust()
        self.assertRegex(said, r"^the clock was frozen at \S+ and is now \S+$")
        self.assertIn("an operator trusts the system clock: the clock goes from ", self.windrow.log())
        self.assertIn("was not frozen", self.windrow.trust())
        self.wait_stands(False)
        self.catch_up()
        self.assertEqual(self.windrow.ids(), {5})
        self.assertEqual(self.windrow.outcomes(), {"ingested": 1, "expired": 1, 'reason="future"': 1})
        self.assertEqual(sum(self.windrow.metrics("windrow_partition_waiting").values()), 0)
        self.assertFalse(self.windrow.status()["collections"][0]["shards"][0]["paused"])

    def test_an_outage_needs_no_operator_and_a_leap_needs_one_even_after_a_restart(self):
        self.produce(1)
        self.catch_up()
        self.windrow.stop()
        self.windrow.set_clock(3)
        self.windrow.start()
        self.produce(2)
        self.catch_up()
        self.wait_stands(False)
        self.windrow.set_clock(5)  # less than an outage may last, more than a running process follows
        self.wait_stands(True)
        self.produce(3)
        self.wait_waiting(offset=2)
        self.windrow.restart()
        self.wait_stands(True)
        self.wait_waiting(offset=2)
        self.windrow.restart("--trust-clock")
        self.wait_stands(False)
        self.catch_up()
        self.assertEqual(self.windrow.ids(), {1, 2, 3})

    def test_a_clock_that_is_set_right_is_followed_again(self):
        self.produce(1)
        self.catch_up()
        self.windrow.set_clock(400)
        self.wait_stands(True)
        self.produce(2)  # of 400 days ahead: right by the wall clock, for now
        self.wait_waiting(offset=1)
        self.windrow.set_clock(0)
        self.wait_stands(False)
        self.produce(3)
        self.catch_up()
        self.assertEqual(self.windrow.ids(), {1, 3})
        self.assertEqual(self.windrow.outcomes(), {"ingested": 2, 'reason="future"': 1})
        self.assertIn("future", str(self.kafka.consume(DEAD_LETTERS)))


if __name__ == "__main__":
    harness.main()
