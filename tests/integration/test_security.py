"""Who may use the endpoint, as operators set it up: keys and their rotation, with the commands and with requests."""

import json
import os
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
import harness
from secured import Secured
from service import COLLECTION

READ = ("POST", f"/collections/{COLLECTION}/points/count", {})
WRITE = ("PUT", f"/collections/{COLLECTION}/points", {})
CONTROL = ("POST", "/clock/trust", {})
INTERNAL = ("POST", "/internal/segment", {})


class Keys(unittest.TestCase):
    def setUp(self):
        self.windrow = Secured()
        names = {"api_key_file": "chief # alice\n", "read_only_key_file": "reader\n", "internal_key_file": "node\nbackup # nightly\n"}
        self.windrow.tree["http"] |= {name: self.windrow.write(name, text) for name, text in names.items()}
        self.windrow.configure(self.windrow.tree)

    def tearDown(self):
        self.windrow.stop()

    def test_each_key_opens_its_routes(self):
        self.windrow.start()
        refused = 403
        for key, statuses in {
            # A count is answered, the points lack, the clock is trusted, a parameter lacks.
            "chief": (200, 400, 200, 400),
            "reader": (200, refused, refused, refused),
            "node": (200, refused, 200, 400),
            "backup": (200, refused, 200, 400),
            "guess": (refused,) * 4,
            None: (refused,) * 4,
        }.items():
            with self.subTest(key):
                self.assertEqual(tuple(self.windrow.status_of(request, key) for request in (READ, WRITE, CONTROL, INTERNAL)), statuses)
        self.assertEqual(self.windrow.command("trust-clock").returncode, 0)
        self.assertIn("wrong API key, the last one from 127.0.0.1", harness.wait_for(lambda: "wrong API key" in self.windrow.log() and self.windrow.log(), "it is logged"))
        for key in ("chief", "reader", "backup", "guess"):
            self.assertNotIn(key, self.windrow.log())

    def test_dashboard_and_metrics_are_open_where_the_config_says_so(self):
        page = ("GET", "/", None)
        self.windrow.start()
        for path in ("/", "/dashboard.js", "/dashboard.css"):
            self.assertEqual(self.windrow.status_of(("GET", path, None)), 200)
        for path in ("/metrics", "/status", "/openapi.json"):
            self.assertEqual(self.windrow.status_of(("GET", path, None)), 403)
        self.windrow.stop()
        self.windrow.tree["http"]["open_routes"] = ["metrics"]
        self.windrow.configure(self.windrow.tree)
        self.windrow.start()
        self.assertEqual([self.windrow.status_of(request) for request in (("GET", "/metrics", None), page)], [200, 403])
        self.assertEqual(self.windrow.status_of(page, "reader"), 200)
        paths = self.windrow.request("GET", "/openapi.json", headers={"api-key": "reader"}).json()["paths"]
        self.assertEqual([path for path in ("/", "/metrics", "/livez", "/status") if paths[path]["get"].get("security") == []], ["/metrics", "/livez"])

    def test_keys_are_rotated_by_reloads(self):
        self.windrow.start()
        self.windrow.write("api_key_file", "chief\nsuccessor\n")
        self.windrow.hang_up()
        self.assertEqual([self.windrow.status_of(READ, key) for key in ("chief", "successor")], [200, 200])
        self.windrow.write("api_key_file", "successor\n")
        self.windrow.hang_up()
        self.assertEqual([self.windrow.status_of(READ, key) for key in ("chief", "successor")], [403, 200])
        del self.windrow.tree["http"]["read_only_key_file"]
        self.windrow.configure(self.windrow.tree)
        self.windrow.hang_up()
        self.assertEqual([self.windrow.status_of(READ, key) for key in ("reader", "successor")], [403, 200])

    def test_a_reload_does_not_open_the_service(self):
        self.windrow.start()
        for name in ("api_key_file", "read_only_key_file", "internal_key_file"):
            del self.windrow.tree["http"][name]
        self.windrow.configure(self.windrow.tree)
        self.assertIn("the API keys stay in force until a restart", self.windrow.hang_up())
        self.assertEqual([self.windrow.status_of(READ, key) for key in (None, "chief")], [403, 200])
        self.windrow.tree["http"]["api_key_file"] = self.windrow.write("api_key_file", "successor\n", mode=0o644)
        self.windrow.configure(self.windrow.tree)
        self.assertIn("mode 0644", self.windrow.hang_up())
        self.assertEqual([self.windrow.status_of(READ, key) for key in ("successor", "chief")], [403, 200])

    def test_key_file_that_every_user_may_read_is_refused(self):
        os.chmod(self.windrow.path("internal_key_file"), 0o644)
        for command in ("run", "check-config"):
            done = self.windrow.command(command)
            self.assertEqual(done.returncode, 78)
            self.assertIn(f"http.internal_key_file: every user may read or write {self.windrow.path('internal_key_file')} (mode 0644", done.stdout + done.stderr)


