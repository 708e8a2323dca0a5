"""Three brokers that write to two at least: without one of them produce goes on, without two it fails record by record,
and when they are back nothing is missing and nothing is there twice."""

import copy
import json
import os
import subprocess
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
import harness
from model import Stream, assert_stored
from servers import KafkaCluster
from service import COLLECTION, TOPIC, Windrow

PARTITIONS = 3
RECORDS = 4_000
RECORDS_A_SECOND = 2_000


class ThreeBrokers(unittest.TestCase):
    def setUp(self):
        self.cluster = KafkaCluster()
        self.stream = Stream(harness.seeded_random(), deletes=0, name="a-")
        self.cluster.start()
        self.windrow = Windrow(self.cluster.address, properties={"group.instance.id": "node-1"})
        self.windrow.create_topic(PARTITIONS)
        self.windrow.start()

    def tearDown(self):
        self.windrow.stop()
        self.cluster.stop()

    def write_points(self, count):
        path = os.path.join(self.windrow.folder, "points.jsonl")
        with open(path, "w", encoding="utf-8") as file:
            file.writelines(value + "\n" for _, value in self.stream.records(count))
        return path

    def assert_all_there(self, brokers):
        """Every point, and every record of the log ingested."""
        self.cluster.wait_brokers(brokers)
        ends = harness.wait_for(lambda: self.cluster.nodes[0].end_offsets(TOPIC, PARTITIONS), "the ends are known")
        self.windrow.wait_caught_up(ends, timeout_s=60)
        assert_stored(self, self.stream.model, self.windrow)
        self.assertEqual(self.windrow.outcomes(), {"ingested": sum(ends.values())})
        self.assertEqual(self.stream.outcomes, self.windrow.outcomes())

    def produce(self, path):
        """To its end, and everything acknowledged."""
        done = self.windrow.command("produce", "-C", COLLECTION, "--json", path)
        self.assertEqual(done.returncode, 0, done.stderr)
        report = json.loads(done.stdout)
        self.assertEqual(report["acknowledged"], report["sent"])

    def produce_while_a_leader_dies(self):
        path = self.write_points(RECORDS)
        command = [harness.Environment.binary, "produce", "-c", self.windrow.config_path, "-C", COLLECTION, "--json"]
        command += ["--rate", str(RECORDS_A_SECOND), path]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as producer:
            harness.wait_for(lambda: sum(self.windrow.outcomes().values()) > 100, "the stream is being read")
            self.cluster.nodes[2].kill()
            stdout, stderr = producer.communicate(timeout=120)
        self.assertEqual(producer.returncode, 0, stderr)
        self.assertEqual(json.loads(stdout)["acknowledged"], RECORDS)

    def assert_each_record_fails(self, path, count):
        """Within the time that was given to a message, and each line by its name."""
        tree = copy.deepcopy(self.windrow.tree)
        tree["kafka"]["properties"]["message.timeout.ms"] = "3000"
        impatient = os.path.join(self.windrow.folder, "impatient.yaml")
        with open(impatient, "w", encoding="utf-8") as file:
            json.dump(tree, file)
        command = [harness.Environment.binary, "produce", "-c", impatient, "-C", COLLECTION, "--json", path]
        done = subprocess.run(command, capture_output=True, text=True, timeout=90, check=False)
        self.assertEqual(done.returncode, 1, done.stderr)
        report = json.loads(done.stdout)
        self.assertEqual((report["acknowledged"], report["failed"]), (0, count))
        for line in range(1, count + 1):
            self.assertIn(f"{path}:{line}:", done.stderr)

    def test_one_lost_then_two_then_none(self):
        self.produce_while_a_leader_dies()
        self.assert_all_there(brokers=2)

        self.cluster.nodes[1].kill()
        self.cluster.wait_brokers(1)
        stored = dict(self.stream.model)
        path = self.write_points(20)
        self.assert_each_record_fails(path, 20)
        assert_stored(self, stored, self.windrow)

        for node in self.cluster.nodes[1:]:
            node.launch()
        self.cluster.wait_brokers(3)
        self.produce(path)
        self.assert_all_there(brokers=3)


if __name__ == "__main__":
    harness.main()
