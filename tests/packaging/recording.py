"""Records what an operator sees from the first installation to the purge, as plain text: docs/operating-session.txt. All of it runs: the package in
a Debian that has never seen windrow, a broker, Prometheus with the rules that the package brings, and the dashboard in a browser.

  recording.py WINDROW_BINARY BUILD_FOLDER    writes it; test_recording.py compares the commands

Needs what test_clean_root.py and test_alert.py need.
"""

import json
import os
import re
import shutil
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
import browser
import harness
from clean_root import make_root
from installed import package, run
from prometheus import Prometheus
from servers import Kafka, Server

PAGE = os.path.join(harness.ROOT, "docs", "operating-session.txt")
HEAD = """An operator's session with windrow: install, start, feed, look, an alert and its end, upgrade, purge.

Made by `tests/packaging/recording.py` from one real run; a test runs it again and compares the commands. The root is a fresh Debian. It has
no systemd, so the service is started as its unit does it. The older package is this release under an earlier version number. Ports
are shown as they are by default.
"""
CONFIG = """node: n1
data_dir: /var/lib/windrow/data
kafka: {{brokers: "{kafka}", dead_letters: ~}} # a bad record stops its partition
http: {{listen: "127.0.0.1:{port}"}}
collections:
  news: {{topics: [news], dim: 4, window: 6h, ttl: 7d}}
"""
ROWS = "".join(json.dumps({"id": n, "vector": [1, n % 5, n % 3, 1], "payload": {"title": f"Story {n}"}}) + "\n" for n in range(1, 501))
ALERT = "WindrowPartitionStopped"


class Service(Server):
    """The installed program in the root, as the unit starts it."""

    def __init__(self, session):
        super().__init__(harness.scratch_folder("service"))
        self.session = session

    def start(self):
        self.spawn(self.session.entering("setpriv", "--reuid=windrow", "--regid=windrow", "--clear-groups", "windrow", "run"))
        self.wait_ready(lambda: self.session.quiet("windrow", "status").returncode == 0, 60)

    def stop(self, timeout_s=60):
        """The program inside, not who entered the root."""
        if self.alive():
            subprocess.run(["pkill", "-TERM", "-P", str(self.process.pid)], check=False)
            self.process.wait(timeout_s)


