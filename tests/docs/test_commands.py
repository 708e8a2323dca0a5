"""What the README, the HTTP page and the pages for operators tell people to type, as it is written there.

  test_commands.py WINDROW_BINARY
"""

import json
import os
import re
import subprocess
import sys
import time
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
import harness
import service
from kafka_client import Sender
from servers import Server
from service import COLLECTION, DEAD_LETTERS, TOPIC
from walkthrough import read

DIM = 16
ROWS = 40
# Kafka's own tool is not among what tests fetch; this one takes the options that the pages use.
KAFKA_TOPICS = f"""#!{sys.executable}
import argparse
from confluent_kafka.admin import AdminClient, NewPartitions
options = argparse.ArgumentParser()
options.add_argument("--bootstrap-server", required=True)
options.add_argument("--alter", action="store_true", required=True)
options.add_argument("--topic", required=True)
options.add_argument("--partitions", type=int, required=True)
given = options.parse_args()
admin = AdminClient({{"bootstrap.servers": given.bootstrap_server}})
admin.create_partitions([NewPartitions(given.topic, given.partitions)])[given.topic].result(60)
"""


def indented(page, *words):
    """The blocks of indented code of PAGE in which each of WORDS stands."""
    blocks = re.findall(r"(?:^    .*\n)(?:(?:^    .*\n|^\n)*(?:^    .*\n))?", read(page), re.M)
    return ["".join(line[4:] or "\n" for line in block.splitlines(True)) for block in blocks if all(word in block for word in words)]


