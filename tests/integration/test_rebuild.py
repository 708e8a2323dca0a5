"""A window read again from Kafka: the same answers, also when its files were damaged; refused when Kafka forgot."""

import glob
import json
import os
import sys
import time
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
import harness
from kafka_client import Operator
from servers import Kafka
from service import COLLECTION, TOPIC, Windrow

DONE, FAILED, USAGE = 0, 1, 64
DIM = 16
ROWS = 900
IDS = 500
HOUR_MS = 3_600_000
RETENTION_CHECKS = ("log.retention.check.interval.ms=500", "log.initial.task.delay.ms=500")


class Rebuild(unittest.TestCase):
    def setUp(self):
        self.kafka = Kafka(*RETENTION_CHECKS).start()
        self.addCleanup(self.kafka.stop)
        self.windrow = Windrow(self.kafka.address, window="1h", ttl=None, idle_timeout="1h")
        self.addCleanup(self.windrow.stop)
        self.windrow.create_topic(1)
        self.windrow.start()
        self.now_ms = int(time.time() * 1000)
        self.times = [self.now_ms - 4 * HOUR_MS, self.now_ms - 2 * HOUR_MS]
        self.model, self.end = {}, 0

    def produce(self, count):
        """Ids come again, in the same window or the other one; every seventh message is a delete."""
        records = []
        for number in range(self.end, self.end + count):
            ident = number * 7 % IDS
            if number % 7 == 3:
                records.append((str(ident), None))
                self.model.pop(ident, None)
                continue
            vector = [float((number * (place + 3)) % 31) for place in range(DIM)]
            value = {"id": ident, "vector": vector, "payload": {"n": number}, "time_ms": self.times[number // 3 % 2]}
            records.append((str(ident), json.dumps(value)))
            self.model[ident] = {"payload": value["payload"], "vector": vector}
        self.kafka.produce(TOPIC, records)
        self.end += count
        self.windrow.wait_caught_up({"0": self.end})

    def found(self):
        points = self.windrow.scroll()
        return {ident: {"payload": point["payload"], "vector": point["vector"]} for ident, point in points.items()}

    def rebuild(self, *arguments):
        return self.windrow.command("rebuild", "-C", COLLECTION, *arguments)

    def rebuild_all(self):
        for time_ms in self.times:
            done = self.rebuild("--window", str(time_ms), "--json")
            self.assertEqual(done.returncode, DONE, done.stderr + self.windrow.log()[-2000:])
            self.assertEqual([window["action"] for window in json.loads(done.stdout)["result"]], ["rebuild"])
            self.assertEqual(self.found(), self.model)

    def damage(self):
        """A byte of each sealed window's index; the service is down."""
        runs = glob.glob(f"{self.windrow.folder}/data/collections.d/{COLLECTION}/*-0/*.run")
        for path in runs:
            with open(path, "r+b") as file:
                file.seek(-100, os.SEEK_END)
                byte = file.read(1)[0] ^ 0x40
                file.seek(-100, os.SEEK_END)
                file.write(bytes([byte]))
        return len(runs)

    def test_rebuild_gives_identical_answers_and_mends_damage(self):
        self.produce(ROWS)
        self.assertEqual(self.found(), self.model)
        for time_ms in self.times:
            done = self.windrow.command("compact", "-C", COLLECTION, "--window", str(time_ms))
            self.assertEqual(done.returncode, DONE, done.stderr)
        self.rebuild_all()
        self.produce(ROWS // 3)
        self.rebuild_all()

        self.windrow.stop()
        self.assertEqual(self.damage(), 2)
        self.windrow.start()
        self.windrow.wait_caught_up({"0": self.end})
        self.assertEqual(self.found(), {})
        self.assertIn("DAMAGED", self.windrow.command("status").stdout)
        self.produce(ROWS // 3)
        for time_ms in self.times:
            done = self.rebuild("--window", str(time_ms))
            self.assertEqual(done.returncode, DONE, done.stderr)
        self.assertEqual(self.found(), self.model)
        self.assertNotIn("DAMAGED", self.windrow.command("status").stdout)
        self.windrow.stop()
        verified = self.windrow.command("verify")
        self.assertEqual(verified.returncode, DONE, verified.stdout)

    def test_rebuild_is_refused_when_kafka_forgot(self):
        operator = Operator(self.kafka.address)
        operator.configure_topic(TOPIC, segment_bytes=1 << 20)
        self.produce(ROWS)
        filler = json.dumps({"id": "filler", "vector": [0.0] * DIM, "payload": {"text": "x" * 20_000}, "time_ms": self.now_ms})
        self.kafka.produce(TOPIC, [("filler", filler)] * 200)
        self.model["filler"] = None
        self.end += 200
        self.windrow.wait_caught_up({"0": self.end})
        operator.configure_topic(TOPIC, retention_bytes=1)
        harness.wait_for(lambda: operator.begin_offset(TOPIC, 0) >= ROWS // 2, "retention has passed", 60)
        operator.configure_topic(TOPIC, retention_bytes=-1)
        before = self.found()
        done = self.rebuild("--window", str(self.times[0]))
        self.assertEqual(done.returncode, FAILED)
        self.assertRegex(done.stderr, rf"offset \d+ is needed, but Kafka begins at {operator.begin_offset(TOPIC, 0)}")
        self.assertEqual(self.found(), before)
        for arguments, status, text in (
            (("--window", "2001-01-01"), FAILED, "no window that contains 2001-01-01"),
            ((), USAGE, "name a window with --window TIME"),
        ):
            done = self.rebuild(*arguments)
            self.assertEqual(done.returncode, status)
            self.assertIn(text, done.stderr)
        self.produce(10)  # ingestion goes on after a refusal


if __name__ == "__main__":
    harness.main()
