"""The nodes of a cluster, with a Kafka and a NATS server for them."""

import json
import time
import unittest

import embedders
import harness
from cluster_questions import DIM, PARTITIONS, ROWS, value
from kafka_client import Sender
from servers import Kafka, Nats
from service import COLLECTION, TOPIC, Windrow

FAST_GROUP = {"session.timeout.ms": "3000", "heartbeat.interval.ms": "500", "topic.metadata.refresh.interval.ms": "1000"}


class Nodes(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.kafka = Kafka("group.min.session.timeout.ms=1000").start()
        cls.addClassCleanup(cls.kafka.stop)

    def setUp(self):
        self.topic = f"{TOPIC}-{self._testMethodName[:40]}"
        self.nats = Nats().start()
        self.addCleanup(self.nats.stop)
        self.now_ms = int(time.time() * 1000)

    def node(self, name, properties=None, **cluster):
        """Of the cluster, or alone when nothing is given."""
        settings = {"name": "prod", **cluster} if cluster or name != "alone" else None
        windrow = Windrow(self.kafka.address, nats=self.nats.url, properties={**FAST_GROUP, **(properties or {})}, node=name, group=f"{self._testMethodName}-{'alone' if name == 'alone' else 'prod'}",
                          cluster=settings, topics=[self.topic])
        self.addCleanup(windrow.stop)
        return windrow

    def give_embedder(self, node):
        """One of its own, which remembers what it is asked."""
        embedder = embedders.Scripted(DIM)
        self.addCleanup(embedder.stop)
        node.tree["collections"][COLLECTION]["embedder"] = {"url": embedder.url}
        node.configure(node.tree)
        return embedder

    def feed(self, node):
        node.create_topic(PARTITIONS)
        Sender(self.kafka.address).send(self.topic, [(str(number), json.dumps(value(number, self.now_ms))) for number in range(ROWS)])

    def read(self, windrow, path, body):
        return windrow.request("POST", f"/collections/{COLLECTION}{path}", body)

    def count(self, node, **body):
        return self.read(node, "/points/count", {"exact": True, **body})

    def sees_all(self, windrow, rows=ROWS):
        reply = self.count(windrow)
        return reply.status == 200 and not reply.json()["windrow"]["partial"] and reply.json()["result"]["count"] == rows

    def start_all(self, nodes, *arguments):
        for node in nodes:
            node.spawn_run(*arguments)

    def wait_whole(self, nodes, rows=ROWS):
        for node in nodes:
            harness.wait_for(lambda node=node: node.alive() and self.answers(node) and self.whole(node, rows), f"{node.tree['node']} answers for all", 60)

    def whole(self, node, rows):
        """As sees_all, and an exception with what is missing."""
        reply = self.count(node)
        if not self.sees_all(node, rows):
            raise ValueError(reply.body[:1000], node.request("GET", "/status?local=true").body[:4000], node.log()[-3000:])
        return True

    def answers(self, node):
        try:
            return node.request("GET", "/livez").status == 200
        except OSError:
            return False

    def owned(self, node):
        """Shards that this process itself serves."""
        return set(self.count(node, windrow={"local": True}).json()["windrow"]["offsets"])

    def lags(self, node):
        """Of every copy that some node serves."""
        cluster = node.request("GET", "/cluster").json()["result"]
        return [shard["behind_records"] for one in cluster["nodes"] for shard in one["shards"]]

    def spread(self, nodes):
        """Whether each node owns some shards, and nobody owns what another one has."""
        owned = [self.owned(node) for node in nodes]
        return all(owned) and sum(map(len, owned)) == PARTITIONS == len(set().union(*owned))