class Audit(unittest.TestCase):
    def setUp(self):
        self.windrow = Secured()
        self.windrow.tree["http"] |= {name: self.windrow.write(name, text) for name, text in {"api_key_file": "chief # alice\n", "read_only_key_file": "reader\n"}.items()}
        self.path = self.windrow.path("audit.log")
        self.windrow.tree["log"] = {"audit_file": self.path, "audit_max_bytes": "64KiB"}
        self.windrow.configure(self.windrow.tree)
        self.addCleanup(self.windrow.stop)
        self.windrow.start()

    def events(self, path=None):
        with open(path or self.path, encoding="utf-8") as lines:
            return [json.loads(line) for line in lines]

    def test_writes_and_commands_have_a_line_each_and_reads_none(self):
        long = f"/collections/{'x' * 3000}/points"
        for request, key in ((READ, "chief"), (WRITE, "guess"), (WRITE, None), (WRITE, "chief"), (WRITE, "reader"), (CONTROL, "chief"), (("PUT", long, {}), "chief")):
            self.windrow.status_of(request, key)
        self.windrow.request("POST", CONTROL[1], {}, headers={"api-key": "chief", "X-Forwarded-For": '10.1.1.1", "who": "x'})
        found = [(event["who"], event["from"], event["method"], event["path"], event["status"]) for event in self.events()]
        self.assertEqual(found, [
            ("admin:alice", "127.0.0.1", "PUT", WRITE[1], 400),
            ("read-only", "127.0.0.1", "PUT", WRITE[1], 403),
            ("admin:alice", "127.0.0.1", "POST", CONTROL[1], 200),
            ("admin:alice", "127.0.0.1", "PUT", long[:500], 404),
            ("admin:alice", "127.0.0.1", "POST", CONTROL[1], 200),
        ])
        self.assertEqual(self.events()[-1]["forwarded_for"], '10.1.1.1", "who": "x')
        with open(self.path, encoding="utf-8") as file:
            text = file.read()
        for key in ("chief", "reader", "guess"):
            self.assertNotIn(key, text)
        self.assertEqual(os.stat(self.path).st_mode & 0o777, 0o600)

    def test_the_file_is_bounded_and_may_be_moved(self):
        most = 64 * 1024
        while not os.path.exists(f"{self.path}.1"):
            self.windrow.status_of(CONTROL, "chief")
        for path in (self.path, f"{self.path}.1"):
            self.assertLessEqual(os.path.getsize(path), most)
        self.assertGreater(len(self.events(f"{self.path}.1")), 100)
        os.rename(self.path, f"{self.path}.moved")
        self.windrow.hang_up()
        self.windrow.status_of(CONTROL, "chief")
        self.assertEqual(len(self.events()), 1)

    def test_a_full_disk_is_counted_and_holds_nobody_up(self):
        self.windrow.stop()
        self.windrow.tree["log"]["audit_file"] = "/dev/full"
        self.windrow.configure(self.windrow.tree)
        self.windrow.start()
        self.assertEqual(self.windrow.status_of(CONTROL, "chief"), 200)
        metrics = self.windrow.request("GET", "/metrics", headers={"api-key": "chief"}).body.decode()
        self.assertIn("\nwindrow_audit_failures_total 1\n", metrics)
        self.assertIn("log.audit_file: write /dev/full: No space left on device", self.windrow.log())

    def test_a_file_that_cannot_be_opened_ends_the_start(self):
        self.windrow.stop()
        self.windrow.tree["log"]["audit_file"] = "/no/such/folder/audit.log"
        self.windrow.configure(self.windrow.tree)
        done = self.windrow.command("run")
        self.assertEqual(done.returncode, 1)
        self.assertIn("log.audit_file: /no/such/folder/audit.log: No such file or directory", done.stderr)


if __name__ == "__main__":
    harness.main()
