"""What a person on call reads: levels of the log at run time, events with names, slow searches that say where the time went."""

import json
import os
import sys
import time
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
import harness
from servers import Kafka
from service import COLLECTION, TOPIC, Windrow

DIM = 16
ROWS = 3000
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


def records():
    time_ms = int(time.time() * 1000)
    for number in range(ROWS):
        vector = [((number * 7919 + place * 104729) % 1000) / 1000 for place in range(DIM)]
        yield str(number), json.dumps({"id": number, "vector": vector, "payload": {"n": number % 7}, "time_ms": time_ms})


class Telemetry(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.kafka = Kafka().start()
        cls.addClassCleanup(cls.kafka.stop)
        cls.windrow = Windrow(cls.kafka.address)
        cls.addClassCleanup(cls.windrow.stop)
        cls.configure()
        cls.windrow.create_topic(1)
        cls.windrow.start()
        cls.kafka.produce(TOPIC, records())
        cls.windrow.wait_caught_up(cls.kafka.end_offsets(TOPIC, 1))

    @classmethod
    def configure(cls, **log):
        cls.windrow.configure({**cls.windrow.tree, "log": {"format": "json", "slow_search": "1ms", "levels": ["ingest=debug"], **log}})

    def events(self, name):
        lines = [json.loads(line) for line in self.windrow.log().splitlines() if line.startswith("{")]
        return [line for line in lines if line.get("event") == name]

    def levels(self):
        return self.windrow.request("GET", "/log-level").json()["result"]

    def test_levels_of_rooms_change_while_it_runs(self):
        self.assertEqual(self.levels(), {"default": "info", "rooms": {"ingest": "debug"}})
        done = self.windrow.command("log-level", "store=debug")
        self.assertEqual((done.returncode, done.stdout), (0, "info\ningest=debug\nstore=debug\n"), done.stderr)
        self.assertEqual(self.windrow.command("log-level", "ingest=default").stdout, "info\nstore=debug\n")
        self.assertEqual(self.windrow.command("log-level", "warn").stdout, "warn\nstore=debug\n")
        self.assertEqual(self.windrow.command("log-level", "info").returncode, 0)
        wrong = self.windrow.command("log-level", "stor=debug")
        self.assertEqual(wrong.returncode, 1)
        self.assertIn("rooms: audit, ", wrong.stderr)
        self.assertEqual([event["message"] for event in self.events("log_level_set")][:2], ["log level set: store=debug", "log level set: ingest=default"])
        self.configure(levels=["http=error"])
        self.windrow.process.send_signal(1)
        harness.wait_for(lambda: self.events("reloaded"), "the reload is logged")
        self.assertEqual(self.levels(), {"default": "info", "rooms": {"http": "error"}})
        self.assertIn("the reload applies the changed log.levels ([ingest=debug] -> [http=error])", [event["message"] for event in self.events("config_changed")])

    def test_slow_searches_say_where_the_time_went(self):
        query = {"query": {"nearest": [0.5] * DIM, "mmr": {"diversity": 0.5, "candidates_limit": 2000}}, "limit": 500,
                 "filter": {"must": [{"key": "n", "range": {"lt": 6}}]}}
        path = f"/collections/{COLLECTION}/points/query"

        def logged():
            reply = self.windrow.request("POST", path, query, headers={"traceparent": f"00-{TRACE}-00f067aa0ba902b7-01"})
            self.assertEqual(reply.status, 200, reply.body[:300])
            return [event for event in self.events("slow_search") if event["trace_id"] == TRACE]

        event = harness.wait_for(logged, "the slow search is logged", 30)[0]
        self.assertEqual((event["level"], event["room"], event["trace_id"]), ("warn", "query", TRACE))
        self.assertRegex(event["message"], rf"^slow search of {COLLECTION}: \d+\.\d{{3}} s, begun \d+\.\d{{3}} s after its request was complete; "
                                           r"limit \d+, ef \d+, with a filter; \d+ windows searched, \d+ pruned; (memtable|chunk|run|hnsw): \d+ with \d+ rows, \d+\.\d{3} s")

    def test_many_slow_searches_are_one_line_that_counts(self):
        query = {"query": {"nearest": [0.25] * DIM, "mmr": {"diversity": 0.5, "candidates_limit": 1000}}, "limit": 300}

        def counted():
            for _ in range(5):
                self.windrow.post("/points/query", query)
            return [event for event in self.events("slow_search") if "more since the last line)" in event["message"]]

        harness.wait_for(counted, "a line counts those that were swallowed", 30)

    def test_events_keep_their_names(self):
        self.assertEqual({event["room"] for event in self.events("partition_assigned")}, {"ingest"})


if __name__ == "__main__":
    harness.main()
