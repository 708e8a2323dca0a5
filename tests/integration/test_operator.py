"""What an operator does: pause, resume, skip what Kafka lost; and what a shard without data reads."""

import json
import os
import shutil
import sys
import time
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
import harness
import releases

harness.require_client("confluent_kafka")

from confluent_kafka import Producer
from kafka_client import Operator
from servers import Kafka
from service import COLLECTION, MS_PER_HOUR, Windrow

DIM = 4
# The broker's and librdkafka's smallest: who does not poll for so long loses its partitions.
POLL_INTERVAL_MS = 6000


class Operators(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.kafka = Kafka().start()

    @classmethod
    def tearDownClass(cls):
        cls.kafka.stop()

    def setUp(self):
        self.topic = self.id().rpartition(".")[2]
        self.producer = Producer({"bootstrap.servers": self.kafka.address})

    def tearDown(self):
        self.windrow.stop()

    def configure(self, properties=None, partitions=1, **collection):
        self.windrow = Windrow(
            self.kafka.address, dim=DIM, topics=[self.topic], group=self.topic, properties=properties or {}, **collection
        )
        self.windrow.create_topic(partitions)

    def send(self, ids, age_ms=0):
        now_ms = int(time.time() * 1000)
        for point_id in ids:
            value = json.dumps({"id": point_id, "vector": [point_id, 1, 2, 3], "time_ms": now_ms - age_ms})
            self.producer.produce(self.topic, value, str(point_id), timestamp=now_ms - age_ms)
        self.assertEqual(self.producer.flush(30), 0)

    def wait_caught_up(self):
        self.windrow.wait_caught_up(self.kafka.end_offsets(self.topic, 1))

    def command(self, *arguments):
        done = self.windrow.command(arguments[0], "-C", COLLECTION, *arguments[1:])
        self.assertEqual(done.returncode, 0, done.stderr)

    def collection_status(self):
        return self.windrow.request("GET", "/status").json()["collections"][0]

    def shard_status(self):
        return self.collection_status()["shards"][0]

    def test_paused_collection_polls_on_and_stays_paused_over_a_restart(self):
        self.configure({"max.poll.interval.ms": str(POLL_INTERVAL_MS), "session.timeout.ms": str(POLL_INTERVAL_MS)})
        self.windrow.start()
        self.send(range(10))
        self.wait_caught_up()
        self.command("pause")
        self.assertTrue(self.collection_status()["paused"])
        harness.wait_for(lambda: self.shard_status()["paused"], "the shard pauses")
        self.send(range(10, 20))
        time.sleep(POLL_INTERVAL_MS / 1000 + 1)
        self.assertEqual(self.shard_status()["next_offset"], 10)
        self.assertTrue(self.windrow.ready())
        self.assertIn(f"held: {self.topic} [0]: paused by an operator", self.windrow.request("GET", "/readyz").body.decode())
        for words in (" lost at offset", "max.poll.interval.ms"):
            self.assertNotIn(words, self.windrow.log())
        self.assertEqual(self.windrow.stop(), 0)

        self.windrow.start()
        harness.wait_for(lambda: self.shard_status()["paused"], "the shard pauses again")
        self.assertEqual(self.shard_status()["next_offset"], 10)
        self.command("resume")
        self.wait_caught_up()
        self.assertEqual(set(self.windrow.scroll()), set(range(20)))

    def missing(self):
        reply = self.windrow.request("POST", f"/collections/{COLLECTION}/points/count", {}).json()["windrow"]
        self.assertEqual(reply["partial"], bool(reply["missing"]))
        return reply["missing"]

    def list_topics(self, *topics):
        self.windrow.tree["collections"][COLLECTION]["topics"] = topics
        self.windrow.configure(self.windrow.tree)

    def read_topics(self, *topics):
        self.list_topics(*topics)
        self.windrow.start()

    def two_topics(self):
        """Records 0 to 9 are in the first topic and 10 to 39 in the second one, which takes those to come."""
        first, second = self.topic, f"{self.topic}.second"
        self.configure()
        self.send(range(10))
        self.topic = second
        self.list_topics(second)
        self.windrow.create_topic(1)
        self.send(range(10, 40))
        return first, second

    def test_topics_change_their_order_and_keep_their_records(self):
        """A shard is its topic's and partition's, whatever place the topic has in the list."""
        first, second = self.two_topics()
        self.read_topics(first, second)
        self.windrow.wait_caught_up({"0": 10, f"{second}-0": 30})
        self.windrow.stop()
        self.read_topics(second, first)
        self.windrow.wait_caught_up({"0": 30, f"{first}-0": 10})
        self.assertEqual(set(self.windrow.scroll()), set(range(40)))
        self.send(range(40, 50))
        self.windrow.wait_caught_up({"0": 40, f"{first}-0": 10})
        self.windrow.stop()
        self.read_topics(second)
        self.windrow.wait_caught_up({"0": 40})
        self.assertEqual(set(self.windrow.scroll()), set(range(10, 50)))
        self.assertIn(f"{COLLECTION}/{first}-0 is of a topic that the collection does not read", self.windrow.log())
        self.assertEqual(self.windrow.stop(), 0)
        self.assertEqual(self.windrow.command("verify").returncode, 0)

    def test_the_last_release_says_why_it_does_not_start_and_goes_back(self):
        """Its folders are renamed, and named back as docs/operations.md says."""
        first, second = self.two_topics()
        ends = {"0": 10, f"{second}-0": 30}
        before, now = releases.binary(releases.latest()), self.windrow.binary
        data = os.path.join(self.windrow.folder, "data")
        self.windrow.binary = before
        self.read_topics(first, second)
        self.windrow.wait_caught_up(ends)
        self.assertEqual(self.windrow.stop(), 0)
        self.windrow.binary = now
        self.windrow.start()
        self.windrow.wait_caught_up(ends)
        self.assertEqual(set(self.windrow.scroll()), set(range(40)))
        self.assertEqual(sorted(os.listdir(os.path.join(data, "collections.d", COLLECTION))), [f"{first}-0", f"{second}-0"])
        self.assertEqual(self.windrow.stop(), 0)
        self.assertEqual(self.windrow.command("verify").returncode, 0)

        self.windrow.binary = before
        refused = self.windrow.command("run")
        self.assertNotEqual(refused.returncode, 0)
        self.assertRegex(refused.stderr, "moved-to-collections.d.*a newer windrow wrote it")
        shutil.rmtree(os.path.join(data, COLLECTION))
        os.rename(os.path.join(data, "collections.d", COLLECTION), os.path.join(data, COLLECTION))
        os.rename(os.path.join(data, COLLECTION, f"{first}-0"), os.path.join(data, COLLECTION, "0"))
        self.windrow.start()
        self.windrow.wait_caught_up(ends)
        self.assertEqual(set(self.windrow.scroll()), set(range(40)))

    def test_what_retention_took_is_skipped_on_an_operators_word(self):
        self.configure()
        self.windrow.start()
        self.send(range(20))
        self.wait_caught_up()
        refused = self.windrow.command("resume", "-C", COLLECTION, "--shard", "0", "--skip")
        self.assertEqual((refused.returncode, "shard 0 is not stopped" in refused.stderr), (1, True), refused.stderr)
        self.windrow.stop()
        self.send(range(20, 60))
        Operator(self.kafka.address).delete_records(self.topic, 0, 30)
        self.windrow.start()
        why = harness.wait_for(lambda: self.shard_status()["stopped"], "the shard stops")
        self.assertIn("offset 20 is gone, Kafka begins at 30", why)
        self.assertEqual((self.shard_status()["next_offset"], self.shard_status()["begin_offset"]), (20, 30))
        self.assertEqual(self.missing(), [f"{self.topic}[0]"])
        refused = self.windrow.request("POST", f"/collections/{COLLECTION}/points/count", {"windrow": {"require": "complete"}})
        self.assertEqual(refused.status, 503, refused.body)
        self.assertIn(f"stopped: {self.topic} [0]: offset 20 is gone", self.windrow.request("GET", "/readyz").body.decode())
        self.command("resume", "--shard", "0", "--skip")
        self.wait_caught_up()
        self.assertEqual(self.missing(), [])
        self.assertIsNone(self.shard_status()["stopped"])
        self.assertEqual(set(self.windrow.scroll()), set(range(20)) | set(range(30, 60)))

    def test_shard_without_data_is_read_from_what_can_be_unexpired(self):
        self.configure(event_time={"field": None}, ttl="1h", window="5m", late={"allowed": "1h", "policy": "accept"})
        self.send(range(200), 3 * MS_PER_HOUR)
        self.send(range(200, 250))
        self.send(range(250, 280), 3 * MS_PER_HOUR)  # order in time is not promised
        self.send(range(280, 300))
        for _ in range(2):
            self.windrow.start()
            self.wait_caught_up()
            self.assertEqual(set(self.windrow.scroll()), set(range(200, 250)) | set(range(280, 300)))
            self.assertEqual(self.windrow.outcomes(), {"ingested": 70, "expired": 30})
            self.assertIn("begins at offset 200 of 0 to 300", self.windrow.log())
            self.windrow.kill()
            self.windrow.lose_data()

    def test_id_in_two_shards_is_noticed(self):
        self.configure(partitions=2)
        self.windrow.start()

        def noticed():
            """Not each record is looked at: they go on until one is. It is counted, then logged."""
            for partition in range(2):
                value = json.dumps({"id": 7, "vector": [partition, 1, 2, 3], "time_ms": int(time.time() * 1000)})
                self.producer.produce(self.topic, value, "7", partition=partition)
            self.producer.flush(30)
            return "holds id 7, and so does shard" in self.windrow.log()

        harness.wait_for(noticed, "the id is noticed", interval_s=0.12)
        self.assertGreater(sum(self.windrow.metrics("windrow_ids_in_two_shards_total").values()), 0)

    def test_shard_whose_records_have_all_expired_reads_only_what_comes(self):
        self.configure(event_time={"field": None}, ttl="1h", window="5m")
        self.send(range(100), 3 * MS_PER_HOUR)
        self.windrow.start()
        self.wait_caught_up()
        self.send(range(100, 110))
        self.wait_caught_up()
        self.assertEqual(set(self.windrow.scroll()), set(range(100, 110)))
        self.assertEqual(self.windrow.outcomes(), {"ingested": 10})


if __name__ == "__main__":
    harness.main()
