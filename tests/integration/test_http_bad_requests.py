"""Whatever a client sends, the answer is a 4xx or 501 in Qdrant's error envelope, and the server goes on."""

import json
import os
import socket
import sys
import time
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
import harness
from servers import Kafka
from service import COLLECTION, TOPIC, Windrow

DIM = 16
VECTOR = [0.5] * DIM
POINTS = f"/collections/{COLLECTION}/points"
QUERY = f"{POINTS}/query"


def query(**body):
    return {"query": {"nearest": VECTOR}, "limit": 3, **body}


def deep(levels):
    return b'{"filter": ' + b'{"must": [' * levels + b"]}" * levels + b"}"


# name: (method, path, body as JSON or bytes, allowed statuses, words of the message)
BAD_REQUESTS = {
    "malformed_body": ("POST", QUERY, b'{"query": [1, 2', {400}, ["Format error in JSON body"]),
    "body_that_is_a_list": ("POST", QUERY, b"[]", {400}, []),
    "body_that_is_not_utf8": ("POST", QUERY, b'{"query": "\xff\xfe"}', {400}, []),
    "not_a_number": ("POST", QUERY, b'{"query": {"nearest": [NaN]}}', {400}, []),
    "infinite_number": ("POST", QUERY, b'{"query": [' + b"1e999," * (DIM - 1) + b"1]}", {400}, []),
    "absurd_depth": ("POST", QUERY, deep(20_000), {400}, []),
    "unknown_collection": ("POST", "/collections/other/points/query", query(), {404}, ["Collection `other` doesn't exist"]),
    "unknown_collection_info": ("GET", "/collections/other", None, {404}, ["Collection `other` doesn't exist"]),
    "wrong_dimension": (
        "POST", QUERY, {"query": {"nearest": [1, 2, 3]}, "limit": 3}, {400}, ["Vector dimension error", "16", "got 3"],
    ),
    "limit_zero": ("POST", QUERY, query(limit=0), {422}, ["Validation error in JSON body", "limit"]),
    "limit_negative": ("POST", QUERY, query(limit=-1), {400, 422}, []),
    "limit_absurd": ("POST", QUERY, query(limit=10**18), {400, 422}, []),
    "limit_beyond_64_bits": ("POST", QUERY, query(limit=10**30), {400, 422}, []),
    "limit_fraction": ("POST", QUERY, query(limit=1.5), {400, 422}, []),
    "limit_text": ("POST", QUERY, query(limit="3"), {400}, []),
    "offset_negative": ("POST", QUERY, query(offset=-1), {400, 422}, []),
    "unknown_filter_key": ("POST", QUERY, query(filter={"mus": []}), {400}, ["mus"]),
    "unknown_condition": ("POST", QUERY, query(filter={"must": [{"key": "a", "near": 1}]}), {400}, []),
    "filter_that_is_text": ("POST", QUERY, query(filter="a = 1"), {400}, []),
    "range_of_text": ("POST", QUERY, query(filter={"must": [{"key": "a", "range": {"lt": "soon"}}]}), {400}, []),
    "bad_point_id": ("POST", POINTS, {"ids": [{"a": 1}]}, {400}, []),
    "negative_point_id": ("POST", POINTS, {"ids": [-5]}, {400}, []),
    "ids_missing": ("POST", POINTS, {}, {400, 422}, []),
    "scroll_limit_zero": ("POST", f"{POINTS}/scroll", {"limit": 0}, {422}, []),
    "named_vector": ("POST", QUERY, query(using="other"), {400, 501}, []),
    "sparse_vector": ("POST", QUERY, {"query": {"nearest": {"indices": [1], "values": [1.0]}}, "limit": 1}, {400, 501}, []),
    "bad_time": ("POST", QUERY, query(windrow={"from": "whenever"}), {400}, []),
    "write_from_the_future": (
        "PUT", POINTS, {"points": [{"id": 1, "vector": VECTOR, "payload": {"time_ms": 99999999999999}}]}, {400},
        ["point 1", "further in the future than max_future"],
    ),
    "pause_of_unknown_collection": ("POST", "/collections/other/pause", {}, {404}, ["Collection `other` doesn't exist"]),
    "resume_in_an_unknown_way": ("POST", f"/collections/{COLLECTION}/resume", {"shard": "0", "how": "x"}, {400}, ["$.how"]),
    "resume_of_no_shard": ("POST", f"/collections/{COLLECTION}/resume", {"how": "skip"}, {400}, ["$.shard"]),
    "resume_of_a_shard_that_runs": (
        "POST", f"/collections/{COLLECTION}/resume", {"shard": "0", "how": "skip"}, {400, 404}, ["shard 0"],
    ),
    "windows_of_unknown_collection": ("GET", "/windows?collection=other", None, {404}, []),
    "collection_name_that_climbs": ("GET", "/collections/..%2f..%2fetc", None, {400, 404}, []),
}


