"""Several processes answer as one: every node gives the answer that a single process with all partitions gives, or says that it
does not."""

import json
import os
import sys
import threading
import time
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
import harness
from kafka_client import Operator, Sender
from servers import Kafka, Nats, pause, resume
from service import COLLECTION, TOPIC, Windrow

DIM = 16
PARTITIONS = 6
ROWS = 1200
REQUESTS = 60
FAST_GROUP = {"session.timeout.ms": "3000", "heartbeat.interval.ms": "500", "topic.metadata.refresh.interval.ms": "1000"}
# What differs between two processes that are both right: how long it took, who was asked, and which windows each has sealed so
# far (tests/indexer/query/test_gather.c compares the windows, with a clock that stands still).
OF_THE_PROCESS = {"time", "nodes", "windows", "seconds", "node", "generation"}


def value(number, now_ms):
    vector = [((number * 7919 + place * 104729) % 1000) / 1000 for place in range(DIM)]
    payload = {"parity": number % 2, "group": f"g{number % 17}", "n": number * 37 % 1000, "text": "word " * (number % 5)}
    return {"id": number, "vector": vector, "payload": payload, "time_ms": now_ms - number * 10_000}


def without_process(reply):
    """The reply without what belongs to the process that gave it."""
    if isinstance(reply, dict):
        return {key: without_process(entry) for key, entry in reply.items() if key not in OF_THE_PROCESS}
    return [without_process(entry) for entry in reply] if isinstance(reply, list) else reply


def random_filter(random):
    kinds = [
        {"must": [{"key": "parity", "match": {"value": random.randrange(2)}}]},
        {"must_not": [{"key": "n", "range": {"gte": random.randrange(1000)}}]},
        {"should": [{"key": "group", "match": {"any": [f"g{random.randrange(20)}", "g3"]}}, {"has_id": [random.randrange(ROWS)]}]},
    ]
    return random.choice([None, *kinds])


def random_query(random):
    vector = [random.random() for _ in range(DIM)]
    return random.choice([
        vector,
        random.randrange(ROWS - 10),
        {"recommend": {"positive": [random.randrange(ROWS - 10), vector], "negative": [random.randrange(ROWS - 10)]}},
        {"nearest": vector, "mmr": {"diversity": 0.5, "candidates_limit": 30}},
        {"order_by": {"key": "n", "direction": random.choice(["asc", "desc"])}},
    ])


def random_search(random, now_ms):
    body = {"query": random_query(random), "limit": random.randrange(1, 30), "offset": random.randrange(5), "params": {"exact": True}}
    body |= random.choice([{}, {"with_payload": True, "with_vector": True}, {"with_payload": {"include": ["n"]}}])
    chosen = random_filter(random)
    if chosen:
        body["filter"] = chosen
    if random.random() < 0.3:
        body["windrow"] = {"from": now_ms - random.randrange(4) * 3_600_000}
    return body


def random_request(random, now_ms):
    """Path and body of any kind of read."""
    search = random_search(random, now_ms)
    selected = {"filter": chosen} if (chosen := random_filter(random)) else {}
    vector = [random.random() for _ in range(DIM)]
    return random.choice([
        ("/points/query", search),
        ("/points/query", search),
        ("/points/query/batch", {"searches": [{key: entry for key, entry in random_search(random, now_ms).items() if key != "windrow"} for _ in range(3)]}),
        ("/points/query/groups", {"query": vector, "group_by": "group", "limit": 5, "group_size": 2, "params": {"exact": True}}),
        ("/points/query", {"prefetch": [{"query": vector, "limit": 20, "params": {"exact": True}},
                                        {"query": random.randrange(ROWS - 10), "limit": 20, "params": {"exact": True}}], "query": {"fusion": "rrf"}}),
        ("/points/search", {"vector": vector, "limit": 5, "params": {"exact": True}}),
        ("/points/scroll", {"limit": random.randrange(1, 80), "offset": random.randrange(ROWS), **selected}),
        ("/points/scroll", {"limit": random.randrange(1, 80), "order_by": random.choice(["n", {"key": "@time", "direction": "desc"}]), **selected}),
        ("/points/count", {"exact": True, **selected}),
        ("/points", {"ids": [random.randrange(ROWS + 50) for _ in range(20)], "with_vector": True}),
        ("/facet", {"key": "group", "limit": 20, **selected}),
    ])


