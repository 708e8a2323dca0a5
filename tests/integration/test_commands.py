"""The commands a user types: exit status, what goes to stdout and what to stderr, and their --json."""

import json
import os
import signal
import subprocess
import sys
import time
import unittest
from pathlib import Path

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
import harness
from secured import Secured
from servers import Kafka
from service import COLLECTION, MS_PER_HOUR, Windrow

DONE, FAILED, USAGE, CONFIG = 0, 1, 64, 78
DIM = 16


def run_bare(*arguments):
    command = [harness.Environment.binary, *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def vector(number):
    return [1.0 if place == number else 0.0 for place in range(DIM)]


class WithoutService(unittest.TestCase):
    def config(self, text):
        path = os.path.join(harness.scratch_folder("config"), "windrow.yaml")
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        return path

    def test_usage_errors_end_with_64(self):
        for arguments in ((), ("no-such-command",), ("search", "--no-such-option"), ("produce",)):
            with self.subTest(arguments):
                done = run_bare(*arguments)
                self.assertEqual((done.returncode, done.stdout), (USAGE, ""))
                self.assertTrue(done.stderr)

    def test_help_is_a_result(self):
        for arguments in (("--help",), ("run", "--help"), ("produce", "--help"), ("search", "--help")):
            with self.subTest(arguments):
                done = run_bare(*arguments)
                self.assertEqual((done.returncode, done.stderr), (DONE, ""))
                self.assertIn("windrow", done.stdout)

    def test_all_configuration_errors_come_at_once_with_their_place(self):
        path = self.config(
            "kafka:\n  brokers: 127.0.0.1:9092\n  no_such_key: 1\n"
            "collections:\n  c:\n    topics: [t]\n    dim: many\n    window: 1 fortnight\n"
        )
        for command in ("check-config", "run"):
            done = run_bare(command, "-c", path)
            self.assertEqual(done.returncode, CONFIG)
            for line in (3, 7, 8):
                self.assertIn(f"{path}:{line}:", done.stderr + done.stdout)

    def test_missing_configuration_is_a_configuration_error(self):
        self.assertEqual(run_bare("run", "-c", "/no/such/file.yaml").returncode, CONFIG)

    def test_config_show_tells_value_origin_and_reload(self):
        path = self.config("kafka: {brokers: '127.0.0.1:9092'}\ncollections:\n  news:\n    dim: 2\n    ttl: 3d\n")
        done = run_bare("config", "show", "collections.news.ttl", "-c", path)
        self.assertEqual((done.returncode, done.stdout), (0, f"collections.news.ttl: 3d # {path}:5; a reload applies changes\n"))
        self.assertIn("store.memory_max_bytes: 2GiB # default; changes need a restart\n", run_bare("config", "show", "-c", path).stdout)
        wrong = run_bare("config", "show", "store.memroy_max_bytes", "-c", path)
        self.assertEqual(wrong.returncode, 64)
        self.assertIn("did you mean store.memory_max_bytes?", wrong.stderr)
        self.assertEqual(run_bare("config", "sow", "-c", path).returncode, 64)

    def test_check_config_tells_what_a_reload_would_apply(self):
        minimal = "kafka: {brokers: '127.0.0.1:9092'}\ncollections: {news: {dim: 2, ttl: %s}}\nlog: {level: %s}\nnode: %s\n"
        running, fresh = self.config(minimal % ("1d", "info", "a")), self.config(minimal % ("2d", "debug", "b"))
        done = run_bare("check-config", "-c", fresh, "--against", running)
        self.assertEqual(done.stdout.splitlines(), ["a reload applies log.level (info -> debug)", "a reload applies collections.news.ttl (1d -> 2d)",
                                                    "a restart is needed for node (a -> b)"])
        self.assertEqual(run_bare("check-config", "-c", fresh, "--against", fresh).stdout, "nothing changed\n")

    def test_check_config_compares_with_a_running_service(self):
        windrow = Secured()
        self.addCleanup(windrow.stop)
        windrow.tree["kafka"]["properties"] = {"sasl.password": "hush"}
        windrow.tree["http"] |= {"api_key_file": windrow.write("key", "whisper\n"), "read_only_key_file": windrow.write("read-key", "look\n")}
        windrow.configure(windrow.tree)
        windrow.start()
        compare = lambda: windrow.command("check-config", "--against", windrow.url)
        self.assertEqual(compare().stdout, "nothing changed, but for secrets, which are not compared\n")
        windrow.tree["kafka"]["properties"] = {"sasl.password": "louder"}
        windrow.tree["node"] = "other"
        windrow.tree["log"] = {"levels": ["store=debug"]}
        windrow.tree["collections"][COLLECTION]["ttl"] = "8d"
        windrow.tree["collections"]["more"] = {"topics": ["more"], "dim": 2}
        windrow.configure(windrow.tree)
        restart = ["a restart is needed for node (test -> other)", "a restart is needed for collections.more (added)"]
        self.assertEqual(compare().stdout.splitlines(), ["a reload applies log.levels ([] -> [\"store=debug\"])", f"a reload applies collections.{COLLECTION}.ttl (7d -> 8d)", *restart])
        windrow.hang_up()
        self.assertEqual(compare().stdout.splitlines(), restart, "the reload has applied the rest")
        shown = windrow.request("GET", "/config", headers={"api-key": "whisper"})
        self.assertEqual(shown.json()["result"]["node"], {"value": "test", "origin": f"{windrow.config_path}:2", "reloadable": False})
        for secret in (b"hush", b"louder", b"whisper", b"look\n"):
            self.assertNotIn(secret, shown.body)
        self.assertEqual(windrow.request("GET", "/config", headers={"api-key": "look"}).status, 403)
        self.assertEqual(windrow.request("GET", "/config").status, 403)

    def test_check_config_refuses_a_data_folder_that_can_be_none(self):
        path = self.config("kafka: {brokers: '127.0.0.1:9092'}\ncollections: {news: {dim: 2}}\ndata_dir: /dev/null\n")
        done = run_bare("check-config", "-c", path)
        self.assertEqual(done.returncode, 78)
        self.assertEqual(done.stderr, f"{path}:3:11: data_dir: /dev/null is not a folder (the service keeps its data there)\n")

    def test_check_config_prints_every_value_with_its_origin(self):
        path = self.config(
            "kafka: {brokers: '127.0.0.1:9092', properties: {sasl.password: hush}}\n"
            "collections:\n  c: {topics: [t], dim: 8, metric: l2, window: 1h, ttl: 2d}\n"
        )
        done = run_bare("check-config", "-c", path, "--print")
        self.assertEqual(done.returncode, DONE, done.stderr)
        self.assertIn("default", done.stdout)
        self.assertIn(f"{path}:", done.stdout)
        self.assertNotIn("hush", done.stdout)

    def test_a_collection_that_is_not_there_gets_the_nearest_name(self):
        path = self.config("kafka: {brokers: '127.0.0.1:9092'}\ncollections: {news: {dim: 2}, clicks: {dim: 2}}\n")
        for command in ("search", "produce", "status", "compact", "pause"):
            done = run_bare(command, "-c", path, "-C", "nwes", *(["--vector", "[1, 0]"] if command == "search" else []))
            self.assertEqual((done.returncode, done.stdout), (USAGE, ""), command)
            self.assertIn("has no collection nwes (did you mean news?)", done.stderr, command)
        self.assertNotIn("did you mean", run_bare("status", "-c", path, "-C", "weather").stderr)

    def test_search_without_a_service_fails(self):
        port = harness.free_ports(1)[0]
        path = self.config(
            f"kafka: {{brokers: '127.0.0.1:9092'}}\nhttp: {{listen: '127.0.0.1:{port}'}}\n"
            "collections:\n  c: {topics: [t], dim: 2, metric: l2, window: 1h, ttl: 2d}\n"
        )
        done = run_bare("search", "-c", path, "-C", "c", "--vector", "[1, 0]")
        self.assertEqual((done.returncode, done.stdout), (FAILED, ""))
        self.assertIn(str(port), done.stderr)


class Crash(unittest.TestCase):
    def test_a_crash_says_in_the_log_which_signal_and_which_calls(self):
        windrow = Windrow(f"127.0.0.1:{harness.free_ports(1)[0]}").start()
        windrow.process.send_signal(signal.SIGABRT)
        self.assertEqual(windrow.process.wait(30), -signal.SIGABRT)
        head, found, calls = windrow.log().partition(" died of SIGABRT in thread ")
        self.assertTrue(found, head)
        self.assertIn("/windrow(+0x", calls)


class WithService(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.kafka = Kafka().start()
        cls.windrow = Windrow(cls.kafka.address)
        cls.windrow.start()

    @classmethod
    def tearDownClass(cls):
        stopped = cls.windrow.stop()
        cls.kafka.stop()
        assert stopped == 0, cls.windrow.log()[-2000:]

    def command(self, *arguments, status=DONE, **options):
        done = self.windrow.command(*arguments, **options)
        self.assertEqual(done.returncode, status, done.stderr)
        return done

    def test_produce_search_status_delete(self):
        now_ms = int(time.time() * 1000)
        points = [{"id": n, "vector": vector(n), "payload": {"n": n}, "time_ms": now_ms} for n in range(5)]
        points.append({"id": "a name", "vector": vector(9), "payload": {"n": 9}, "time_ms": now_ms})
        lines = "".join(json.dumps(point) + "\n" for point in points)
        self.command("produce", "-C", COLLECTION, "--create-topic", "1", input=lines)
        self.windrow.wait_caught_up({"0": 6})

        found = self.command("search", "-C", COLLECTION, "--vector", json.dumps(vector(3)), "-k", "2")
        self.assertTrue(found.stdout.strip())
        reply = json.loads(self.command("search", "-C", COLLECTION, "--vector", json.dumps(vector(3)), "-k", "2", "--json").stdout)
        self.assertEqual((reply["result"]["points"][0]["id"], len(reply["result"]["points"])), (3, 2))
        self.assertEqual(reply["windrow"]["offsets"], {"0": 6})

        self.assertTrue(self.command("status").stdout.strip())
        self.assertIn(COLLECTION, json.dumps(json.loads(self.command("status", "--json").stdout)))

        self.command("produce", "-C", COLLECTION, "--delete", "3", "a name")
        self.windrow.wait_caught_up({"0": 8})
        self.assertEqual(set(self.windrow.scroll()), {0, 1, 2, 4})

    def test_threads_have_names(self):
        """Some come with the first work of their kind: records that are worth sharing out, a window that is indexed."""
        now_ms = int(time.time() * 1000)
        times = [now_ms - 3 * MS_PER_HOUR] * 100 + [now_ms]
        filler = {"text": "x" * 20_000}
        points = [{"id": 100 + n, "vector": vector(n % DIM), "payload": filler, "time_ms": t} for n, t in enumerate(times)]
        lines = "".join(json.dumps(point) + "\n" for point in points)
        self.command("produce", "-C", COLLECTION, "--create-topic", "1", input=lines)
        wanted = {"consume", "observe", "decode", "append", "flush", "compact", "index"}
        task = Path(f"/proc/{self.windrow.process.pid}/task")

        def all_there():
            missing = wanted - {path.read_text().strip() for path in task.glob("*/comm")}
            if missing:
                raise ValueError(missing, self.windrow.windows())
            return True

        harness.wait_for(all_there, f"threads named {wanted}")

    def test_produce_refuses_lines_that_are_not_points(self):
        done = self.windrow.command("produce", "-C", COLLECTION, "--create-topic", "1", input="not json\n")
        self.assertEqual(done.returncode, FAILED)
        self.assertIn("1", done.stderr)

    def test_unknown_collection_is_an_error(self):
        done = self.windrow.command("search", "-C", "other", "--vector", "[1]")
        self.assertNotEqual(done.returncode, DONE)
        self.assertIn("other", done.stderr)


if __name__ == "__main__":
    harness.main()