class Session:
    def __init__(self, build_folder):
        self.deb = package(build_folder)
        self.kafka = Kafka().start()
        self.port = harness.free_ports(1)[0]
        self.root = make_root(self.deb)
        self.lines = [HEAD]
        self.prometheus = None
        self.service = Service(self)

    # What is shown.

    def scrub(self, text):
        ports = {self.kafka.port: 9092, self.port: 6333, **({self.prometheus.port: 9090} if self.prometheus else {})}
        for port, shown in ports.items():
            text = re.sub(rf"(?<=:){port}\b", str(shown), text)
        return text.replace(self.root, "")

    def heading(self, text):
        self.lines.append(f"\n== {text} ==\n")

    def shown(self, command, output):
        self.lines.append(self.scrub(f"$ {command}\n{output}".rstrip() + "\n"))

    # What is done.

    def entering(self, *command):
        enter = 'mount -t proc proc "$1/proc" && exec chroot "$1" /usr/bin/env -i HOME=/root LC_ALL=C PATH=/usr/sbin:/usr/bin:/sbin:/bin "${@:2}"'
        return ["unshare", "--mount", "--pid", "--fork", "--kill-child", "bash", "-c", enter, "bash", self.root, *command]

    def quiet(self, *command):
        return subprocess.run(self.entering(*command), capture_output=True, text=True, timeout=300, check=False)

    def type(self, command, status=0):
        """In a shell of the root; both streams, as a terminal has them."""
        done = self.quiet("bash", "-c", f"exec 2>&1; cd /root; {command}")
        if done.returncode != status:
            raise AssertionError(f"{command}: status {done.returncode}\n{done.stdout}")
        self.shown(command, done.stdout)
        return done.stdout

    def write(self, path, text):
        with open(self.root + path, "w", encoding="utf-8") as file:
            file.write(text)

    def debs(self):
        """The package, and the same one as an earlier release, in /root."""
        new = run("dpkg-deb", "-f", self.deb, "Version").strip()
        folder = os.path.join(harness.scratch_folder("older"), "tree")
        run("dpkg-deb", "-R", self.deb, folder)
        run("sed", "-i", "s/^Version: .*/Version: 0.1.9-1/", os.path.join(folder, "DEBIAN", "control"))
        run("dpkg-deb", "--root-owner-group", "-b", folder, f"{self.root}/root/windrow_0.1.9-1.deb")
        shutil.copy(self.deb, f"{self.root}/root/windrow_{new}.deb")
        return new

    def wait_status(self, pattern, what):
        harness.wait_for(lambda: re.search(pattern, self.quiet("windrow", "status").stdout), what, 60)

    # The session.

    def install(self):
        self.heading("Install")
        self.type("dpkg -i windrow_0.1.9-1.deb | grep -v Reading")
        self.write("/etc/windrow/windrow.yaml", CONFIG.format(kafka=self.kafka.address, port=self.port))
        self.type("cat /etc/windrow/windrow.yaml")
        self.type("windrow check-config")

    def feed(self):
        self.heading("Start and feed")
        self.service.start()
        self.shown("setpriv --reuid=windrow --regid=windrow --clear-groups windrow run &", "")
        self.write("/root/news.jsonl", ROWS)
        self.type("head -2 news.jsonl")
        self.type("windrow produce -C news --create-topic 1 /dev/null")
        self.type("windrow produce -C news news.jsonl")
        self.wait_status(r"next offset 500, lag 0", "all is read")
        self.type("windrow search -C news --like 7 -k 3")

    def look(self):
        self.heading("Look: the terminal and the dashboard")
        self.type("windrow status")
        page = browser.Browser().start()
        page.open(f"http://127.0.0.1:{self.port}/")
        page.wait("return $('ready').textContent === 'ready' && document.querySelectorAll('.chart').length > 0 && $('windows-summary').textContent", "the page")
        text = page.run("return ['node', 'ready', 'numbers', 'windows-summary'].map(id => $(id)).filter(Boolean).map(element => element.innerText.replace(/\\n+/g, ' ')).join('\\n')"
                        " + '\\n' + [...document.querySelectorAll('.chart h3')].map(element => element.innerText.replace(/\\n+/g, ': ')).join('\\n')")
        page.stop()
        self.shown("chromium http://127.0.0.1:6333/    # the texts of the page", text)

    def alert(self):
        self.heading("An alert fires")
        self.prometheus = Prometheus(f"127.0.0.1:{self.port}", rules=f"{self.root}/usr/share/windrow/prometheus/windrow.rules.yml").start()
        self.kafka.produce("news", [("bad", "this is text, and not a record")])
        self.shown("echo 'this is text, and not a record' | kcat -b 127.0.0.1:9092 -P -t news -k bad    # on another machine", "")
        told = harness.wait_for(lambda: self.prometheus.firing().get(ALERT), "the alert fires")
        ask = "curl -s http://127.0.0.1:9090/api/v1/alerts | jq '.data.alerts[] | select(.state == \"firing\") | .labels.alertname, .annotations'"
        self.shown(ask, json.dumps(ALERT) + "\n" + json.dumps(told, indent=2))
        path = told["runbook_url"].removeprefix("file://").partition("#")[0]
        self.type(f"sed -n '/^### {ALERT}/,/^### WindrowPartitionWaiting/p' {path} | head -n -1")
        self.type(f"sed -n '/^..A partition stopped/,/^..Pausing/p' {path} | head -n -1")
        self.heading("Its runbook ends it")
        self.type("windrow status")
        self.type("windrow resume -C news --shard 0 --skip")
        harness.wait_for(lambda: ALERT not in self.prometheus.firing(), "the alert is resolved")
        self.shown(ask, "")
        self.wait_status(r"next offset 501, lag 0", "reading goes on")
        self.prometheus.stop()

    def upgrade(self, version):
        self.heading("Upgrade")
        self.service.stop()
        self.shown("kill %1; wait", "")
        self.type(f"dpkg -i --force-confold windrow_{version}.deb | grep -v Reading")
        self.service.start()
        self.shown("setpriv --reuid=windrow --regid=windrow --clear-groups windrow run &", "")
        self.wait_status(r"next offset 501, lag 0", "it goes on where it was")
        self.type("windrow --version")
        self.type("windrow search -C news --like 7 -k 3")

    def purge(self):
        self.heading("Purge")
        self.service.stop()
        self.shown("kill %1; wait", "")
        self.type("dpkg -P windrow | grep -v Reading")
        self.type("ls -d /etc/windrow /var/lib/windrow /usr/bin/windrow", status=2)

    def record(self):
        try:
            version = self.debs()
            for step in (self.install, self.feed, self.look, self.alert):
                step()
            self.upgrade(version)
            self.purge()
        finally:
            self.service.stop()
            if self.prometheus:
                self.prometheus.stop()
            self.kafka.stop()
            shutil.rmtree(self.root, ignore_errors=True)
        return re.sub("\n{3,}", "\n\n", "\n".join(self.lines)) # one empty line between parts


if __name__ == "__main__":
    harness.set_up(sys.argv[1])
    text = Session(sys.argv[2]).record()
    with open(PAGE, "w", encoding="utf-8") as page:
        page.write(text)