class BadRequests(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.kafka = Kafka().start()
        cls.windrow = Windrow(cls.kafka.address)
        cls.windrow.create_topic(1)
        cls.windrow.start()
        now_ms = int(time.time() * 1000)
        values = [{"id": n, "vector": VECTOR, "payload": {"a": n}, "time_ms": now_ms} for n in range(1, 11)]
        cls.kafka.produce(TOPIC, [(str(value["id"]), json.dumps(value)) for value in values])
        cls.windrow.wait_caught_up({"0": len(values)})

    @classmethod
    def tearDownClass(cls):
        stopped = cls.windrow.stop()
        cls.kafka.stop()
        assert stopped == 0, cls.windrow.log()[-2000:]

    def tearDown(self):
        """The server is still there and still right."""
        self.assertTrue(self.windrow.alive(), self.windrow.log()[-2000:])
        self.assertEqual(len(self.windrow.search_reply(query())["result"]["points"]), 3)

    def assert_envelope(self, reply, words):
        body = reply.json()
        self.assertIsInstance(body["status"]["error"], str)
        self.assertTrue(body["status"]["error"])
        self.assertIn("time", body)
        for word in words:
            self.assertIn(word, body["status"]["error"])

    def test_each_bad_request_is_refused_in_the_envelope(self):
        for name, (method, path, body, statuses, words) in BAD_REQUESTS.items():
            with self.subTest(name):
                given = {"raw": body} if isinstance(body, bytes) else {"body": body}
                reply = self.windrow.request(method, path, **given)
                self.assertIn(reply.status, statuses, reply.body[:300])
                self.assert_envelope(reply, words)

    def test_unknown_route_is_404(self):
        for path in ("/nothing", f"{POINTS}/nothing", "/collections/points/points/query/extra"):
            with self.subTest(path):
                self.assertEqual(self.windrow.request("GET", path).status, 404)

    def test_wrong_method_is_405_and_names_the_right_one(self):
        reply = self.windrow.request("DELETE", QUERY)
        self.assertEqual(reply.status, 405)
        self.assertIn("POST", reply.headers["Allow"])

    def test_body_over_the_limit_is_413(self):
        body = b'{"query": [' + b"1," * (50 << 20) + b"1]}"
        reply = self.windrow.request("POST", QUERY, raw=body)
        self.assertEqual(reply.status, 413)
        self.assert_envelope(reply, ["larger than"])

    def test_bytes_that_are_not_http_end_only_their_connection(self):
        for garbage in (b"\x00" * 1000, b"GET\r\n\r\n", b"POST / HTTP/9.9\r\n\r\n", b"A" * 200_000, b"\x16\x03\x01\x02\x00"):
            with socket.create_connection(("127.0.0.1", self.windrow.port), timeout=10) as connection:
                try:
                    connection.sendall(garbage)
                    connection.shutdown(socket.SHUT_WR)
                    connection.recv(4096)
                except OSError:
                    pass # a reset is an answer too

    def test_client_that_stops_half_way_holds_nobody_up(self):
        held = []
        for _ in range(50):
            connection = socket.create_connection(("127.0.0.1", self.windrow.port), timeout=10)
            connection.sendall(f"POST {QUERY} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n{{".encode())
            held.append(connection)
        self.assertEqual(self.windrow.request("GET", "/livez").status, 200)
        for connection in held:
            connection.close()


if __name__ == "__main__":
    harness.main()
