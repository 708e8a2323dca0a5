"""Descriptors are for files first: connections that cost their sender nothing take none from the store."""

import json
import os
import socket
import sys
import time
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
import harness
from servers import Kafka
from service import TOPIC, Windrow

DIM = 16
ROWS = 50
LIMIT = 256


class Limited(Windrow):
    """With limits of the shell's `ulimit`."""

    def __init__(self, kafka, limits):
        super().__init__(kafka)
        self.limits = limits

    def spawn(self, command):
        super().spawn(["sh", "-c", f'{self.limits} && exec "$@"', "sh", *command])

    def metric(self, name):
        return self.metrics(name)[frozenset()]


def records():
    now_ms = int(time.time() * 1000)
    for number in range(1, ROWS + 1):
        yield str(number), json.dumps({"id": number, "vector": [number / ROWS] * DIM, "payload": {}, "time_ms": now_ms})


class Descriptors(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.kafka = Kafka().start()
        cls.addClassCleanup(cls.kafka.stop)

    def start(self, limits):
        windrow = Limited(self.kafka.address, limits)
        self.addCleanup(windrow.stop)
        windrow.create_topic(1)
        return windrow.start()

    def test_idle_connections_leave_the_store_its_files(self):
        windrow = self.start(f"ulimit -n {LIMIT}")
        idle = []
        for _ in range(2 * LIMIT):
            connection = socket.socket()
            self.addCleanup(connection.close)
            connection.connect(("127.0.0.1", windrow.port))
            idle.append(connection)
        # The first record opens the first log file.
        self.kafka.produce(TOPIC, records())
        windrow.wait_caught_up({"0": ROWS})
        self.assertEqual(windrow.metric("process_max_fds"), LIMIT)
        self.assertLess(windrow.metric("process_open_fds"), LIMIT)
        self.assertEqual(set(windrow.scroll()), set(range(1, ROWS + 1)))
        self.assertNotIn("shard_stopped", windrow.log())

    def test_soft_limit_becomes_the_hard_one(self):
        windrow = self.start(f"ulimit -Sn {LIMIT} && ulimit -Hn {4 * LIMIT}")
        self.assertEqual(windrow.metric("process_max_fds"), 4 * LIMIT)


if __name__ == "__main__":
    harness.main()
