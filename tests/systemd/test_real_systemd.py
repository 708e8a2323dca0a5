"""The units under a real systemd 252: started, watched, reloaded, stopped, and left alone after a configuration error; an
instance with a credential, and backups.

  test_real_systemd.py WINDROW_BINARY BUILD_FOLDER

Needs root and a kernel that lets systemd be PID 1 of private namespaces; skipped with the reason elsewhere.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
import unittest
import urllib.request

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
import harness
from installed import install
from servers import Kafka, Nats
from service import COLLECTION, TOPIC, Windrow, configuration

BUILD_FOLDER = sys.argv[2]
del sys.argv[2]
HERE = os.path.dirname(os.path.abspath(__file__))
STOCK_FOLDER = "/lib/systemd/system"
STOCK_UNITS = [
    *(f"{name}.target" for name in (
        "sysinit", "basic", "shutdown", "umount", "final", "sockets", "timers", "paths", "slices", "local-fs", "exit")),
    "systemd-exit.service",
]
UNITS = ("windrow.service", "windrow@.service", "windrow-backup.service")
HIERARCHIES = ("systemd", "memory", "pids", "unified")
# The ordering keeps the stopped unit, and with it the status of its last process, in systemd's memory.
TEST_TARGET = """[Unit]
Requires=basic.target
After=basic.target windrow.service windrow@two.service windrow-backup.service
"""
# Seconds instead of half a minute, a log file instead of the journal, which does not run here. The leak checker of a
# sanitizer build needs ptrace, which the unit forbids; the other tests have it.
DROP_IN = """[Service]
Environment=ASAN_OPTIONS=detect_leaks=0
StandardOutput=append:{log}
StandardError=append:{log}
"""
WATCHDOG = """WatchdogSec=4s
RestartSec=200ms
"""
CREDENTIAL = """[Service]
LoadCredential=api-key:/etc/windrow/two-key
"""


def require_private_systemd():
    if os.geteuid() != 0:
        raise unittest.SkipTest("needs root to start a systemd of its own")
    harness.require_programs("unshare", "nsenter", "systemctl")
    missing = [f"/sys/fs/cgroup/{name}" for name in HIERARCHIES if not os.path.isdir(f"/sys/fs/cgroup/{name}")]
    missing += [path for path in ("/lib/systemd/systemd", STOCK_FOLDER) if not os.path.exists(path)]
    if missing:
        raise unittest.SkipTest(f"not on this machine: {', '.join(missing)}")
    probe = subprocess.run(
        ["unshare", "--mount", "--pid", "--fork", "--cgroup", "--propagation", "private", "mount", "-t", "tmpfs", "none", "/run"],
        capture_output=True, text=True, check=False,
    )
    if probe.returncode != 0:
        raise unittest.SkipTest(f"the kernel says no to private namespaces: {probe.stderr.strip()}")


class PrivateSystemd:
    """A systemd with the unit, a configuration in its /etc/windrow, and nothing else of this machine's services."""

    def __init__(self, config_text):
        self.folder = harness.scratch_folder("systemd")
        self.name = f"windrow-test-{os.getpid()}-{os.path.basename(self.folder)}"
        self.log_path = os.path.join(self.folder, "unit.log")
        self.console_path = os.path.join(self.folder, "console.log")
        self.units = os.path.join(self.folder, "units")
        self.etc = os.path.join(self.folder, "etc")
        self.process, self.init_pid = None, None
        os.makedirs(self.units)
        os.makedirs(os.path.join(self.etc, "windrow"))
        os.chmod(self.folder, 0o755)
        for name in STOCK_UNITS:
            shutil.copy(os.path.join(STOCK_FOLDER, name), self.units)
        self.write("units/test.target", TEST_TARGET)
        self.write("etc/default/windrow", "WINDROW_BACKUP_KEEP=2\n")
        for name in UNITS:
            watchdog = "" if "backup" in name else WATCHDOG
            self.write(f"units/{name}.d/test.conf", DROP_IN.format(log=self.log_path) + watchdog)
        self.write("etc/windrow/windrow.yaml", config_text)
        # The units' sandbox hides /home, /root and /tmp, where a checkout may be: programs go where it sees them.
        installed = install(BUILD_FOLDER) + "/usr"
        shutil.copy(f"{installed}/bin/windrow", os.path.join(self.etc, "windrow", "program"))
        shutil.copy(f"{installed}/libexec/windrow/backup", os.path.join(self.etc, "windrow", "backup"))
        shutil.copytree(f"{installed}/lib/sysusers.d", os.path.join(self.etc, "sysusers.d"))
        for name in UNITS:
            with open(f"{installed}/lib/systemd/system/{name}", encoding="utf-8") as file:
                text = file.read().replace("/usr/libexec/windrow/backup", "/etc/windrow/backup")
            self.write(f"units/{name}", text.replace("/usr/bin/windrow", "/etc/windrow/program"))

    def write(self, path, text):
        os.makedirs(os.path.dirname(os.path.join(self.folder, path)), exist_ok=True)
        with open(os.path.join(self.folder, path), "w", encoding="utf-8") as file:
            file.write(text)

    def boot(self):
        with open(self.console_path, "ab") as console:
            self.process = subprocess.Popen(
                ["bash", os.path.join(HERE, "boot_systemd.sh"), self.name, self.units, self.etc],
                stdin=subprocess.DEVNULL, stdout=console, stderr=console,
            )
        self.init_pid = harness.wait_for(self.find_init, f"systemd is PID 1 of its namespace; see {self.console_path}", 20)
        harness.wait_for(lambda: self.systemctl("is-active", "test.target").returncode == 0, "test.target is reached", 30)

    def find_init(self):
        """unshare's only child, once it has become systemd."""
        if self.process.poll() is not None:
            with open(self.console_path, encoding="utf-8", errors="replace") as console:
                raise AssertionError(f"no systemd: {console.read()[-2000:]}")
        with open(f"/proc/{self.process.pid}/task/{self.process.pid}/children", encoding="ascii") as file:
            children = file.read().split()
        if not children:
            return None
        with open(f"/proc/{children[0]}/comm", encoding="utf-8") as file:
            return int(children[0]) if file.read().strip() == "systemd" else None

    def systemctl(self, *arguments):
        inside = ["nsenter", "-t", str(self.init_pid), "-m", "-p", "-u", "-i", "-C"]
        return subprocess.run([*inside, "systemctl", *arguments], capture_output=True, text=True, timeout=60, check=False)

    def inside(self, *command):
        return subprocess.run(
            ["nsenter", "-t", str(self.init_pid), "-m", "-p", *command], capture_output=True, text=True, timeout=60, check=False
        )

    def show(self, *names, unit="windrow"):
        lines = self.systemctl("show", unit, *(part for name in names for part in ("-p", name))).stdout.splitlines()
        return dict(line.split("=", 1) for line in lines)

    def log(self):
        if not os.path.exists(self.log_path):
            return ""
        with open(self.log_path, encoding="utf-8", errors="replace") as file:
            return file.read()

    def shut_down(self):
        if self.process is None:
            return
        if self.init_pid and self.process.poll() is None:
            os.kill(self.init_pid, signal.SIGRTMIN + 14)
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        for hierarchy in HIERARCHIES:
            for folder, _, _ in os.walk(f"/sys/fs/cgroup/{hierarchy}/{self.name}", topdown=False):
                harness.wait_for(lambda folder=folder: os.rmdir(folder) is None, f"{folder} is empty", 10)


