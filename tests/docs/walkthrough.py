"""A page of the docs as a reader follows it: files are written, commands run one after the other, and what they print holds
what the page says.

    ```LANGUAGE NAME     a file; ```sh runs at once; ```sh background goes on until the end; ```sh setup is left out, because it
                         installs what the test brings; ```sh with:PROGRAM is left out where there is no such program
    <!-- expect: TEXT -->   behind a block: TEXT is in what it prints; it runs again until it is, for what takes a moment
    <!-- test: COMMAND -->  for the test alone, unseen by readers: what they do by hand; `test background:` goes on
"""

import os
import re
import shutil
import subprocess
import sys
import time

import harness
from servers import Server

PORTS = ("9092", "9093", "6333", "6334", "8080", "8083", "5432")
BLOCK = re.compile(r"^```(\w+)(?: (\S+))?\n(.*?)^```(?:\n<!-- expect: (.*?) -->)?|^<!-- test( background)?: (.*?) -->", re.M | re.S)


def read(page):
    with open(os.path.join(harness.ROOT, page), encoding="utf-8") as file:
        return file.read()


class Background(Server):
    def __init__(self, folder, name, text, environment):
        super().__init__(folder)
        self.log_path = os.path.join(folder, f"{name}.log")
        self.environment = environment
        self.spawn(["bash", "-c", f"cd '{folder}' && exec {text}"])


class Walkthrough:
    """PORTS are those of the page that other ones take the place of: {"9092": 40001}."""

    def __init__(self, test, page, ports=None, **variables):
        self.test = test
        self.page = page
        self.folder = harness.scratch_folder("page")
        self.ports = dict(zip(PORTS, map(str, harness.free_ports(len(PORTS))))) | {name: str(port) for name, port in (ports or {}).items()}
        programs = f"{os.path.dirname(harness.Environment.binary)}:{os.path.dirname(sys.executable)}"
        self.environment = {**os.environ, "WINDROW": harness.ROOT, **variables}
        self.environment["PATH"] = f"{programs}:{self.environment['PATH']}"
        self.count = 0

    def run(self):
        """Returns how many commands ran."""
        text = re.sub(rf"\b({'|'.join(self.ports)})\b", lambda port: self.ports[port.group(1)], read(self.page))
        fixed = set(re.findall(r"\b(?:127\.0\.0\.1|localhost):(\d+)", text)) - set(self.ports.values())
        self.test.assertFalse(fixed, f"{self.page}: ports that other programs of this machine may hold; add them to PORTS")
        for language, name, body, expected, background, unseen in BLOCK.findall(text):
            if name == "setup" or (name.startswith("with:") and not shutil.which(name.removeprefix("with:"))):
                continue
            if unseen or language == "sh":
                self.count += 1
                self.command(unseen or body, name == "background" or background, expected)
            elif name:
                with open(os.path.join(self.folder, name), "w", encoding="utf-8") as file:
                    file.write(body)
        return self.count

    def command(self, body, background, expected):
        if background:
            server = Background(self.folder, f"background-{self.count}", body, self.environment)
            self.test.addCleanup(server.stop)
            return
        deadline = time.monotonic() + 180
        while True:
            done = subprocess.run(["bash", "-eu", "-o", "pipefail", "-c", body], cwd=self.folder, env=self.environment, stdin=subprocess.DEVNULL,
                                  capture_output=True, text=True, timeout=300, check=False)
            if (done.returncode == 0 and expected in done.stdout) or not expected or time.monotonic() > deadline:
                break
            time.sleep(0.2)
        said = f"{self.page}: {body}\n{done.stdout}{done.stderr}"
        self.test.assertEqual(done.returncode, 0, said + self.logs())
        self.test.assertIn(expected, done.stdout, said + self.logs())

    def logs(self):
        parts = []
        for name in sorted(os.listdir(self.folder)):
            if name.startswith("background-"):
                with open(os.path.join(self.folder, name), encoding="utf-8", errors="replace") as file:
                    parts.append(f"\n{name}:\n{file.read()[-3000:]}")
        return "".join(parts)
