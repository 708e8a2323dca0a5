"""What only a real broker does: transactions, retention, topics that are made anew."""

import json
import os
import subprocess
import sys
import time
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
import harness
from servers import Kafka
from service import TOPIC, Windrow

# Behind the windrow binary on the command line.
TOOL = os.path.abspath(sys.argv.pop(2))
DIM = 4


def point(point_id):
    value = {"id": point_id, "vector": [point_id, 1, 2, 3], "payload": {"n": point_id}, "time_ms": int(time.time() * 1000)}
    return json.dumps(value)


class RealKafka(unittest.TestCase):
    def setUp(self):
        self.kafka = Kafka().start()
        self.windrow = Windrow(self.kafka.address, dim=DIM)

    def tearDown(self):
        self.windrow.stop()
        self.kafka.stop()

    def tool(self, command, *arguments, data=None):
        done = subprocess.run(
            [TOOL, command, self.kafka.address, TOPIC, *arguments], input=data, text=True, capture_output=True, timeout=90, check=False
        )
        self.assertEqual(done.returncode, 0, done.stderr)

    def metric(self, series):
        for line in self.windrow.request("GET", "/metrics").body.decode().splitlines():
            if line.startswith(series + " "):
                return float(line.rsplit(" ", 1)[1])
        return None

    def stopped_log_line(self, *words):
        def found():
            return [line for line in self.windrow.log().splitlines() if " stopped: " in line and all(w in line for w in words)]

        return harness.wait_for(found, f"a log line that a partition stopped with {words}", 60)

    def test_only_committed_records_are_stored_and_no_lag_is_left(self):
        self.windrow.create_topic(2)
        lines, committed = [], set()
        for batch in range(30):
            ids = range(10 * batch, 10 * batch + 10)
            lines += [f"{i % 2}\t{i}\t{point(i)}" for i in ids]
            lines.append("abort" if batch % 3 == 1 else "commit")
            if batch % 3 != 1:
                committed |= set(ids)
        self.windrow.start()
        # The last transaction aborts: behind the last record lie aborted ones and control records only.
        lines += [f"{i % 2}\t{i}\t{point(i)}" for i in range(1000, 1010)]
        self.tool("transactions", data="\n".join([*lines, "abort", ""]))
        ends = self.kafka.end_offsets(TOPIC, 2)
        self.windrow.wait_caught_up(ends)
        self.assertEqual(set(self.windrow.scroll()), committed)
        self.assertGreater(sum(ends.values()), len(committed))
        for shard in "01":
            lag = f'windrow_kafka_lag_records{{collection="points",shard="{shard}"}}'
            harness.wait_for(lambda lag=lag: self.metric(lag) == 0, "no lag is left", 30)

    def test_retention_that_passed_us_stops_one_partition_with_both_offsets(self):
        self.windrow.create_topic(2)
        self.windrow.start()
        self.tool("transactions", data="".join(f"{i % 2}\t{i}\t{point(i)}\n" for i in range(20)) + "commit\n")
        self.windrow.wait_caught_up(self.kafka.end_offsets(TOPIC, 2))
        self.windrow.stop()
        ours = self.kafka.end_offsets(TOPIC, 2)["0"]
        self.tool("transactions", data="".join(f"{i % 2}\t{i}\t{point(i)}\n" for i in range(20, 60)) + "commit\n")
        begin = ours + 7
        self.tool("delete-records", "0", str(begin))
        self.windrow.start()
        # The commit's control record may or may not have been passed before the stop.
        line = self.stopped_log_line("points-topic [0]", f"Kafka begins at {begin}", "retention passed us")[0]
        self.assertTrue(f"offset {ours} is gone" in line or f"offset {ours - 1} is gone" in line, line)
        ends = self.kafka.end_offsets(TOPIC, 2)
        self.windrow.wait_caught_up({"1": ends["1"]})
        self.assertEqual(self.metric('windrow_partition_stopped{collection="points",shard="0"}'), 1)
        self.assertEqual(set(self.windrow.scroll()), set(range(20)) | set(range(21, 60, 2)))

    def test_topic_made_anew_is_not_mistaken_for_the_old_one(self):
        self.windrow.create_topic(1)
        self.windrow.start()
        self.tool("transactions", data="".join(f"0\t{i}\t{point(i)}\n" for i in range(30)) + "commit\n")
        # Kafka writes the marker of a commit after it has answered: 30 records and the marker.
        self.windrow.wait_caught_up({"0": 31})
        self.windrow.stop()
        self.tool("delete-topic")

        def created():
            self.windrow.create_topic(1)
            return self.kafka.end_offsets(TOPIC, 1) == {"0": 0}

        harness.wait_for(created, "the topic is there again", 30, interval_s=0.5)
        self.tool("transactions", data="".join(f"0\t{i}\t{point(i)}\n" for i in range(100, 105)) + "commit\n")
        self.windrow.start()
        self.stopped_log_line("points-topic [0]", "offset 31 is beyond Kafka's end")
        self.assertEqual(set(self.windrow.scroll()), set(range(30)))


if __name__ == "__main__":
    harness.main()
