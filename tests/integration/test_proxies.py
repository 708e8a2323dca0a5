"""nginx and HAProxy of the distribution in front: requests that such a pair may read in two ways, limits of both, and what
comes through unchanged."""

import contextlib
import gzip
import http.client
import json
import os
import selectors
import socket
import sys
import time
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
import harness
import service
from servers import Server
from service import COLLECTION

DIM = 16
ROWS = 500
POINTS = f"/collections/{COLLECTION}/points"
KEY = "of-the-gateway"
CROWD = 600 # more than run, wait and stand in the queue for one address

NGINX = """
daemon off;
pid %(folder)s/pid;
error_log stderr;
worker_processes 1;
events { worker_connections 4096; }
http {
    access_log off;
    client_body_temp_path %(folder)s/bodies;
    proxy_temp_path %(folder)s/replies;
    fastcgi_temp_path %(folder)s/fastcgi;
    uwsgi_temp_path %(folder)s/uwsgi;
    scgi_temp_path %(folder)s/scgi;
    client_max_body_size 0;
    upstream windrow { server 127.0.0.1:%(port)d; keepalive 1; }
    server {
        listen 127.0.0.1:%(listen)d;
        location / {
            proxy_pass http://windrow;
            proxy_http_version 1.1;
            proxy_request_buffering off;
            proxy_set_header Connection "";
            proxy_set_header api-key "%(key)s";
        }
    }
}
"""
HAPROXY = """
global
    stats socket %(folder)s/socket
defaults
    mode http
    timeout connect 10s
    timeout client 60s
    timeout server 60s
    http-reuse always
    option abortonclose
frontend near
    bind 127.0.0.1:%(listen)d
    http-request set-header api-key "%(key)s"
    default_backend windrow
backend windrow
    server one 127.0.0.1:%(port)d
"""

HEAD = f"POST {POINTS}/count HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
# What is behind the body of the first reading is a request of its own in the second one. Would the two differ, its
# answer went to whoever comes next on the connection between them.
SMUGGLED = f"POST {POINTS}/delete?wait=true HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 14\r\n\r\n" + '{"points":[1]}'
CHUNKED_SMUGGLED = f"0\r\n\r\n{SMUGGLED}"
TWO_READINGS = {
    "two_lengths": HEAD + f"Content-Length: 2\r\nContent-Length: {2 + len(SMUGGLED)}\r\n\r\n{{}}" + SMUGGLED,
    "list_of_lengths": HEAD + f"Content-Length: 2, {2 + len(SMUGGLED)}\r\n\r\n{{}}" + SMUGGLED,
    "length_and_chunks": HEAD + f"Content-Length: {len(CHUNKED_SMUGGLED)}\r\nTransfer-Encoding: chunked\r\n\r\n" + CHUNKED_SMUGGLED,
    "chunks_and_length": HEAD + f"Transfer-Encoding: chunked\r\nContent-Length: {len(CHUNKED_SMUGGLED)}\r\n\r\n" + CHUNKED_SMUGGLED,
    "chunks_of_another_name": HEAD + f"Content-Length: {len(CHUNKED_SMUGGLED)}\r\nTransfer-Encoding: xchunked\r\n\r\n" + CHUNKED_SMUGGLED,
    "space_before_the_colon": HEAD + f"Content-Length: {len(CHUNKED_SMUGGLED)}\r\nTransfer-Encoding : chunked\r\n\r\n" + CHUNKED_SMUGGLED,
    "vertical_tab": HEAD + f"Content-Length: {len(CHUNKED_SMUGGLED)}\r\nTransfer-Encoding: \x0bchunked\r\n\r\n" + CHUNKED_SMUGGLED,
    "folded_header": HEAD + f"Content-Length: {len(CHUNKED_SMUGGLED)}\r\nTransfer-Encoding:\r\n chunked\r\n\r\n" + CHUNKED_SMUGGLED,
    "bare_line_feeds": HEAD + f"Content-Length: {len(CHUNKED_SMUGGLED)}\r\nX: y\nTransfer-Encoding: chunked\r\n\r\n" + CHUNKED_SMUGGLED,
    "header_without_a_name": HEAD + f"Content-Length: {len(SMUGGLED)}\r\n: x\r\n\r\n" + SMUGGLED,
    "header_without_a_name_nor_a_value": HEAD + f":\r\nContent-Length: {len(SMUGGLED)}\r\n\r\n" + SMUGGLED,
    "empty_line_of_a_nul": HEAD + f"Content-Length: {len(SMUGGLED)}\r\n\0\r\n\r\n" + SMUGGLED,
    "nul_before_a_header": HEAD + f"Content-Length: {len(CHUNKED_SMUGGLED)}\r\n\0X: y\r\nTransfer-Encoding: chunked\r\n\r\n" + CHUNKED_SMUGGLED,
    "nul_in_a_value": HEAD + f"Content-Length: {len(CHUNKED_SMUGGLED)}\r\nTransfer-Encoding: chunked\0x\r\n\r\n" + CHUNKED_SMUGGLED,
    "bare_carriage_return": HEAD + f"Content-Length: {len(CHUNKED_SMUGGLED)}\r\nX: y\rTransfer-Encoding: chunked\r\n\r\n" + CHUNKED_SMUGGLED,
    "trailer_without_a_name": HEAD + "Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\nX: y\r\n: x\r\n\r\n" + SMUGGLED,
    "trailer_of_a_nul": HEAD + "Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\0\r\n\r\n" + SMUGGLED,
    "signed_length": HEAD + "Content-Length: +2\r\n\r\n{}" + SMUGGLED,
    "length_in_hex": HEAD + "Content-Length: 0x2\r\n\r\n{}" + SMUGGLED,
    "length_beyond_64_bits": HEAD + "Content-Length: 18446744073709551618\r\n\r\n{}" + SMUGGLED,
    "chunk_beyond_64_bits": HEAD + "Transfer-Encoding: chunked\r\n\r\n10000000000000002\r\n{}\r\n0\r\n\r\n" + SMUGGLED,
    "chunk_without_its_end": HEAD + "Transfer-Encoding: chunked\r\n\r\n2\r\n{}XX0\r\n\r\n" + SMUGGLED,
    "get_with_a_body": f"GET /collections HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(SMUGGLED)}\r\n\r\n" + SMUGGLED,
    "upgrade": f"GET /collections HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\nContent-Length: {len(SMUGGLED)}\r\n\r\n" + SMUGGLED,
    "expects": HEAD + f"Expect: 100-continue\r\nContent-Length: {len(SMUGGLED)}\r\n\r\n" + SMUGGLED,
}


