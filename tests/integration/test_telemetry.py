"""What a person on call reads: levels of the log at run time, events with names, slow searches that say where the time went,
traces that a receiver gets."""

import http.client
import http.server
import json
import os
import sys
import threading
import time
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
import harness
import service
from service import COLLECTION, TOPIC

DIM = 16
ROWS = 3000
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


def records():
    time_ms = int(time.time() * 1000)
    for number in range(ROWS):
        vector = [((number * 7919 + place * 104729) % 1000) / 1000 for place in range(DIM)]
        yield str(number), json.dumps({"id": number, "vector": vector, "payload": {"n": number % 7}, "time_ms": time_ms})


class Receiver:
    """Takes spans as an OTLP collector does; hangs while it is told to."""

    def __init__(self):
        receiver = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                receiver.open.wait()
                receiver.bodies.append((self.path, self.headers["Content-Type"], body))
                self.send_response(receiver.status)
                self.end_headers()

            def log_message(self, *_):
                pass

        self.bodies, self.status, self.open = [], 200, threading.Event()
        self.open.set()
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        self.thread.start()
        self.url = f"http://127.0.0.1:{self.server.server_port}/v1/traces"

    def stop(self):
        self.open.set()
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()

    def spans(self):
        return [span for _, _, body in list(self.bodies) for resource in body["resourceSpans"] for scope in resource["scopeSpans"] for span in scope["spans"]]


def parent(trace, sampled="01"):
    return {"traceparent": f"00-{trace}-00f067aa0ba902b7-{sampled}"}


class Telemetry(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.receiver = Receiver()
        cls.addClassCleanup(cls.receiver.stop)
        service.for_class(cls)
        cls.configure()
        cls.windrow.create_topic(1)
        cls.windrow.start()
        cls.kafka.produce(TOPIC, records())
        cls.windrow.wait_caught_up(cls.kafka.end_offsets(TOPIC, 1))

    @classmethod
    def configure(cls, **log):
        cls.windrow.configure({**cls.windrow.tree, "log": {"format": "json", "slow_search": "1ms", "levels": ["ingest=debug"], **log},
                               "trace": {"otlp_url": cls.receiver.url, "sample_ratio": 0}})

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
            reply = self.windrow.request("POST", path, query, headers=parent(TRACE))
            self.assertEqual(reply.status, 200, reply.body[:300])
            return [event for event in self.events("slow_search") if event["trace_id"] == TRACE]

        event = harness.wait_for(logged, "the slow search is logged", 30)[0]
        self.assertEqual((event["level"], event["room"], event["trace_id"]), ("warn", "query", TRACE))
        self.assertRegex(event["message"], rf"^slow search of {COLLECTION}: \d+\.\d{{3}} s, begun \d+\.\d{{3}} s after its request was complete; "
                                           r"limit \d+, ef \d+, with a filter; \d+ windows searched, \d+ pruned; (memtable|chunk|run|hnsw|ivf_pq): \d+ with \d+ rows, \d+\.\d{3} s")

    def test_many_slow_searches_are_one_line_that_counts(self):
        query = {"query": {"nearest": [0.25] * DIM, "mmr": {"diversity": 0.5, "candidates_limit": 1000}}, "limit": 300}

        def counted():
            for _ in range(5):
                self.windrow.post("/points/query", query)
            return [event for event in self.events("slow_search") if "more since the last line)" in event["message"]]

        harness.wait_for(counted, "a line counts those that were swallowed", 30)

    def test_events_keep_their_names(self):
        self.assertEqual({event["room"] for event in self.events("partition_assigned")}, {"ingest"})

    def spans_of(self, trace):
        return [span for span in self.receiver.spans() if span["traceId"] == trace]

    def outcomes(self):
        return {next(iter(labels)).split('"')[1]: value for labels, value in self.windrow.metrics("windrow_trace_spans_total").items()}

    def test_spans_of_a_request_reach_the_receiver(self):
        trace = "0123456789abcdef0123456789abcdef"
        query = {"query": [0.5] * DIM, "limit": 3}
        path = f"/collections/{COLLECTION}/points/query"
        self.assertEqual(self.windrow.request("POST", path, query, headers=parent("f" * 32, "00")).status, 200)
        before_ns = time.time_ns()
        self.assertEqual(self.windrow.request("POST", path, query, headers=parent(trace)).status, 200)
        self.assertEqual(self.windrow.request("POST", "/collections/none/points/query", query, headers=parent(trace)).status, 404)
        harness.wait_for(lambda: len(self.spans_of(trace)) >= 3, "the spans come", 30)
        search, served, refused = self.spans_of(trace)
        self.assertEqual([span["name"] for span in (search, served, refused)], ["search", "/collections/{}/points/query", "/collections/{}/points/query"])
        self.assertEqual((served["parentSpanId"], search["parentSpanId"]), ("00f067aa0ba902b7", served["spanId"]))
        self.assertEqual([span["kind"] for span in (search, served)], [1, 2])
        self.assertIn({"key": "http.response.status_code", "value": {"intValue": "404"}}, refused["attributes"])
        self.assertLess(int(served["startTimeUnixNano"]), int(served["endTimeUnixNano"]))
        self.assertGreater(int(served["startTimeUnixNano"]), before_ns - 10**9)
        self.assertEqual(self.spans_of("f" * 32), [], "its sender does not want it")
        path, content_type, body = self.receiver.bodies[0]
        self.assertEqual((path, content_type), ("/v1/traces", "application/json"))
        self.assertIn({"key": "service.name", "value": {"stringValue": "windrow"}}, body["resourceSpans"][0]["resource"]["attributes"])

    def test_points_carry_the_trace_of_their_request_into_kafka(self):
        trace = "a" * 32
        body = {"points": [{"id": 10**6, "vector": [0.5] * DIM, "payload": {}}]}
        reply = self.windrow.request("PUT", f"/collections/{COLLECTION}/points?wait=true", body, headers=parent(trace))
        self.assertEqual(reply.status, 200, reply.body[:300])
        headers = [message["headers"] for message in self.kafka.consume(TOPIC) if message["headers"]]
        self.assertEqual([value[:36] for header in headers for name, value in header.items() if name == "traceparent"], [f"00-{trace}-"])

    def test_receiver_that_hangs_or_fails_holds_up_no_request(self):
        """The queue overflows, and what does not fit is counted."""
        before = self.outcomes()
        self.receiver.open.clear()
        connection = http.client.HTTPConnection("127.0.0.1", self.windrow.port, timeout=20)
        self.addCleanup(connection.close)

        def overflows():
            for _ in range(500):
                connection.request("GET", "/healthz", headers=parent("b" * 32))
                self.assertEqual(connection.getresponse().read(), b"healthz check passed")
            return self.outcomes()["dropped"] > before["dropped"]

        harness.wait_for(overflows, "spans are dropped", 60, interval_s=0)
        self.receiver.status = 503
        self.receiver.open.set()
        harness.wait_for(lambda: self.outcomes()["failed"] > before["failed"], "a refused batch counts", 30)
        self.receiver.status = 200
        exported = self.outcomes()["exported"]
        harness.wait_for(lambda: self.windrow.request("GET", "/healthz", headers=parent("c" * 32)) and self.outcomes()["exported"] > exported,
                         "spans come again", 30)
        self.assertTrue(self.events("export_failed"))


if __name__ == "__main__":
    harness.main()
