"""100,000 requests of many kinds, right ones and wrong ones, leave the process as large as the first ten thousand did."""

import http.client
import json
import os
import sys
import threading
import time
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
import harness
from servers import Kafka
from service import COLLECTION, TOPIC, Windrow

DIM = 16
ROWS = 200
CLIENTS = 8
WARM_UP = 10_000
REQUESTS = 100_000
# Nothing that grows with requests fits into this: it is 80 bytes a request.
GROWTH_MAX_BYTES = 8 << 20
POINTS = f"/collections/{COLLECTION}/points"


def kinds(number):
    vector = [(number * 7919 + place) % 97 / 97 for place in range(DIM)]
    yield "POST", f"{POINTS}/query", json.dumps({"query": vector, "limit": 10, "with_payload": True}), 200
    yield "POST", f"{POINTS}/query", json.dumps({"query": vector, "filter": {"must": [{"key": "n", "range": {"gte": number % ROWS}}]}}), 200
    yield "POST", f"{POINTS}/scroll", json.dumps({"limit": 20, "offset": number % ROWS}), 200
    yield "GET", f"{POINTS}/{number % ROWS + 1}", None, 200
    yield "POST", f"{POINTS}/query", f'{{"query": [{number}', 400
    yield "GET", f"/collections/unknown-{number}", None, 404
    yield "GET", f"/no/route/{number}", None, 404
    yield "POST", f"{POINTS}/count", json.dumps({"filter": {"must": [{"key": f"field-{number}", "match": {"value": number}}]}}), 200


class Memory(unittest.TestCase):
    def setUp(self):
        if harness.is_sanitized():
            self.skipTest("sanitizers keep what was freed")
        kafka = Kafka().start()
        self.addCleanup(kafka.stop)
        self.windrow = Windrow(kafka.address)
        self.addCleanup(self.windrow.stop)
        self.windrow.create_topic(1)
        self.windrow.start()
        now_ms = int(time.time() * 1000)
        values = [{"id": n, "vector": [n / ROWS] * DIM, "payload": {"n": n}, "time_ms": now_ms} for n in range(1, ROWS + 1)]
        kafka.produce(TOPIC, [(str(value["id"]), json.dumps(value)) for value in values])
        self.windrow.wait_caught_up({"0": ROWS})

    def client(self, first, count, wrong):
        connection = http.client.HTTPConnection("127.0.0.1", self.windrow.port, timeout=60)
        number = first
        while count > 0:
            for method, path, body, status in kinds(number):
                connection.request(method, path, body, {"Content-Type": "application/json"})
                reply = connection.getresponse()
                text = reply.read()
                if reply.status != status:
                    wrong.append((method, path, body, reply.status, text[:300]))
                count -= 1
            number += CLIENTS
        connection.close()

    def ask(self, count):
        wrong = []
        threads = [threading.Thread(target=self.client, args=(first, count // CLIENTS, wrong)) for first in range(CLIENTS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(wrong[:3], [])
        return sum(self.windrow.metrics("process_resident_memory_bytes").values())

    def test_requests_leave_memory_flat(self):
        before = self.ask(WARM_UP)
        after = self.ask(REQUESTS)
        self.assertLess(after - before, GROWTH_MAX_BYTES, f"{before / (1 << 20):.1f} MiB before, {after / (1 << 20):.1f} MiB after")


if __name__ == "__main__":
    harness.main()