class Front(Server):
    """A proxy of the distribution, with connections to windrow that many clients share."""

    def __init__(self, name, windrow):
        super().__init__(harness.scratch_folder(name))
        self.name, self.port = name, harness.free_ports(1)[0]
        self.config = os.path.join(self.folder, "config")
        with open(self.config, "w", encoding="utf-8") as file:
            file.write({"nginx": NGINX, "haproxy": HAPROXY}[name] % {"folder": self.folder, "listen": self.port, "port": windrow.port, "key": KEY})

    def start(self):
        self.spawn({"nginx": ["nginx", "-p", self.folder, "-c", self.config, "-e", "stderr"], "haproxy": ["haproxy", "-db", "-f", self.config]}[self.name])
        self.wait_ready(lambda: self.ask("GET", "/livez")[0] == 200, timeout_s=60)
        return self

    def ask(self, method, path, body=None, headers=None):
        """Status, headers and body on a connection of its own."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            connection.request(method, path, body, {"Content-Type": "application/json", **(headers or {})})
            reply = connection.getresponse()
            return reply.status, {name.lower(): value for name, value in reply.getheaders()}, reply.read()
        finally:
            connection.close()

    def send(self, data):
        """All that comes back for these bytes until the connection ends, or the sender has nothing to say any more."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=60) as connection:
            received = b""
            try:
                connection.sendall(data)
                connection.shutdown(socket.SHUT_WR)
                while piece := connection.recv(65536):
                    received += piece
            except ConnectionError:
                pass # who refuses may cut
            return received


