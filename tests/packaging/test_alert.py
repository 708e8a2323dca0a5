"""An alert's whole life in a real Prometheus with the rules that are shipped: it fires, its runbook is followed, it is resolved.

  test_alert.py WINDROW_BINARY
"""

import json
import os
import re
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
import harness
from prometheus import Prometheus
from servers import Kafka
from service import COLLECTION, TOPIC, Windrow

ALERT = "WindrowPartitionStopped"


def runbook(url):
    """The section that an alert's link leads to, of the page that the package installs."""
    anchor = url.rpartition("#")[2]
    with open(os.path.join(harness.ROOT, "docs", "operations.md"), encoding="utf-8") as file:
        for section in re.split(r"^#+ ", file.read(), flags=re.M):
            if section.split("\n", 1)[0].lower() == anchor:
                return section
    raise AssertionError(f"no section for {url}")


class Alert(unittest.TestCase):
    def test_stopped_partition_calls_somebody_and_its_runbook_ends_it(self):
        kafka = Kafka().start()
        self.addCleanup(kafka.stop)
        windrow = Windrow(kafka.address)
        self.addCleanup(windrow.stop)
        windrow.tree["kafka"]["dead_letters"] = None
        windrow.configure(windrow.tree)
        windrow.create_topic(1)
        windrow.start()
        prometheus = Prometheus(f"127.0.0.1:{windrow.port}").start()
        self.addCleanup(prometheus.stop)
        self.assertNotIn(ALERT, prometheus.firing())

        kafka.produce(TOPIC, [("1", "this is text, and not a record")])
        told = harness.wait_for(lambda: prometheus.firing().get(ALERT), "the alert fires")
        self.assertIn(COLLECTION, told["summary"])
        manual = runbook(told["runbook_url"])
        self.assertIn("`/status` says why", manual)
        shard = windrow.request("GET", "/status").json()["collections"][0]["shards"][0]
        self.assertIn("offset 0", shard["stopped"])

        # "A partition stopped" has two ways out; this one accepts the gap.
        self.assertIn("#when-something-goes-wrong", manual)
        resumed = windrow.command("resume", "-C", COLLECTION, "--shard", "0", "--skip")
        self.assertEqual(resumed.returncode, 0, resumed.stderr)
        harness.wait_for(lambda: ALERT not in prometheus.firing(), "the alert is resolved")
        kafka.produce(TOPIC, [("2", json.dumps({"id": 2, "vector": [1.0] * 16, "time_ms": 1, "payload": {}}))])
        harness.wait_for(lambda: sum(windrow.outcomes().values()) >= 1, "records are read again")
        self.assertIsNone(windrow.request("GET", "/status").json()["collections"][0]["shards"][0]["stopped"])


if __name__ == "__main__":
    harness.main()
