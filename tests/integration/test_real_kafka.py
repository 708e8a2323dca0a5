"""What only a real broker does: transactions, retention, recreated topics, a restart in mid-stream.

Each test has a topic and a windrow of its own on one broker, and ends with every point and with what became of every
record, by reason.
"""

import os
import re
import shutil
import subprocess
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
import harness
from kafka_client import Operator, Sender, readable_records
from model import Stream, assert_stored
from servers import QUICK_SUCCESSION, Kafka, write_records
from service import COLLECTION, Windrow

PARTITIONS = 3
RETENTION_CHECKS = ("log.retention.check.interval.ms=500", "log.initial.task.delay.ms=500")


class RealKafka(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.kafka = Kafka(*RETENTION_CHECKS, *QUICK_SUCCESSION).start()

    @classmethod
    def tearDownClass(cls):
        cls.kafka.stop()

    def setUp(self):
        self.random = harness.seeded_random()
        self.topic = self.id().rpartition(".")[2]
        self.windrow = Windrow(
            self.kafka.address,
            topics=[self.topic],
            group=self.topic,
            # A static member: a killed process gets its partitions back at once.
            properties={"group.instance.id": "node-1"},
            store={"memtable_max_bytes": "1MiB"},
        )
        self.operator = Operator(self.kafka.address)

    def tearDown(self):
        self.windrow.stop()

    def start(self, partitions=PARTITIONS):
        self.windrow.create_topic(partitions)
        self.windrow.start()

    def send(self, records, partition=-1):
        Sender(self.kafka.address).send(self.topic, records, partition)

    def wait_caught_up(self, *partitions):
        """All partitions, or those that are named."""
        ends = self.kafka.end_offsets(self.topic, PARTITIONS)
        self.windrow.wait_caught_up({p: end for p, end in ends.items() if not partitions or int(p) in partitions}, timeout_s=90)
        return ends

    def assert_model(self, stream):
        assert_stored(self, stream.model, self.windrow)

    def assert_accounted(self, outcomes, record_count):
        """By reason, and together as many as the log has."""
        self.assertEqual(self.windrow.outcomes(), outcomes)
        self.assertEqual(sum(outcomes.values()), record_count)

    def shard_metric(self, name, partition):
        series = self.windrow.metrics(name)
        return series.get(frozenset((f'collection="{COLLECTION}"', f'shard="{partition}"')))

    def wait_stopped(self, partition, *words):
        """Until the partition stopped; the log says so with WORDS, and so do /status and a metric."""

        def found():
            stopped = [line for line in self.windrow.log().splitlines() if f"{self.topic} [{partition}] stopped: " in line]
            return [line for line in stopped if all(word in line for word in words)]

        line = harness.wait_for(found, f"a log line that the partition stopped with {words}", 60)[0]
        # It is logged first, then it ends what was under way; the metric is the last to tell.
        harness.wait_for(lambda: self.shard_metric("windrow_partition_stopped", partition) == 1, "a metric says so")
        status = self.windrow.request("GET", "/status").body.decode()
        self.assertIn(line.partition("stopped: ")[2][:60], status)
        return line

    def resume_from_what_kafka_has(self, *partitions):
        """The way that docs/operations.md gives."""
        self.assertEqual(self.windrow.stop(), 0, self.windrow.log()[-2000:])
        for partition in partitions:
            shutil.rmtree(os.path.join(self.windrow.folder, "data", "collections.d", COLLECTION, f"{self.topic}-{partition}"))
        self.windrow.start()

    # ---- transactions

    def run_transactions(self, sender, stream, rounds):
        """Commits two of three; returns the stream as the committed ones left it."""
        for number in range(rounds):
            before = stream.copy()
            sender.begin()
            sender.send(self.topic, stream.records(15))
            sender.end(commit=number % 3 != 1)
            if number % 3 == 1:
                stream = before
            yield stream

    def test_only_committed_records_are_stored_and_no_lag_is_left(self):
        self.start()
        # Two producers, so that committed and aborted transactions lie between each other in every partition.
        streams = [Stream(self.random, spoilt=0.1, name=f"{name}-") for name in ("first", "second")]
        senders = [Sender(self.kafka.address, f"{self.topic}-{number}") for number in range(2)]
        for streams in zip(*map(self.run_transactions, senders, streams, (12, 12)), strict=True):
            pass
        # A transaction that stays open holds back what was committed behind it.
        open_one = Sender(self.kafka.address, f"{self.topic}-open")
        open_one.begin()
        open_one.send(self.topic, Stream(self.random, name="open-").records(30))
        streams = [streams[0], [*self.run_transactions(senders[1], streams[1], 1)][0]]
        # Its successor with the same name fences it, which aborts it: behind the last record lie aborted ones only.
        Sender(self.kafka.address, f"{self.topic}-open")

        ends = self.wait_caught_up()
        merged = Stream(self.random)
        for stream in streams:
            merged.model.update(stream.model)
            for outcome, count in stream.outcomes.items():
                merged.outcomes[outcome] = merged.outcomes.get(outcome, 0) + count
        self.assert_model(merged)
        self.assert_accounted(merged.outcomes, readable_records(self.kafka.address, self.topic, PARTITIONS))
        self.assertGreater(sum(ends.values()), sum(merged.outcomes.values()))
        for partition in range(PARTITIONS):
            harness.wait_for(lambda p=partition: self.shard_metric("windrow_kafka_lag_records", p) == 0, "no lag is left", 30)

    # ---- offsets that Kafka does not have

    def test_retention_that_passed_us_stops_one_partition_with_both_offsets(self):
        self.windrow.create_topic(PARTITIONS)
        self.operator.configure_topic(self.topic, segment_bytes=1 << 20)
        streams = [Stream(self.random, name=f"{partition}-") for partition in range(PARTITIONS)]
        for partition, stream in enumerate(streams):
            self.send(stream.records(50), partition)
        self.windrow.start()
        self.wait_caught_up()
        self.assertEqual(self.windrow.stop(), 0)

        # While windrow is away partition 0 grows by several segments, and retention takes all but the last.
        filler = "{" + " " * 20_000
        for stream in streams[1:]:
            self.send(stream.records(100), streams.index(stream))
        self.send([(f"filler-{number}", filler) for number in range(300)], 0)
        self.operator.configure_topic(self.topic, retention_bytes=1)
        harness.wait_for(lambda: self.operator.begin_offset(self.topic, 0) > 200, "retention has passed", 60)
        self.operator.configure_topic(self.topic, retention_bytes=-1)
        left = Stream(self.random, name="left-", spoilt=0.1)
        self.send(left.records(100), 0)
        begin = self.operator.begin_offset(self.topic, 0)

        self.windrow.start()
        self.wait_stopped(0, "offset 50 is gone", f"Kafka begins at {begin}", "retention passed us")
        ends = self.wait_caught_up(1, 2)
        everything = {}
        for stream in streams:
            everything.update(stream.model)
        assert_stored(self, everything, self.windrow)
        self.assert_accounted(self.windrow.outcomes(), 200)

        self.resume_from_what_kafka_has(0)
        self.wait_caught_up()
        assert_stored(self, left.model | streams[1].model | streams[2].model, self.windrow)
        left.outcomes['reason="syntax"'] = left.outcomes.get('reason="syntax"', 0) + 350 - begin  # what is left of the filler
        self.assert_accounted(left.outcomes, ends["0"] - begin)

    def make_topic_anew(self):
        self.operator.delete_topic(self.topic)

        def created():
            self.windrow.create_topic(PARTITIONS)
            return set(self.kafka.end_offsets(self.topic, PARTITIONS).values()) == {0}

        harness.wait_for(created, "the topic is there again", 60, interval_s=0.2)

    def test_topic_made_anew_is_not_mistaken_for_the_old_one(self):
        self.start()
        old = Stream(self.random)
        self.send(old.records(300))
        ends = self.wait_caught_up()
        self.make_topic_anew()
        new = Stream(self.random, spoilt=0.1)
        self.send(new.records(60))
        new_ends = self.kafka.end_offsets(self.topic, PARTITIONS)
        for partition in range(PARTITIONS):
            line = self.wait_stopped(partition, f"offset {ends[str(partition)]} is beyond Kafka's end at ", "recreated")
            # It may have been noticed before the new records were there.
            end = int(re.search(r"Kafka's end at (\d+)", line)[1])
            self.assertLessEqual(end, new_ends[str(partition)])
        self.assert_model(old)
        self.assert_accounted(old.outcomes, 300)

        self.resume_from_what_kafka_has(*range(PARTITIONS))
        self.wait_caught_up()
        self.assert_model(new)
        self.assert_accounted(new.outcomes, 60)

    def test_topic_made_anew_and_filled_past_us_is_not_mistaken_for_the_old_one(self):
        self.start()
        old = [Stream(self.random, name=f"old-{partition}-", spoilt=0.1) for partition in range(2)]
        for partition, stream in enumerate(old):
            self.send(stream.records(100), partition)
        self.wait_caught_up()
        self.assertEqual(self.windrow.stop(), 0)
        self.make_topic_anew()
        new = [Stream(self.random, name=f"new-{partition}-", spoilt=0.1) for partition in range(PARTITIONS)]
        for partition, count in enumerate((150, 100, 50)):  # past our offset, up to it, and what we never read
            self.send(new[partition].records(count), partition)
        self.windrow.start()
        self.wait_stopped(0, "offset 100 is next", "at 99, is not the one", "Kafka has 0 to 150", "recreated")
        self.wait_stopped(1, "offset 100 is next", "at 99, is not the one", "Kafka has 0 to 100", "recreated")
        self.wait_caught_up(2)
        assert_stored(self, old[0].model | old[1].model | new[2].model, self.windrow)
        self.assert_accounted(new[2].outcomes, 50)

        for partition, how in (("0", "--rebuild"), ("1", "--skip")):
            done = self.windrow.command("resume", "-C", COLLECTION, "--shard", partition, how)
            self.assertEqual(done.returncode, 0, done.stderr)
        after = Stream(self.random, name="after-")
        self.send(after.records(20), 1)
        self.wait_caught_up()
        for stream in (new[0], after):
            for outcome, count in stream.outcomes.items():
                new[2].outcomes[outcome] = new[2].outcomes.get(outcome, 0) + count
        self.assert_accounted(new[2].outcomes, 150 + 20 + 50)
        for _ in range(2):
            assert_stored(self, new[0].model | old[1].model | after.model | new[2].model, self.windrow)
            self.windrow.kill()
            self.windrow.start()
            self.wait_caught_up()
        self.assert_accounted({}, 0)

    def test_restart_behind_transactions_or_removed_records_reads_on_and_counts_nothing_twice(self):
        self.start()
        stream = Stream(self.random, spoilt=0.3, deletes=0.3)
        sender = Sender(self.kafka.address, self.topic)
        for number, end in enumerate((self.windrow.kill, self.windrow.stop)):
            for stream in self.run_transactions(sender, stream, 2):  # the second is aborted
                pass
            ends = self.wait_caught_up()
            if number == 1:  # the last record goes, as by retention
                self.operator.delete_records(self.topic, 0, ends["0"])
            end()
            self.windrow.start()
            self.wait_caught_up()
            self.assert_model(stream)
            self.assert_accounted({}, 0)
            stream.outcomes = {}
            sender.begin()
            sender.send(self.topic, stream.records(20))
            sender.end(commit=True)
            self.wait_caught_up()
            self.assert_model(stream)
            self.assert_accounted(stream.outcomes, 20)
        self.assertNotIn(" stopped: ", self.windrow.log())

    # ---- what goes away and comes back

    def test_broker_restarted_in_mid_stream_loses_and_doubles_nothing(self):
        self.start()
        stream = Stream(self.random, spoilt=0.05)
        for kill in (self.kafka.kill, self.kafka.stop):
            before = sum(self.windrow.outcomes().values())
            path = write_records(self.kafka.folder, stream.records(6_000))
            producer = subprocess.Popen(self.kafka.produce_command(self.topic, path))
            harness.wait_for(lambda b=before: sum(self.windrow.outcomes().values()) > b, "the stream is being read", 60)
            kill()
            self.kafka.start()
            self.assertEqual(producer.wait(90), 0)
        ends = self.wait_caught_up()
        self.assert_model(stream)
        self.assert_accounted(stream.outcomes, sum(ends.values()))
        self.assertEqual(sum(ends.values()), 12_000)

    def test_lost_data_folder_is_read_again_from_kafka(self):
        self.start()
        stream = Stream(self.random, spoilt=0.05)
        self.send(stream.records(3_000))
        ends = self.wait_caught_up()
        self.assert_model(stream)
        self.assert_accounted(stream.outcomes, sum(ends.values()))
        self.windrow.kill()
        self.windrow.lose_data()
        self.send(stream.records(500))
        self.windrow.start()
        ends = self.wait_caught_up()
        self.assert_model(stream)
        self.assert_accounted(stream.outcomes, sum(ends.values()))


if __name__ == "__main__":
    harness.main()