class Proxies(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        os.environ["PATH"] += ":/usr/sbin"
        harness.require_programs("nginx", "haproxy")
        service.for_class(cls)
        cls.windrow.create_topic(1)
        key_file = os.path.join(cls.windrow.folder, "keys")
        with open(key_file, "w", encoding="utf-8") as file:
            os.fchmod(file.fileno(), 0o600)
            file.write(KEY)
        cls.windrow.tree["http"] |= {"api_key_file": key_file, "open_routes": ["metrics"]}
        cls.windrow.configure(cls.windrow.tree)
        cls.windrow.start()
        cls.fronts = [Front(name, cls.windrow).start() for name in ("nginx", "haproxy")]
        for front in cls.fronts:
            cls.addClassCleanup(front.stop)
        now_ms = int(time.time() * 1000)
        points = [{"id": number, "vector": [number / ROWS] * DIM, "payload": {"word": f"entry {number}", "time_ms": now_ms}} for number in range(1, ROWS + 1)]
        cls.points = {"points": points}

    def refused(self):
        """Requests without a key: the proxies have one, whoever gets past their sight has none."""
        return sum(value for labels, value in self.windrow.metrics("windrow_http_requests_total").items() if 'code="403"' in labels)

    def count(self, front):
        status, _, body = front.ask("POST", f"{POINTS}/count", "{}")
        self.assertEqual(status, 200, body)
        return json.loads(body)["result"]["count"]

    def test_bodies_come_through_whole_and_coded(self):
        plain = json.dumps(self.points).encode()
        for front in self.fronts:
            for body, headers in ((plain, {}), (gzip.compress(plain), {"Content-Encoding": "gzip"})):
                status, _, reply = front.ask("PUT", f"{POINTS}?wait=true", body, headers)
                self.assertEqual((status, json.loads(reply)["result"]["status"]), (200, "completed"), reply)
            chunks = (plain[at : at + 10_000] for at in range(0, len(plain), 10_000))
            status, _, reply = front.ask("PUT", f"{POINTS}?wait=true", chunks)
            self.assertEqual(status, 200, reply)
            self.assertEqual(self.count(front), ROWS)
            scroll = json.dumps({"limit": ROWS, "with_vector": True})
            _, headers, whole = front.ask("POST", f"{POINTS}/scroll", scroll)
            self.assertNotIn("content-encoding", headers)
            _, headers, coded = front.ask("POST", f"{POINTS}/scroll", scroll, {"Accept-Encoding": "gzip"})
            self.assertEqual((headers["content-encoding"], headers["vary"]), ("gzip", "Accept-Encoding"))
            self.assertEqual(json.loads(gzip.decompress(coded))["result"], json.loads(whole)["result"])

    def test_limits_answer_through_the_proxy(self):
        """Its own 4xx of nginx and HAProxy are pages; those of windrow stay what they are."""
        large = b'{"query": [' + b"1," * (20 << 20) + b"1]}"
        bomb = gzip.compress(b'{"query": [' + b" " * (100 << 20) + b"1]}")
        slow = json.dumps({"limit": 1, "windrow": {"min_offsets": {"0": 10**9}, "timeout_ms": 100}})
        for front in self.fronts:
            for body, headers, wanted in ((large, {}, 413), (bomb, {"Content-Encoding": "gzip"}, 413), (b"\x1f\x8b\x08 torn", {"Content-Encoding": "gzip"}, 400),
                                          (b"{}", {"Content-Encoding": "br"}, 415), (slow, {}, 408)):
                status, _, reply = front.ask("POST", f"{POINTS}/query", body, headers)
                self.assertEqual(status, wanted, reply[:300])
                self.assertIn("error", json.loads(reply)["status"])

    def test_overload_is_told_with_the_time_to_wait(self):
        """The requests of all clients of a proxy come from one address, and share its part of the queue. They end with their
        clients, also behind a proxy."""
        waiting = json.dumps({"limit": 1, "windrow": {"min_offsets": {"0": 10**9}, "timeout_ms": 60_000}})
        request = (HEAD.replace("/count", "/query") + f"Content-Length: {len(waiting)}\r\n\r\n{waiting}").encode()
        for front in self.fronts:
            with contextlib.ExitStack() as crowd, selectors.DefaultSelector() as first:
                for _ in range(CROWD):
                    one = crowd.enter_context(socket.create_connection(("127.0.0.1", front.port), timeout=60))
                    one.sendall(request)
                    first.register(one, selectors.EVENT_READ)
                reply = first.select(60)[0][0].fileobj.recv(65536).decode()
                self.assertIn(" 429 ", reply.partition("\r\n")[0])
                self.assertIn("retry-after: 1\r\n", reply.lower())
                self.assertIn("Too many requests wait", json.loads(reply.partition("\r\n\r\n")[2])["status"]["error"])
                self.assertEqual(front.ask("GET", "/livez")[0], 200)
            harness.wait_for(lambda front=front: front.ask("POST", f"{POINTS}/count", "{}")[0] == 200, "the crowd's requests end with it")

    def test_no_request_is_read_in_two_ways(self):
        """A proxy may take what follows for a second request of the same client, or refuse it. But windrow never sees one
        that the proxy did not, and nobody gets another one's answer."""
        for front in self.fronts:
            for name, request in TWO_READINGS.items():
                with self.subTest(name, front=front.name):
                    before = self.refused()
                    replies = front.send(request.encode("latin-1"))
                    for _ in range(3):
                        status, _, body = front.ask("GET", "/collections")
                        self.assertEqual((status, json.loads(body)["result"]), (200, {"collections": [{"name": COLLECTION}]}), replies)
                    self.assertEqual(self.refused(), before, replies)

    def test_client_that_stops_half_way_is_answered_or_closed(self):
        half = (HEAD + "Content-Length: 100\r\n\r\n{").encode()
        for front in self.fronts:
            replies = front.send(half)
            self.assertNotIn(b"HTTP/1.1 200", replies)
            self.assertEqual(front.ask("GET", "/collections")[0], 200)


if __name__ == "__main__":
    harness.main()