class Cluster(unittest.TestCase):
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

    def spread(self, nodes):
        """Whether each node owns some shards, and nobody owns what another one has."""
        owned = [self.owned(node) for node in nodes]
        return all(owned) and sum(map(len, owned)) == PARTITIONS == len(set().union(*owned))

    def test_every_node_gives_the_answer_of_one_process(self):
        random = harness.seeded_random()
        alone = self.node("alone")
        self.feed(alone)
        nodes = [self.node(f"n{number}") for number in range(3)]
        self.start_all([alone, *nodes])
        coordinator = self.node("q")
        coordinator.start("--role", "query")
        self.wait_whole([alone, *nodes, coordinator])
        harness.wait_for(lambda: self.spread(nodes), "every node owns a part", 60)
        self.wait_whole([*nodes, coordinator])
        self.assertEqual(self.count(coordinator, windrow={"local": True}).status, 503)
        for _ in range(REQUESTS):
            path, body = random_request(random, self.now_ms)
            expected = self.read(alone, path, body)
            for node in [*nodes, coordinator]:
                reply = self.read(node, path, body)
                self.assertEqual(reply.status, expected.status, (path, body, reply.body))
                self.assertEqual(without_process(reply.json()), without_process(expected.json()), (path, body))
        asked = self.count(coordinator).json()["windrow"]["nodes"]
        self.assertEqual(asked, {"asked": 3, "answered": 3, "hedged": 0}, "one request a node")

        described = coordinator.request("GET", f"/collections/{COLLECTION}").json()
        self.assertEqual((described["result"]["points_count"], described["windrow"]["partial"]), (ROWS, False))
        cluster = coordinator.request("GET", "/cluster").json()["result"]
        self.assertEqual(sorted(node["node"] for node in cluster["nodes"]), ["n0", "n1", "n2", "q"])
        self.assertEqual(cluster["gaps"], [])
        listed = nodes[1].command("nodes")
        self.assertEqual(listed.returncode, 0, listed.stderr)
        self.assertIn("cluster prod\n", listed.stdout)
        for node in nodes:
            self.assertRegex(listed.stdout, rf"{node.tree['node']} +127.0.0.1:{node.port} .*ingest,indexer  {len(self.owned(node))} shards: ")

        owners = {shard: node.tree["node"] for node in nodes for shard in self.owned(node)}
        for node in [*nodes, coordinator]:
            self.check_report(node, alone, owners)

        # Writes reach their partition through any node, and wait until its owner sees them.
        upserted = coordinator.request("PUT", f"/collections/{COLLECTION}/points?wait=true",
                                       {"points": [{"id": ROWS + n, "vector": [0.1] * DIM, "payload": {"parity": 5}} for n in range(20)]})
        self.assertEqual(upserted.json()["result"]["status"], "completed", upserted.body)
        for node in nodes:
            self.assertTrue(self.sees_all(node, ROWS + 20))
        old = {"id": ROWS + 99, "vector": [0.1] * DIM, "payload": {"time_ms": 1}}
        refused = coordinator.request("PUT", f"/collections/{COLLECTION}/points?wait=true", {"points": [old]})
        self.assertEqual(refused.status, 400, refused.body)
        self.assertIn("(expired)", refused.json()["status"]["error"])
        deleted = self.read(nodes[0], "/points/delete?wait=true", {"filter": {"must": [{"key": "parity", "match": {"value": 1}}]}})
        self.assertEqual(deleted.status, 200, deleted.body)
        self.assertTrue(self.sees_all(coordinator, ROWS // 2 + 20))
        harness.wait_for(lambda: self.sees_all(alone, ROWS // 2 + 20), "the same alone", 20)

    def check_report(self, node, alone, owners):
        """/windows and /status tell of every shard, and of the node that serves it; only asked for itself a node tells of its own."""
        report = node.request("GET", f"/windows?collection={COLLECTION}").json()
        self.assertEqual((report["partial"], report["missing"]), (False, []))
        self.assertEqual({window["shard"]: window["node"] for window in report["windows"]}, owners)
        of_one = alone.request("GET", f"/windows?collection={COLLECTION}").json()["windows"]
        rows = [(window["start_ms"], window["shard"], window["rows"]) for window in report["windows"]]
        self.assertEqual(rows, [(window["start_ms"], window["shard"], window["rows"]) for window in of_one])
        status = node.request("GET", "/status").json()
        self.assertEqual((status["node"], status["cluster"]), (node.tree["node"], "prod"))
        collection = status["collections"][0]
        self.assertEqual((collection["partial"], collection["missing"]), (False, []))
        self.assertEqual({shard["shard"]: shard["node"] for shard in collection["shards"]}, owners)
        for shard in collection["shards"]:
            self.assertEqual((shard["topic"], shard["lag_records"], shard["stopped"]), (self.topic, 0, None))
            self.assertIn("drop_blocked_by", shard["windows"][0])
        own = {shard for shard, owner in owners.items() if owner == node.tree["node"]}
        status = node.request("GET", "/status?local=true").json()["collections"][0]
        self.assertEqual({shard["shard"] for shard in status["shards"]}, own)
        printed = node.command("status").stdout
        for shard, owner in owners.items():
            self.assertIn(f"shard {shard} ({self.topic}[{shard}]) on {owner}: next offset ", printed)

    def test_a_dead_node_of_one_set_is_missing_until_another_takes_over(self):
        nodes = [self.node(f"n{number}") for number in range(3)]
        self.feed(nodes[0])
        self.start_all(nodes)
        self.wait_whole(nodes)
        harness.wait_for(lambda: self.spread(nodes), "every node owns a part", 60)
        self.wait_whole(nodes)
        lost = self.owned(nodes[2])
        nodes[2].kill()
        reply = self.count(nodes[0]).json()["windrow"]
        missing = {label.rpartition("[")[2].rstrip("]") for label in reply["missing"]}
        self.assertIs(reply["partial"], True)
        # On a busy machine another node may be late, too; whatever it is, every shard is accounted for.
        self.assertLessEqual(lost, missing)
        self.assertEqual(missing | set(reply["offsets"]), {str(number) for number in range(PARTITIONS)})
        self.assertEqual(self.count(nodes[0], windrow={"require": "complete"}).status, 503)
        report = nodes[0].request("GET", f"/windows?collection={COLLECTION}").json()
        missing = {label.rpartition("[")[2].rstrip("]") for label in report["missing"]}
        self.assertEqual(missing | {window["shard"] for window in report["windows"]}, {str(number) for number in range(PARTITIONS)})
        self.assertIs(report["partial"], bool(missing))
        self.wait_whole(nodes[:2])

        # A clean stop leaves the group and the cluster at once.
        self.assertEqual(nodes[1].stop(), 0)
        stopped = time.monotonic()
        self.wait_whole(nodes[:1])
        print(f"complete {time.monotonic() - stopped:.1f} s after a clean stop", file=sys.stderr)
        self.assertIn("node n1", nodes[0].log())

    def reading(self, node, rows=ROWS):
        """Counts all points through the node without a pause, until the returned function is called, which tells how many reads there were
        and which of them were not whole."""
        wrong, reads, ends = [], [0], threading.Event()

        def read():
            while not ends.is_set():
                reply = self.count(node)
                reads[0] += 1
                if reply.status != 200 or reply.json()["windrow"]["partial"] or reply.json()["result"]["count"] != rows:
                    wrong.append((reply.status, reply.body))

        thread = threading.Thread(target=read)
        thread.start()

        def end():
            ends.set()
            thread.join()
            return reads[0], wrong

        self.addCleanup(end)
        return end

    def test_a_drained_node_answers_until_others_serve_its_shards(self):
        # A static member, whose partitions would move when its session ends, which is later than this test waits.
        patient = {"session.timeout.ms": "300000"}
        nodes = [self.node(f"n{number}", properties={**patient, "group.instance.id": f"{self.topic}-{number}"}) for number in range(3)]
        self.feed(nodes[0])
        self.start_all(nodes)
        self.wait_whole(nodes)
        harness.wait_for(lambda: self.spread(nodes), "every node owns a part", 60)
        self.wait_whole(nodes)
        readers = [self.reading(nodes[0]), self.reading(nodes[1])]
        before = time.monotonic()
        drained = nodes[1].command("drain", "--json")
        self.assertEqual(drained.returncode, 0, drained.stderr)
        print(f"drained in {time.monotonic() - before:.1f} s", file=sys.stderr)
        result = json.loads(drained.stdout)["result"]
        self.assertEqual((result["handed_over"] > 0, result["left"]), (True, []))
        self.assertEqual(self.count(nodes[1], windrow={"local": True}).json()["windrow"]["offsets"], {})
        self.assertIn(b"handed over", nodes[1].request("GET", "/readyz").body)
        again = nodes[1].command("drain")
        self.assertEqual((again.returncode, again.stdout), (0, f"{result['handed_over']} shards handed over\n"), again.stderr)
        for reads, wrong in (end() for end in readers):
            self.assertGreater(reads, 1)
            self.assertEqual(wrong, [])

        # A stop hands over as well: whoever asks another node sees no gap.
        end = self.reading(nodes[0])
        self.assertEqual(nodes[2].stop(), 0)
        self.assertEqual(end()[1], [])
        self.assertIn("all shards are handed over", nodes[2].log())
        self.assertEqual(nodes[1].stop(), 0)
        refused = nodes[0].command("drain")
        self.assertEqual(refused.returncode, 1)
        self.assertIn("nobody can take the shards over", refused.stderr)

    def snapshots(self, node):
        """What became of copies of shards from other nodes."""
        return {next(iter(labels)).split('"')[1]: int(value) for labels, value in node.metrics("windrow_snapshots_total").items() if value}

    def test_a_node_copies_the_shards_it_gets_from_who_has_them(self):
        copying = {"snapshot_records": 50}
        a0 = self.node("a0", replica_set="a", keep_moved="1s", **copying)
        a1 = self.node("a1", replica_set="a", **copying)
        b0 = self.node("b0", replica_set="b", **copying)
        self.feed(a0)
        self.start_all([a0])
        self.wait_whole([a0])
        # Another set, with an empty folder: it reads next to nothing from Kafka.
        self.start_all([b0])
        harness.wait_for(lambda: self.answers(b0) and len(self.owned(b0)) == PARTITIONS and b0.ready(), "the second set has all shards", 60)
        self.assertEqual(self.snapshots(b0), {"fetched": PARTITIONS})
        self.assertEqual(b0.outcomes(), {})
        self.assertEqual(sum(a0.metrics("windrow_snapshots_made_total").values()), PARTITIONS)
        self.assertGreater(sum(b0.metrics("windrow_snapshot_bytes_total").values()), 0)
        self.assertEqual(self.count(b0, windrow={"local": True}).json()["result"]["count"], ROWS)
        self.assertEqual(os.listdir(os.path.join(b0.folder, "data", ".incoming")), [])
        Sender(self.kafka.address).send(self.topic, [(str(ROWS + n), json.dumps({**value(n, self.now_ms), "id": ROWS + n})) for n in range(100)])
        self.wait_whole([a0, b0], ROWS + 100)
        self.assertEqual(b0.outcomes()["ingested"], 100)

        # A planned handover: the next owner copies from the former one, which answers meanwhile.
        self.start_all([a1])
        harness.wait_for(lambda: self.spread([a0, a1]), "both nodes of the set own a part", 60)
        self.wait_whole([a0, a1], ROWS + 100)
        end = self.reading(a0, ROWS + 100)
        moving = len(self.owned(a0))
        copied = self.snapshots(a1).get("fetched", 0)
        drained = a0.command("drain")
        self.assertEqual(drained.returncode, 0, drained.stderr)
        self.assertEqual(end()[1], [])
        self.assertEqual(self.snapshots(a1), {"fetched": copied + moving})
        self.assertEqual(self.owned(a1), {str(number) for number in range(PARTITIONS)})

        # What moved away is counted, and removed a second later; not by the node that keeps it for an hour.
        harness.wait_for(lambda: sum(a0.metrics("windrow_moved_shards_removed_total").values()) == PARTITIONS, "folders of moved shards are removed", 60)
        self.assertEqual(os.listdir(os.path.join(a0.folder, "data", COLLECTION)), [])
        harness.wait_for(lambda: sum(a0.metrics("windrow_moved_shards").values()) == 0, "none is counted any more")
        self.assertEqual(len(os.listdir(os.path.join(a1.folder, "data", COLLECTION))), PARTITIONS)

    def versions(self, node):
        """What the node answers for every id there was: {id: parity}."""
        found = self.read(node, "/points", {"ids": list(range(ROWS)), "with_payload": ["parity"]}).json()["result"]
        return {point["id"]: point["payload"]["parity"] for point in found}

    def test_ids_that_move_to_added_partitions_show_their_newest_version_once(self):
        ids = range(200)
        nodes = [self.node(f"n{number}") for number in range(2)]
        nodes[0].create_topic(2)
        sender = Sender(self.kafka.address)
        sender.send(self.topic, [(str(number), json.dumps(value(number, self.now_ms))) for number in ids])
        self.start_all(nodes)
        self.wait_whole(nodes, len(ids))
        Operator(self.kafka.address).add_partitions(self.topic, 5)
        moved = [{**value(number, self.now_ms), "time_ms": self.now_ms + 1000, "payload": {"parity": 7}} for number in ids]
        # The producer learns of the new partitions in its own time.
        harness.wait_for(lambda: len(Sender(self.kafka.address).producer.list_topics(self.topic).topics[self.topic].partitions) == 5, "they are there")
        Sender(self.kafka.address).send(self.topic, [(str(point["id"]), json.dumps(point)) for point in moved])
        newest = dict.fromkeys(ids, 7)
        for node in nodes:
            harness.wait_for(lambda node=node: self.versions(node) == newest, "the newest version of each id", 60)
            self.assertFalse(self.count(node).json()["windrow"]["partial"])
        self.assertGreater(self.count(nodes[0]).json()["result"]["count"], len(ids), "some are counted twice")

        def repair(*arguments):
            done = nodes[1].command("repair", "-C", COLLECTION, "--json", *arguments)
            self.assertEqual(done.returncode, 0, done.stderr)
            return json.loads(done.stdout)

        found = repair("--dry-run")
        self.assertGreater(found["found"], 0)
        self.assertEqual(found, {"scanned": len(ids), "found": found["found"], "removed": 0})
        self.assertEqual(repair(), {**found, "removed": found["found"]})
        for node in nodes:
            harness.wait_for(lambda node=node: self.sees_all(node, len(ids)), "each id once", 30)
            self.assertEqual(self.versions(node), newest)
        self.assertEqual(repair(), {"scanned": len(ids), "found": 0, "removed": 0})
        page = self.read(nodes[0], "/points/repair", {"limit": 150}).json()["result"]
        self.assertEqual((page["scanned"], page["next_page_offset"] is None), (150, False))
        rest = self.read(nodes[0], "/points/repair", {"limit": 150, "offset": page["next_page_offset"]}).json()["result"]
        self.assertEqual((rest["scanned"], rest["next_page_offset"]), (50, None))

    def test_two_sets_answer_whole_while_nodes_of_one_die(self):
        nodes = {name: self.node(name, replica_set=name[0]) for name in ("a0", "a1", "b0", "b1")}
        self.feed(nodes["a0"])
        self.start_all(nodes.values())
        self.wait_whole(nodes.values())
        harness.wait_for(lambda: self.spread([nodes["a0"], nodes["a1"]]) and self.spread([nodes["b0"], nodes["b1"]]), "both sets are spread", 60)
        self.wait_whole(nodes.values())

        def always_whole(seconds):
            until = time.monotonic() + seconds
            slowest = 0
            while time.monotonic() < until:
                before = time.monotonic()
                reply = self.count(nodes["a0"]).json()
                slowest = max(slowest, time.monotonic() - before)
                self.assertIs(reply["windrow"]["partial"], False, reply)
                self.assertEqual(reply["result"]["count"], ROWS)
            return slowest

        always_whole(1)
        nodes["b1"].kill()
        killed = always_whole(4)
        self.wait_whole([nodes["b0"]])
        pause(nodes["a1"].process)
        paused = always_whole(4)
        resume(nodes["a1"].process)
        # Without hedges a count would take its whole timeout of 30 s.
        self.assertLess(paused, 10)
        print(f"slowest count: {killed:.3f} s after kill -9, {paused:.3f} s beside a stopped process", file=sys.stderr)
        self.assertGreater(sum(nodes["a0"].metrics("windrow_cluster_hedges_total").values()), 0)


if __name__ == "__main__":
    harness.main()
