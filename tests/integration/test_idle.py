"""A process that has nothing to do does nothing: with ten shards open it wakes up a few times a second and takes next to
no processor time. Prints who wakes up, by the names of its threads."""

import json
import os
import sys
import time
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
import harness
from servers import Kafka, Nats
from service import TOPIC, Windrow

DIM = 16
SHARDS = 10
ROWS = 2_000
MEASURED_S = 10
# What windrow's own threads may do together. librdkafka's wake up for their heartbeats and fetches.
WAKE_UPS_A_SECOND = 60
PROCESSOR_SHARE = 0.005
LIBRARY_THREADS = ("rdk:",)


def records():
    time_ms = int(time.time() * 1000)
    for number in range(ROWS):
        vector = [((number * 7919 + place * 104729) % 1000) / 1000 for place in range(DIM)]
        yield str(number), json.dumps({"id": number, "vector": vector, "time_ms": time_ms})


def read(path):
    with open(path, encoding="utf-8") as file:
        return file.read()


class Idle(unittest.TestCase):
    def start(self, nats=None):
        kafka = Kafka().start()
        self.addCleanup(kafka.stop)
        self.windrow = Windrow(kafka.address, nats)
        self.addCleanup(self.windrow.stop)
        self.windrow.create_topic(SHARDS)
        self.windrow.start()
        kafka.produce(TOPIC, records())
        self.windrow.wait_caught_up(kafka.end_offsets(TOPIC, SHARDS))

    def threads(self):
        """{thread id: (name, wake-ups so far, processor time in ns)}; a wait that ended by itself is a wake-up."""
        found = {}
        folder = f"/proc/{self.windrow.process.pid}/task"
        for thread in os.listdir(folder):
            switches = next(line for line in read(f"{folder}/{thread}/status").splitlines() if line.startswith("voluntary"))
            processor_ns = int(read(f"{folder}/{thread}/schedstat").split()[0])
            found[thread] = (read(f"{folder}/{thread}/comm").strip(), int(switches.split()[1]), processor_ns)
        return found

    def measure(self):
        """Per name: [threads, wake-ups a second, share of a processor]."""
        before, begin = self.threads(), time.monotonic()
        time.sleep(MEASURED_S)  # what is measured, not a wait
        after, seconds = self.threads(), time.monotonic() - begin
        table = {}
        for thread, (name, wake_ups, processor_ns) in after.items():
            _, wake_ups_before, processor_ns_before = before.get(thread, (name, 0, 0))
            row = table.setdefault(name, [0, 0.0, 0.0])
            row[0] += 1
            row[1] += (wake_ups - wake_ups_before) / seconds
            row[2] += (processor_ns - processor_ns_before) / 1e9 / seconds
        return table

    def assert_idle(self):
        table = self.measure()
        print(f"\n{'thread':16} {'count':>5} {'wake-ups/s':>10} {'processor':>10}")
        for name, (count, wake_ups, share) in sorted(table.items(), key=lambda row: -row[1][1]):
            print(f"{name:16} {count:5} {wake_ups:10.1f} {share:10.3%}")
        own = [row for name, row in table.items() if not name.startswith(LIBRARY_THREADS)]
        wake_ups, share = sum(row[1] for row in own), sum(row[2] for row in own)
        print(f"{'own':16} {sum(row[0] for row in own):5} {wake_ups:10.1f} {share:10.3%}", flush=True)
        self.assertLess(wake_ups, WAKE_UPS_A_SECOND)
        self.assertLess(share, PROCESSOR_SHARE)

    def test_ten_shards_without_work_sleep(self):
        self.start()
        self.assert_idle()

    def test_ten_shards_with_a_queue_on_nats_sleep(self):
        nats = Nats().start()
        self.addCleanup(nats.stop)
        self.start(nats.url)
        self.assert_idle()


if __name__ == "__main__":
    harness.main()
