"""A backup of the running service, and of one that is stopped; what is restored answers as before and reads on."""

import glob
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
import harness
from kafka_client import Operator
from servers import Kafka
from service import COLLECTION, TOPIC, Windrow

DONE, FAILED = 0, 1
DIM = 16
PARTITIONS = 2
HOUR_MS = 3_600_000


class Backup(unittest.TestCase):
    def setUp(self):
        self.kafka = Kafka().start()
        self.addCleanup(self.kafka.stop)
        self.windrow = Windrow(self.kafka.address, window="1h", ttl="1d", idle_timeout="1h")
        self.addCleanup(self.windrow.stop)
        self.windrow.create_topic(PARTITIONS)
        self.windrow.start()
        self.now_ms = int(time.time() * 1000)
        self.data = os.path.join(self.windrow.folder, "data")
        self.operator = Operator(self.kafka.address)
        self.model, self.count, self.end = {}, 0, {}

    def produce(self, count):
        records = []
        for number in range(self.count, self.count + count):
            ident = number % 700
            vector = [float((number * (place + 3)) % 31) for place in range(DIM)]
            time_ms = self.now_ms - (1 + number % 4) * HOUR_MS
            value = {"id": ident, "vector": vector, "payload": {"n": number}, "time_ms": time_ms}
            records.append((str(ident), json.dumps(value)))
            self.model[ident] = {"n": number}
        self.kafka.produce(TOPIC, records)
        self.end = {str(partition): self.operator.end_offset(TOPIC, partition) for partition in range(PARTITIONS)}
        self.count += count
        self.windrow.wait_caught_up(self.end)

    def found(self):
        return {ident: point["payload"] for ident, point in self.windrow.scroll().items()}

    def place(self, name):
        return os.path.join(self.windrow.folder, name)

    def backup(self, name):
        done = self.windrow.command("backup", "--json", self.place(name))
        self.assertEqual(done.returncode, DONE, done.stderr + self.windrow.log()[-2000:])
        verified = self.windrow.command("verify", self.place(name))
        self.assertEqual(verified.returncode, DONE, verified.stdout + verified.stderr)
        return {shard["shard"]: shard for shard in json.loads(done.stdout)["result"]}

    def seal(self):
        for hours in range(1, 5):
            done = self.windrow.command("compact", "-C", COLLECTION, "--window", str(self.now_ms - hours * HOUR_MS))
            self.assertEqual(done.returncode, DONE, done.stderr)

    def start_and_open(self, offsets):
        """It answers before its shards are open: until all of them are, with what was restored."""

        def opened():
            found = self.windrow.search_reply({"limit": 1})["windrow"]["offsets"]
            return all(found.get(partition) == offset for partition, offset in offsets.items())

        self.windrow.start()
        harness.wait_for(opened, "all shards are open", 60)

    def restore(self, name):
        return self.windrow.command("restore", self.place(name))

    def test_backup_of_the_running_service_comes_back_and_reads_on(self):
        self.produce(3000)
        self.seal()
        self.produce(1000)
        before, at_backup = dict(self.model), dict(self.end)
        shards = self.backup("one")
        self.assertEqual({name: shard["next_offset"] for name, shard in shards.items()}, self.end)
        self.assertLess(sum(s["copied_bytes"] for s in shards.values()), sum(s["bytes"] for s in shards.values()))
        self.assertTrue(glob.glob(f"{self.place('one')}/{COLLECTION}/*/*.run"))
        self.produce(1500)
        self.seal()
        self.assertEqual(self.found(), self.model)

        self.assertEqual(self.windrow.command("backup", self.place("one")).returncode, FAILED)  # not empty
        self.windrow.stop()
        self.assertEqual(self.restore("one").returncode, FAILED)  # into a data folder that is not empty
        shutil.rmtree(self.data)
        done = self.restore("one")
        self.assertEqual(done.returncode, DONE, done.stderr)
        # Without Kafka the answers are those of the backup; with it, windrow reads on from there and no earlier.
        self.kafka.stop()
        self.start_and_open(at_backup)
        self.assertEqual(self.found(), before)
        self.kafka.start()
        self.windrow.wait_caught_up(self.end, timeout_s=90)
        self.assertEqual(self.found(), self.model)
        self.assertLessEqual(sum(self.windrow.outcomes().values()), 1500)

        self.windrow.stop()
        offline = self.backup("two")
        self.assertEqual({name: shard["next_offset"] for name, shard in offline.items()}, self.end)
        shutil.rmtree(self.data)
        self.assertEqual(self.restore("two").returncode, DONE)
        self.start_and_open(self.end)
        self.assertEqual(self.found(), self.model)

    def check_token(self):
        """A request does not make the service write where its sender may not."""
        for body, status in (
            ({"folder": self.place("x"), "token": "0" * 32}, 400),
            ({"folder": "x", "token": "0" * 32}, 400),
            ({"folder": self.place("x")}, 400),
            ({"folder": self.place("x"), "token": "", "more": 1}, 400),
        ):
            reply = self.windrow.request("POST", "/backup", body)
            self.assertEqual(reply.status, status, reply.body)
        self.assertFalse(os.path.exists(self.place("x")))

    def test_a_backup_that_was_killed_is_refused(self):
        self.produce(3000)
        self.check_token()
        # Three moments at least, and on a busy machine until one of them was in the middle.
        killed = 0
        for attempt in range(30):
            if attempt >= 3 and killed:
                break
            name = f"killed{attempt}"
            command = [harness.Environment.binary, "backup", "-c", self.windrow.config_path, self.place(name)]
            with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
                begun = os.path.join(self.place(name), "BACKUP.begun")
                harness.wait_for(lambda path=begun: os.path.exists(path) or process.poll() is not None, "it begins", 30, interval_s=0.001)
                time.sleep(0.004 * (attempt % 3))
                self.windrow.kill()
                process.send_signal(signal.SIGKILL)
            finished = os.path.exists(os.path.join(self.place(name), "BACKUP"))
            done = self.windrow.command("restore", "--to", self.place(f"restored{attempt}"), self.place(name))
            self.assertEqual(done.returncode, DONE if finished else FAILED, done.stderr)
            killed += not finished
            self.windrow.start()
            self.windrow.wait_caught_up(self.end)
            self.assertEqual(self.found(), self.model)
        self.assertGreater(killed, 0)


if __name__ == "__main__":
    harness.main()
