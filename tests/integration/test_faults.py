"""What operators and machines do to a running service: signals, reloads, a full disk, a second process, many clients."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
import harness
from servers import Kafka
from service import COLLECTION, MS_PER_HOUR, TOPIC, Windrow

DIM = 16
# The requests that a stop must not wait for wait 60 s themselves. Users are promised three seconds; a busy test machine
# gets the rest.
STOP_S = 20
NOBODY = harness.nobody()
FUTURE = {"limit": 1, "windrow": {"min_offsets": {"0": 10**9}, "timeout_ms": 60_000}}
POINT = {"points": [{"id": 1, "vector": [0.5] * DIM}]}


def hours_ago(hours):
    return int(time.time() * 1000 - hours * MS_PER_HOUR)


def records(first, count, time_ms, filler=""):
    for number in range(first, first + count):
        vector = [((number * 7919 + place * 104729) % 1000) / 1000 for place in range(DIM)]
        value = {"id": number, "vector": vector, "payload": {"n": number, "filler": filler}, "time_ms": time_ms}
        yield str(number), json.dumps(value)


class Clients:
    """Requests that are under way while the test does something else."""

    def __init__(self, windrow, count, method, path, body):
        self.statuses = []
        self.threads = [threading.Thread(target=self.ask, args=(windrow, method, path, body)) for _ in range(count)]
        for thread in self.threads:
            thread.start()

    def ask(self, windrow, method, path, body):
        try:
            self.statuses.append(windrow.request(method, f"/collections/{COLLECTION}{path}", body).status)
        except OSError as error:
            self.statuses.append(repr(error))

    def join(self):
        for thread in self.threads:
            thread.join()
        return self.statuses


class WithoutBroker(unittest.TestCase):
    def setUp(self):
        self.windrow = Windrow(NOBODY)

    def tearDown(self):
        self.windrow.stop()

    def descriptors(self):
        return len(os.listdir(f"/proc/{self.windrow.process.pid}/fd"))

    def assert_quick_stop(self, number):
        begin = time.monotonic()
        self.windrow.process.send_signal(number)
        self.assertEqual(self.windrow.process.wait(60), 0, self.windrow.log()[-2000:])
        self.assertLess(time.monotonic() - begin, STOP_S, self.windrow.log()[-2000:])

    def test_stop_does_not_wait_for_requests_that_wait(self):
        for number in (signal.SIGTERM, signal.SIGINT):
            self.windrow.start()
            before = self.descriptors()
            searches = Clients(self.windrow, 40, "POST", "/points/query", FUTURE)
            writes = Clients(self.windrow, 10, "PUT", "/points?wait=true", POINT)
            harness.wait_for(lambda b=before: self.descriptors() >= b + 50, "all clients are connected")
            time.sleep(1)
            self.assertEqual(searches.statuses + writes.statuses, [], "they wait")
            self.assertEqual(self.windrow.request("GET", "/livez").status, 200)
            self.assertEqual(self.windrow.post("/points/count", {})["count"], 0, "and hold up nobody")
            self.assert_quick_stop(number)
            self.assertEqual(set(searches.join() + writes.join()), {503})

    def second(self, **changes):
        """Another process with a configuration of its own; returns what it says when it has ended."""
        with open(self.windrow.config_path, encoding="utf-8") as file:
            tree = json.load(file)
        tree.update(changes)
        path = os.path.join(self.windrow.folder, "second.yaml")
        with open(path, "w", encoding="utf-8") as file:
            json.dump(tree, file)
        command = [harness.Environment.binary, "run", "-c", path]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        self.assertEqual(done.returncode, 1, done.stderr)
        return done.stderr

    def test_second_process_is_told_what_it_cannot_have(self):
        self.windrow.start()
        other_data = os.path.join(self.windrow.folder, "other")
        other_port = {"listen": f"127.0.0.1:{harness.free_ports(1)[0]}"}
        self.assertIn("another process holds it", self.second(http=other_port))
        self.assertIn("Address already in use", self.second(data_dir=other_data))
        self.assertIn("/proc/windrow", self.second(data_dir="/proc/windrow", http=other_port))
        self.assertEqual(self.windrow.request("GET", "/livez").status, 200)


class WithBroker(unittest.TestCase):
    def setUp(self):
        self.kafka, self.windrow = Kafka().start(), None

    def tearDown(self):
        if self.windrow:
            self.windrow.stop()
        self.kafka.stop()

    def start(self, **options):
        self.windrow = Windrow(self.kafka.address, **options)
        self.windrow.create_topic(1)

    def reload(self, **changes):
        """Changes keys of the collection, sends SIGHUP, returns the new lines of the log."""
        with open(self.windrow.config_path, encoding="utf-8") as file:
            tree = json.load(file)
        tree["collections"][COLLECTION].update(changes)
        self.windrow.configure(tree)
        return self.hang_up()

    def hang_up(self):
        before = len(self.windrow.log())
        self.windrow.process.send_signal(signal.SIGHUP)
        return harness.wait_for(lambda: (lambda new: "reload" in new and new)(self.windrow.log()[before:]), "the reload is logged")

    def caught_up_count(self):
        self.windrow.wait_caught_up(self.kafka.end_offsets(TOPIC, 1))
        return len(self.windrow.scroll())

    def test_reload_changes_the_ttl_both_ways_and_nothing_else(self):
        self.start(ttl="2h")
        self.windrow.start()
        self.kafka.produce(TOPIC, [*records(1, 10, hours_ago(3)), *records(11, 10, hours_ago(1.5)), *records(21, 10, hours_ago(0))])
        self.assertEqual(self.caught_up_count(), 20)
        self.assertIn("nothing changed", self.hang_up())
        log = self.reload(ttl="1h", window="30m", dim=17)
        self.assertIn("a restart is needed to apply the changed collections.points.dim", log)
        self.assertIn("a restart is needed to apply the changed collections.points.window", log)
        self.assertIn("dimension is 16 on disk and 17 in the config", log)
        log = self.reload(dim=16, metric="cosine", key="json")
        self.assertIn("metric is l2 on disk and cosine in the config; key is auto on disk and json in the config", log)
        before = self.windrow.command("check-config", "--against", self.windrow.tree["data_dir"])
        self.assertEqual(before.returncode, 78)
        self.assertIn("metric is l2 on disk and cosine in the config; key is auto on disk and json in the config", before.stdout)
        self.assertEqual(self.caught_up_count(), 10, "a shorter TTL hides at once")
        self.reload(ttl="4h", metric="l2", key="auto")
        self.assertEqual(self.windrow.command("check-config", "--against", self.windrow.tree["data_dir"]).returncode, 0)
        self.kafka.produce(TOPIC, records(31, 10, hours_ago(3)))
        self.assertGreaterEqual(self.caught_up_count(), 20, "a longer one lets older records in")
        self.assertEqual({w["end_ms"] - w["start_ms"] for w in self.windrow.windows()}, {MS_PER_HOUR})
        with open(self.windrow.config_path, "a", encoding="utf-8") as file:
            file.write("\n]")
        self.assertIn("reload refused, keeping the running config", self.hang_up())
        self.assertTrue(self.windrow.ready())

    def configure(self, **changes):
        self.windrow.tree["collections"][COLLECTION].update(changes)
        self.windrow.configure(self.windrow.tree)

    def refused(self):
        return {next(iter(labels)).split('"')[1]: value for labels, value in self.windrow.metrics("windrow_collection_refused").items()}

    def count(self, name):
        reply = self.windrow.request("POST", f"/collections/{name}/points/count", {})
        return reply.json()["result"]["count"] if reply.status == 200 else reply.body

    def check_refused(self, words):
        """By name, wherever an operator or a client looks; the other collection is served."""
        self.assertRegex(self.windrow.request("GET", "/readyz").body.decode(), rf"(?m)^refused: {COLLECTION}: shard \S+: {words}")
        for method, path, body in (("POST", "/points/count", {}), ("POST", "/points/query", {"query": [1] * DIM}), ("PUT", "/points?wait=true", POINT), ("GET", "", None), ("GET", "/points/1", None)):
            reply = self.windrow.request(method, f"/collections/{COLLECTION}{path}", body)
            said = reply.body.decode()
            self.assertEqual((reply.status, words in said), (503, True), said)
        self.assertEqual(self.count("others"), 10)
        self.assertRegex(self.windrow.command("status").stdout, rf"REFUSED: shard \S+: {words}")
        self.assertEqual(self.refused(), {COLLECTION: 1, "others": 0})
        backup = self.windrow.command("backup", os.path.join(harness.scratch_folder("backup"), "new"))
        self.assertNotEqual(backup.returncode, 0)
        self.assertIn(words, backup.stderr)

    def test_collection_that_its_records_contradict_is_refused_and_others_are_served(self):
        self.start()
        self.windrow.tree["collections"]["others"] = {**self.windrow.tree["collections"][COLLECTION], "topics": ["others"]}
        self.configure()
        self.assertEqual(self.windrow.command("produce", "-C", "others", "--create-topic", "1", "/dev/null").returncode, 0)
        self.windrow.start()
        self.kafka.produce(TOPIC, records(1, 10, hours_ago(0)))
        self.kafka.produce("others", records(1, 10, hours_ago(0)))
        self.assertEqual(self.caught_up_count(), 10)
        harness.wait_for(lambda: self.count("others") == 10, "the others come")
        self.assertEqual(self.windrow.command("pause", "-C", COLLECTION).returncode, 0)
        self.windrow.stop()
        self.configure(metric="cosine")
        self.windrow.start()
        harness.wait_for(self.windrow.ready, "it is ready with the others")
        words = "metric is l2 on disk and cosine in the config"
        self.assertIn(f"collections.{COLLECTION} is refused, others are served: shard", self.windrow.log())
        self.check_refused(words)
        self.assertIn("dimension is 16 on disk and 17 in the config", self.reload(dim=17, metric="l2"))
        self.check_refused(words)
        self.kafka.produce(TOPIC, records(11, 10, hours_ago(0)))
        self.assertIn(f"collections.{COLLECTION} is served", self.reload(dim=16, ttl="7h"))
        harness.wait_for(lambda: self.count(COLLECTION) == 10, "what is stored is served, and what comes waits")
        self.assertTrue(self.windrow.request("GET", "/status").json()["collections"][-1]["paused"])
        self.assertEqual(self.windrow.command("resume", "-C", COLLECTION).returncode, 0)
        self.assertEqual(self.caught_up_count(), 20)
        self.assertEqual(self.refused(), {COLLECTION: 0, "others": 0})
        self.assertNotIn("refused", self.windrow.request("GET", "/readyz").body.decode())
        self.assertIn("nothing changed", self.hang_up())

    def test_full_disk_stops_reading_and_nothing_else(self):
        data = harness.scratch_folder("small")
        if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", data], capture_output=True, check=False).returncode:
            self.skipTest("mounting a small file system needs root")
        try:
            self.run_on_small_disk(data)
        finally:
            self.windrow.stop()
            subprocess.run(["umount", "-l", data], check=True)

    def missing(self):
        reply = self.windrow.request("POST", f"/collections/{COLLECTION}/points/count", {}).json()["windrow"]
        self.assertEqual(reply["partial"], bool(reply["missing"]))
        return reply["missing"]

    def run_on_small_disk(self, data):
        self.start(store={"memtable_max_bytes": "1MiB"})
        with open(self.windrow.config_path, encoding="utf-8") as file:
            tree = json.load(file)
        tree["data_dir"] = data
        self.windrow.configure(tree)
        self.windrow.start()
        self.kafka.produce(TOPIC, records(1, 100, hours_ago(0)))
        self.assertEqual(self.caught_up_count(), 100)
        with open(os.path.join(data, "filler"), "wb") as filler:
            try:
                while True:
                    filler.write(b"x" * 65536)
                    filler.flush()
            except OSError:
                pass
        text = "".join(chr(33 + number * 7919 % 90) for number in range(4000))
        self.kafka.produce(TOPIC, records(101, 3000, hours_ago(0), text))
        harness.wait_for(lambda: "No space left" in self.windrow.log() or "no space" in self.windrow.log(), "it says so")
        self.assertTrue(self.windrow.alive())
        self.assertGreaterEqual(self.windrow.post("/points/count", {})["count"], 100, "searches go on")
        self.assertEqual(self.windrow.request("GET", "/livez").status, 200)
        harness.wait_for(lambda: b"stopped: " in self.windrow.request("GET", "/readyz").body, "it says that it is stopped")
        self.assertEqual(self.missing(), [f"{TOPIC}[0]"])
        os.unlink(os.path.join(data, "filler"))
        self.windrow.wait_caught_up({"0": 3100}, timeout_s=90)
        self.assertEqual(self.missing(), [])
        self.assertEqual(set(self.windrow.scroll()), set(range(1, 3101)))


class Connections(unittest.TestCase):
    """Clients that are many, slow, rude."""

    def setUp(self):
        self.windrow = Windrow(NOBODY)
        self.windrow.start()

    def tearDown(self):
        self.windrow.stop()

    def connect(self):
        return socket.create_connection(("127.0.0.1", self.windrow.port), timeout=20)

    def sockets(self):
        """Connections that windrow has open to clients."""
        with open(f"/proc/{self.windrow.process.pid}/net/tcp", encoding="ascii") as file:
            rows = [line.split() for line in file][1:]
        return sum(row[1].endswith(f":{self.windrow.port:04X}") and row[3] in ("01", "08") for row in rows)

    def read_all(self, connection):
        parts = []
        while part := connection.recv(65536):
            parts.append(part)
        return b"".join(parts)

    def answers(self):
        return self.windrow.post("/points/count", {})["count"] == 0

    def test_thousand_idle_connections_hold_up_nobody(self):
        held = [self.connect() for _ in range(1000)]
        try:
            for connection in held[::2]:
                connection.sendall(b"POST /collections/points/points/count HTTP/1.1\r\nHost: localhost\r\nContent-Le")
            self.assertTrue(self.answers())
            held[1].sendall(b"GET /livez HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            self.assertIn(b" 200 ", self.read_all(held[1]))
        finally:
            for connection in held:
                connection.close()
        self.assertTrue(self.answers())

    def test_new_connection_for_each_of_many_requests(self):
        for _ in range(2000):
            with self.connect() as connection:
                connection.sendall(b"GET /collections HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
                self.assertIn(b'"status":"ok"', self.read_all(connection))
        self.assertLess(len(os.listdir(f"/proc/{self.windrow.process.pid}/fd")), 200, "descriptors do not leak")

    def test_pipelined_requests_are_answered_in_order(self):
        body = b'{"filter":{}}'
        one = b"POST /collections/points/points/count HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)
        last = b"GET /livez HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
        with self.connect() as connection:
            connection.sendall(one * 20 + last)
            reply = self.read_all(connection)
        self.assertEqual(reply.count(b'{"count":0}'), 20)
        self.assertTrue(reply.endswith(b"healthz check passed"))

    def test_half_closed_and_chunked_and_head(self):
        chunked = (
            b"POST /collections/points/points/count HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
            b"1\r\n{\r\n1\r\n}\r\n0\r\n\r\n"
        )
        with self.connect() as connection:
            connection.sendall(chunked)
            connection.shutdown(socket.SHUT_WR)
            self.assertIn(b'{"count":0}', self.read_all(connection))
        with self.connect() as connection:
            connection.sendall(b"HEAD /collections HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            head, _, body = self.read_all(connection).partition(b"\r\n\r\n")
            self.assertIn(b" 200 ", head.splitlines()[0])
            self.assertEqual(body, b"")

    def test_rubbish_and_huge_headers_are_refused(self):
        huge = b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"y" * 300_000 + b"\r\n\r\n"
        for rubbish in (huge, b"\0" * 5000, b"GET\r\n\r\n", b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n", b"\x16\x03\x01" * 99):
            with self.connect() as connection:
                try:
                    connection.sendall(rubbish)
                    connection.shutdown(socket.SHUT_WR)
                    reply = self.read_all(connection)
                except OSError:
                    reply = b""
                self.assertNotIn(b" 200 ", reply[:20])
        self.assertTrue(self.answers())

    def test_clients_that_leave_before_the_answer(self):
        body = json.dumps({"windrow": {"min_offsets": {"0": 1}, "timeout_ms": 300}}).encode()
        head = b"POST /collections/points/points/count HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % len(body)
        for _ in range(100):
            with self.connect() as connection:
                connection.sendall(head + body)
        harness.wait_for(lambda: self.sockets() == 0, "every connection was given up")
        self.assertTrue(self.answers())
        self.assertEqual(self.windrow.stop(), 0, self.windrow.log()[-2000:])

    def test_overload_is_429_with_retry_after(self):
        """More waiting clients than may wait: the others are told when to come again."""
        clients = Clients(self.windrow, 300, "POST", "/points/query", FUTURE)
        harness.wait_for(lambda: 429 in clients.statuses, "somebody is sent away")
        reply = self.windrow.request("POST", f"/collections/{COLLECTION}/points/query", FUTURE)
        self.assertEqual((reply.status, reply.headers["Retry-After"]), (429, "1"))
        self.assertTrue(self.answers(), "who need not wait is answered")
        self.assertEqual(self.windrow.stop(), 0)
        # Who comes while it stops finds nobody: those are no numbers.
        self.assertLessEqual({status for status in clients.join() if isinstance(status, int)}, {429, 503})


if __name__ == "__main__":
    harness.main()