class RealSystemd(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        require_private_systemd()

    def setUp(self):
        self.port = harness.free_ports(1)[0]
        self.systemd, self.servers = None, []

    def tearDown(self):
        if self.systemd:
            self.systemd.shut_down()
        for server in self.servers:
            server.stop()

    def boot(self, kafka, nats=None):
        tree = configuration("", self.port, kafka, nats)
        tree["data_dir"] = "/var/lib/windrow/data"
        self.systemd = PrivateSystemd(json.dumps(tree, indent=2))
        self.systemd.boot()

    def start_unit(self):
        done = self.systemd.systemctl("start", "windrow")
        self.assertEqual(done.returncode, 0, f"{done.stderr}\n{self.systemd.log()[-3000:]}\n{self.systemd.show('Result', 'ExecMainStatus')}")

    def assert_active(self):
        shown = self.systemd.show("ActiveState", "SubState", "Type", "MainPID", "NRestarts")
        self.assertEqual((shown["Type"], shown["ActiveState"], shown["SubState"]), ("notify", "active", "running"))
        return shown

    def status(self, path, key=None):
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", headers={"api-key": key} if key else {})
        try:
            with urllib.request.urlopen(request, timeout=30) as response:
                return response.status
        except urllib.error.HTTPError as error:
            error.close()
            return error.code

    def test_becomes_active_without_kafka_then_is_reloaded_watched_and_stopped(self):
        self.boot(f"127.0.0.1:{harness.free_ports(1)[0]}")
        self.start_unit()
        before = self.assert_active()
        self.assertEqual((self.status("/livez"), self.status("/readyz")), (200, 503))
        self.check_state_folder()

        self.assertEqual(self.systemd.systemctl("reload", "windrow").returncode, 0)
        harness.wait_for(lambda: "reloaded " in self.systemd.log(), "the reload is logged")
        harness.wait_for(lambda: self.systemd.show("ActiveState")["ActiveState"] == "active", "it is active, not reloading")
        after = self.assert_active()
        self.assertEqual((after["MainPID"], after["NRestarts"]), (before["MainPID"], "0"))
        # What is waited for must not happen: longer than the watchdog's time it is fed, or this would be another process.
        time.sleep(6)
        self.assertEqual(self.assert_active()["MainPID"], before["MainPID"])

        self.check_watchdog_restarts_a_hung_process(before["MainPID"])
        self.check_clean_stop()

    def check_state_folder(self):
        found = self.systemd.inside("stat", "-L", "-c", "%a %U", "/var/lib/windrow").stdout.split()
        self.assertEqual(found, ["700", "windrow"])

    def check_watchdog_restarts_a_hung_process(self, pid):
        self.assertEqual(self.systemd.systemctl("kill", "--kill-who=main", "-s", "STOP", "windrow").returncode, 0)

        def restarted():
            shown = self.systemd.show("MainPID", "NRestarts", "ActiveState")
            return shown["NRestarts"] == "1" and shown["ActiveState"] == "active" and shown["MainPID"] not in ("0", pid)

        harness.wait_for(restarted, "the watchdog kills the hung process and another one is ready", 60)
        self.assertEqual(self.status("/livez"), 200)

    def check_clean_stop(self):
        self.assertEqual(self.systemd.systemctl("stop", "windrow").returncode, 0)
        shown = self.systemd.show("ActiveState", "Result", "ExecMainCode", "ExecMainStatus")
        self.assertEqual(
            shown, {"ActiveState": "inactive", "Result": "success", "ExecMainCode": "1", "ExecMainStatus": "0"}, self.systemd.log()[-2000:]
        )

    def test_works_inside_its_sandbox_with_a_real_broker_and_queue(self):
        kafka, nats = Kafka().start(), Nats().start()
        self.servers = [nats, kafka]
        outside = Windrow(kafka.address, nats.url)
        outside.create_topic(1)
        now_ms = int(time.time() * 1000)
        value = {"id": 1, "vector": [0.5] * 16, "payload": {"from": "outside"}, "time_ms": now_ms}
        kafka.produce(TOPIC, [("1", json.dumps(value))])
        self.boot(kafka.address, nats.url)
        self.start_unit()
        harness.wait_for(lambda: self.status("/readyz") == 200, f"ready; log: {self.systemd.log_path}", 60)
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}/collections/{COLLECTION}/points/scroll",
            data=b'{"limit": 10}', headers={"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=10) as response:
            points = json.load(response)["result"]["points"]
        self.assertEqual([(point["id"], point["payload"]) for point in points], [(1, {"from": "outside"})])
        self.check_backups()
        self.check_clean_stop()

    def check_backups(self):
        """As many as are kept, each one whole: by the service while it runs."""
        folder = "/var/lib/windrow/backups"
        names = []
        for _ in range(3):
            done = self.systemd.systemctl("start", "windrow-backup")
            self.assertEqual(done.returncode, 0, self.systemd.log()[-2000:])
            made = self.systemd.inside("ls", folder).stdout.split()[-1]
            names.append(made)
            self.assertEqual(self.systemd.inside("test", "-f", f"{folder}/{made}/BACKUP").returncode, 0)
            # The name is the time in seconds.
            harness.wait_for(lambda made=made: time.strftime("%Y%m%dT%H%M%SZ", time.gmtime()) > made, "another second")
        self.assertEqual(self.systemd.inside("ls", folder).stdout.split(), names[-2:])

    def test_an_instance_has_its_own_config_folder_and_credential(self):
        tree = configuration("", self.port, f"127.0.0.1:{harness.free_ports(1)[0]}")
        tree["data_dir"] = "/var/lib/windrow-two/data"
        tree["http"]["api_key_file"] = "/run/credentials/windrow@two.service/api-key"
        self.systemd = PrivateSystemd("the other one's\n")
        self.systemd.write("etc/windrow/two.yaml", json.dumps(tree))
        self.systemd.write("etc/windrow/two-key", "open-sesame\n")
        os.chmod(os.path.join(self.systemd.etc, "windrow", "two-key"), 0o600)
        self.systemd.write("units/windrow@two.service.d/credential.conf", CREDENTIAL)
        self.systemd.boot()
        done = self.systemd.systemctl("start", "windrow@two")
        self.assertEqual(done.returncode, 0, f"{done.stderr}\n{self.systemd.log()[-3000:]}")
        self.assertEqual((self.status("/collections"), self.status("/collections", "open-sesame")), (403, 200))
        found = self.systemd.inside("stat", "-L", "-c", "%a %U", "/var/lib/windrow-two").stdout.split()
        self.assertEqual(found, ["700", "windrow"])
        self.assertEqual(self.systemd.systemctl("stop", "windrow@two").returncode, 0)
        self.assertEqual(self.systemd.show("Result", unit="windrow@two")["Result"], "success")

    def test_configuration_error_is_not_restarted(self):
        self.systemd = PrivateSystemd("no_such_key: 1\n")
        self.systemd.boot()
        self.assertNotEqual(self.systemd.systemctl("start", "windrow").returncode, 0)
        # A unit that will be started again is "activating".
        harness.wait_for(lambda: self.systemd.show("ActiveState")["ActiveState"] == "failed", "it is left as it ended")
        shown = self.systemd.show("ActiveState", "Result", "ExecMainStatus", "NRestarts")
        self.assertEqual(
            shown, {"ActiveState": "failed", "Result": "exit-code", "ExecMainStatus": "78", "NRestarts": "0"}, self.systemd.log()[-2000:]
        )


if __name__ == "__main__":
    harness.main()
