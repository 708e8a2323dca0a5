"""Three NATS servers, streams with three replicas: any server may die without notice, one after the other. Nodes keep hearing each other,
and windows that are sealed meanwhile are indexed by a builder on another node."""

import os
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
import harness
from model import Stream
from servers import Kafka, NatsCluster
from service import TOPIC, Windrow

ROWS = 200


class Bounded(unittest.TestCase):
    """One server dies: in the ordinary tests."""

    VICTIMS = 1

    def setUp(self):
        self.random = harness.seeded_random()
        self.kafka = Kafka("group.min.session.timeout.ms=1000").start()
        self.addCleanup(self.kafka.stop)
        self.nats = NatsCluster().start()
        self.addCleanup(self.nats.stop)
        self.owner = self.node("owner")
        self.builder = self.node("builder")

    def node(self, name):
        windrow = Windrow(self.kafka.address, node=name, cluster={"name": "prod"}, idle_timeout="12h")
        windrow.configure(dict(windrow.tree, nats={"url": self.nats.url, "replicas": 3, "ack_wait": "5s"}))
        self.addCleanup(windrow.stop)
        return windrow

    def hears(self, node):
        """Whom the node knows, and whether it says that NATS answers."""
        cluster = node.request("GET", "/cluster").json()["result"]
        return cluster["connected"] and sorted(one["node"] for one in cluster["nodes"]) == ["builder", "owner"]

    def test_servers_die_and_windows_are_still_indexed(self):
        windows = self.VICTIMS + 3
        stream = Stream(self.random, windows, deletes=0)
        stream.late = 0
        self.owner.create_topic(1)
        self.owner.start("--role", "ingest")
        self.builder.start("--role", "indexer")
        for node in (self.owner, self.builder):
            harness.wait_for(lambda node=node: self.hears(node), "both hear each other", 60)
        for number in range(self.VICTIMS + 1):
            victim = self.nats.nodes[number - 1] if number > 0 else None # the first round makes the streams
            if victim:
                victim.kill()
            # A window, and some records of the next one, which seal it.
            self.kafka.produce(TOPIC, [*stream.records(ROWS, number), *stream.records(20, number + 1)])
            self.owner.wait_indexed(number + 1, 120)
            for node in (self.owner, self.builder):
                harness.wait_for(lambda node=node: self.hears(node), "both hear each other", 60)
            if victim:
                victim.launch()
                self.nats.wait_healthy()
        self.assertGreaterEqual(self.builder.log().count("for 127.0.0.1"), self.VICTIMS + 1)
        self.assertEqual(sum(self.owner.metrics("windrow_index_dead_letters_total").values()), 0)


class Long(Bounded):
    """Each of the three in turn."""

    VICTIMS = NatsCluster.NODES


if __name__ == "__main__":
    harness.main()