def shell(command, folder, **variables):
    path = f"{os.path.dirname(harness.Environment.binary)}:{folder}:{os.environ['PATH']}"
    done = subprocess.run(["bash", "-eu", "-o", "pipefail", "-c", command], cwd=folder, env={**os.environ, "PATH": path, **variables},
                          stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120, check=False)
    if done.returncode != 0:
        raise AssertionError(f"{command}: {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout + done.stderr


def hits(text):
    """(rank, id, score) of each line of a search's table."""
    return re.findall(r"^ +(\d+) +(\S+) +(\d\.\d{4}) ", text, re.M)


class Quickstart(Server):
    def __init__(self, folder, *arguments):
        super().__init__(folder)
        self.log_path = os.path.join(folder, "quickstart.log")
        self.spawn([os.path.join(harness.ROOT, "scripts", "quickstart"), *arguments])


class Readme(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        """The first command, as it goes on until Ctrl-C."""
        cls.folder = harness.scratch_folder("readme")
        cls.state = os.path.join(cls.folder, "quickstart")
        cls.quickstart = Quickstart(cls.folder, "--demo", "live", "--state", cls.state)
        cls.addClassCleanup(cls.quickstart.stop)
        cls.quickstart.wait_ready(lambda: "Ctrl-C stops everything" in cls.quickstart.log(), timeout_s=240)
        cls.url = re.search(r"Dashboard: (http://127\.0\.0\.1:\d+)/", cls.quickstart.log())[1]

    def test_quickstart_answers_and_what_follows_it_does_what_is_shown(self):
        self.assertEqual(len(re.findall(r"^   fresh: every record", self.quickstart.log(), re.M)), 5, self.quickstart.log())
        (block,) = indented("README.md", "windrow produce")
        for command, shown in re.findall(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", block, re.M):
            with self.subTest(command):
                said = shell(command, self.folder, Q=self.state)
                self.assertEqual(hits(said), hits(shown))
                for line in shown.splitlines():
                    kept = re.match(r"windrow: topic \w+: 1 of 1 points|  #  id .*|quickstart  windrow|workers:|\w+  384 dimensions.*|  shard 0 \(\w+\[0\]\)|    +window .*", line)
                    self.assertTrue(not kept or kept[0] in said, f"{line}\n{said}")
        (block,) = indented("README.md", ">>> from qdrant_client")
        code = re.sub(r"^>>> ", "", block, flags=re.M).replace("http://127.0.0.1:6333", self.url)
        lines = code.strip().splitlines()
        known = {}
        exec("\n".join(lines[:-1]), known)
        points = eval(lines[-1], known)
        self.assertEqual([list(point.payload) for point in points], [["package"]] * 3)

    def test_a_question_goes_to_the_one_that_runs(self):
        said = shell(f"{harness.ROOT}/scripts/quickstart --state {self.state} --ask 'laptop does not wake up after suspend'", self.folder)
        self.assertIn("Asking the running quickstart", said)
        self.assertRegex(said, r"(?m)^   0\.\d{3}  \S+ ")


class Operator(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        service.for_class(cls, properties={"topic.metadata.refresh.interval.ms": "500"})
        cls.windrow.create_topic(1)
        cls.send_version(0)
        Sender(cls.kafka.address).send(TOPIC, [("bad", "is not JSON")])
        cls.windrow.start()
        cls.windrow.wait_caught_up({"0": ROWS + 1})

    @classmethod
    def send_version(cls, version):
        now_ms = int(time.time() * 1000) - 10_000
        Sender(cls.kafka.address).send(TOPIC, [(str(number), json.dumps({"id": number, "vector": [float(version)] * DIM, "payload": {"version": version}, "time_ms": now_ms + version}))
                                               for number in range(ROWS)])

    def test_dead_letters_are_read_as_the_page_says(self):
        harness.require_programs("kcat", "jq")
        (command,) = indented("docs/operations.md", "kcat -b BROKER")
        said = shell(command.replace("BROKER", self.kafka.address).replace("windrow.dead-letters", DEAD_LETTERS), self.windrow.folder)
        self.assertIn("__connect.errors.exception.message", said)

    def test_partitions_are_added_and_repaired_as_the_page_says(self):
        (block,) = indented("docs/scaling.md", "--alter --topic")
        add, look, repair = block.strip().splitlines()
        with open(os.path.join(self.windrow.folder, "kafka-topics.sh"), "w", encoding="utf-8", opener=lambda path, flags: os.open(path, flags, 0o700)) as file:
            file.write(KAFKA_TOPICS)
        shell(re.sub(r"--topic \w+", f"--topic {TOPIC}", add.replace("HOST:9092", self.kafka.address)), self.windrow.folder)
        harness.wait_for(lambda: len(self.windrow.next_offsets()) == 12, "windrow reads the new partitions")
        self.send_version(1)
        harness.wait_for(self.only_new_versions, "the newest version of every id is searchable")
        moved = [self.windrow.post("/points/count", {})["count"] - ROWS]
        for command in (look, repair):
            moved.append(int(re.search(r"(\d+) of them", shell(command.replace("-C news", f"-c {self.windrow.config_path} -C {COLLECTION}"), self.windrow.folder))[1]))
        self.assertEqual(len(set(moved)), 1, moved)
        self.assertGreater(moved[0], 0)
        harness.wait_for(lambda: self.windrow.post("/points/count", {})["count"] == ROWS, "no id is in two partitions")

    def only_new_versions(self):
        points = self.windrow.post("/points/scroll", {"limit": ROWS + 1, "with_payload": ["version"]})["points"]
        return len(points) == ROWS and {point["payload"]["version"] for point in points} == {1}


class Bytes(unittest.TestCase):
    """Needs pyarrow, polars, duckdb and requests."""

    @classmethod
    def setUpClass(cls):
        service.for_class(cls)
        cls.windrow.create_topic(1)
        cls.windrow.start()
        harness.wait_for(cls.windrow.ready, "windrow is ready")

    def test_rows_go_in_and_out_as_the_page_says(self):
        import duckdb
        import numpy
        import polars
        import pyarrow
        import requests

        known = {"url": self.windrow.url, "array": numpy.arange(ROWS * DIM, dtype="f8").reshape(ROWS, DIM), **{module.__name__: module for module in (duckdb, polars, pyarrow, requests)}}
        (put,) = indented("docs/http.md", "requests.put")
        reply = eval(put.replace("/news/", f"/{COLLECTION}/"), known)
        self.assertEqual(reply.status_code, 200, reply.text)
        self.windrow.request("POST", f"/collections/{COLLECTION}/points/payload?wait=true", {"payload": {"lang": "en"}, "points": [1000]})
        known["response"] = requests.post(f"{self.windrow.url}/collections/{COLLECTION}/points/scroll", json={"limit": ROWS, "with_payload": True},
                                          headers={"Accept": "application/vnd.apache.arrow.stream"}, timeout=60)
        known["fields"] = polars.Struct({"lang": polars.String})
        (get,) = indented("docs/http.md", "open_stream")
        table, frame, query = get.strip().splitlines()
        exec(f"{table}\n{frame.replace('...', 'fields')}\nfound = {query}.fetchall()", known)
        self.assertEqual((known["rows"].num_rows, known["frame"].height), (ROWS, ROWS))
        self.assertEqual(known["found"][0][1], "en")


if __name__ == "__main__":
    harness.require_client("duckdb" if "Bytes" in sys.argv else "qdrant_client", "formats" if "Bytes" in sys.argv else "clients")
    harness.main()
