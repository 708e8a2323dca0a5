"""Parts of points are changed, and upserts have conditions: nothing is lost, whoever else writes, to whichever process."""

import json
import os
import sys
import threading
import time
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
import harness
from servers import Kafka, Nats
from service import COLLECTION, Windrow

DIM = 4
WRITERS = 6
POINTS = 12
ROUNDS = 3
PATH = f"/collections/{COLLECTION}/points"
FAST_GROUP = {"session.timeout.ms": "3000", "heartbeat.interval.ms": "500", "topic.metadata.refresh.interval.ms": "1000"}


class Updates(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.kafka = Kafka("group.min.session.timeout.ms=1000").start()
        cls.addClassCleanup(cls.kafka.stop)

    def setUp(self):
        self.topic = f"updates-{self._testMethodName[:60]}"
        self.now_ms = int(time.time() * 1000)

    def service(self, partitions=2, **options):
        windrow = Windrow(self.kafka.address, **{"dim": DIM, "topics": [self.topic], "group": self.topic, "late": {"allowed": "1h"}, **options})
        self.addCleanup(windrow.stop)
        windrow.create_topic(partitions)
        windrow.start()
        harness.wait_for(windrow.ready, "windrow is ready")
        return windrow

    def call(self, windrow, method, path, body, status=200):
        reply = windrow.request(method, f"{PATH}{path}", body)
        self.assertEqual(reply.status, status, reply.body)
        return reply.json()["result"] if status == 200 else reply.json()["status"]["error"]

    def upsert(self, windrow, ids, **condition):
        points = [{"id": ident, "vector": [1, ident, 2, 3], "payload": {"n": ident, "time_ms": self.now_ms}} for ident in ids]
        return self.call(windrow, "PUT", "?wait=true", {"points": points, **condition})

    def payloads(self, windrow):
        return {ident: {key: entry for key, entry in point["payload"].items() if key != "time_ms"} for ident, point in windrow.scroll().items()}

    def all_at_once(self, work):
        """WORK(number of the writer), in WRITERS threads; the first failure is raised."""
        failures = []

        def run(number):
            try:
                work(number)
            except Exception as failure:  # pylint: disable=broad-except
                failures.append(failure)

        threads = [threading.Thread(target=run, args=(number,)) for number in range(WRITERS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if failures:
            raise failures[0]

    def test_each_kind_of_update(self):
        windrow = self.service()
        self.upsert(windrow, range(4))
        before = windrow.scroll()
        self.call(windrow, "POST", "/payload", {"payload": {"a": 1, "deep": {"x": [1, {"y": 2}]}}, "points": [0, 1]})
        self.call(windrow, "POST", "/payload", {"payload": {"z": 7, "y": None}, "key": "deep.x[1]", "points": [1]})
        self.call(windrow, "POST", "/payload", {"payload": {"a": 2}, "filter": {"must": [{"key": "n", "range": {"gte": 2}}]}})
        self.assertEqual(self.payloads(windrow), {0: {"n": 0, "a": 1, "deep": {"x": [1, {"y": 2}]}}, 1: {"n": 1, "a": 1, "deep": {"x": [1, {"z": 7}]}},
                                                  2: {"n": 2, "a": 2}, 3: {"n": 3, "a": 2}})
        self.call(windrow, "POST", "/payload/delete", {"keys": ["a", "deep.x[].z", "deep.none"], "points": [1, 2]})
        self.call(windrow, "PUT", "/payload", {"payload": {"only": "this"}, "points": [3]})
        self.call(windrow, "POST", "/payload/clear", {"points": [0]})
        self.call(windrow, "PUT", "/vectors", {"points": [{"id": 2, "vector": {"": [9, 8, 7, 6]}}]})
        self.assertEqual(self.payloads(windrow), {0: {}, 1: {"n": 1, "deep": {"x": [1, {}]}}, 2: {"n": 2}, 3: {"only": "this"}})
        after = windrow.scroll()
        self.assertEqual([after[ident]["vector"] for ident in range(4)], [before[0]["vector"], before[1]["vector"], [9, 8, 7, 6], before[3]["vector"]])
        # The event time stays, also where the payload no longer tells it.
        at_that_time = {"must": [{"key": "@time", "range": {"gte": self.now_ms, "lte": self.now_ms}}]}
        self.assertEqual(windrow.post("/points/count", {"filter": at_that_time})["count"], 4)

    def test_a_batch_sees_its_own_operations(self):
        windrow = self.service()
        point = {"id": 1, "vector": [1, 2, 3, 4], "payload": {"n": 1, "time_ms": self.now_ms}}
        operations = [
            {"upsert": {"points": [point, {**point, "id": 2}, {**point, "id": 3}]}},
            {"set_payload": {"payload": {"a": 1}, "points": [1, 2]}},
            {"overwrite_payload": {"payload": {"b": 2}, "filter": {"must": [{"key": "a", "match": {"value": 1}}, {"has_id": [2]}]}}},
            {"delete_payload": {"keys": ["n"], "points": [1]}},
            {"update_vectors": {"points": [{"id": 1, "vector": [4, 3, 2, 1]}]}},
            {"delete": {"filter": {"must": [{"key": "n", "match": {"value": 1}}]}}},
        ]
        self.assertEqual(len(self.call(windrow, "POST", "/batch?wait=true", {"operations": operations})), len(operations))
        self.assertEqual(self.payloads(windrow), {1: {"a": 1}, 2: {"b": 2}})
        self.assertEqual(windrow.scroll()[1]["vector"], [4, 3, 2, 1])

    def test_what_cannot_be_changed_is_told(self):
        windrow = self.service()
        self.upsert(windrow, [1])
        self.assertIn("No point with id 5", self.call(windrow, "POST", "/payload", {"payload": {"a": 1}, "points": [1, 5]}, 404))
        self.assertIn("dim: 4, got 2", self.call(windrow, "PUT", "/vectors", {"points": [{"id": 1, "vector": [1, 2]}]}, 400))
        self.assertIn("error: image", self.call(windrow, "POST", "/vectors/delete", {"points": [1], "vector": ["image"]}, 400))
        self.assertIn("`points` or `filter`", self.call(windrow, "POST", "/payload", {"payload": {"a": 1}}, 400))
        self.assertIn("$.key", self.call(windrow, "POST", "/payload", {"payload": {"a": 1}, "key": "a..b", "points": [1]}, 400))
        self.assertIn("$.key", self.call(windrow, "POST", "/payload", {"payload": {"a": 1}, "key": "a." * 40 + "b", "points": [1]}, 400))
        self.assertEqual(self.payloads(windrow), {1: {"n": 1}})

    def test_upserts_under_a_condition(self):
        windrow = self.service()
        self.upsert(windrow, [1, 2])
        self.call(windrow, "POST", "/payload", {"payload": {"mine": True}, "points": [1]})
        self.upsert(windrow, [1, 3], update_mode="insert_only")
        self.upsert(windrow, [2, 4], update_mode="update_only")
        self.assertEqual(self.payloads(windrow), {1: {"n": 1, "mine": True}, 2: {"n": 2}, 3: {"n": 3}})
        self.call(windrow, "POST", "/payload", {"payload": {"v": 1}, "points": [2, 3]})
        only_old = {"must": [{"key": "v", "match": {"value": 1}}]}
        self.upsert(windrow, [1, 2, 5], update_filter=only_old)
        self.assertEqual(self.payloads(windrow), {1: {"n": 1, "mine": True}, 2: {"n": 2}, 3: {"n": 3, "v": 1}, 5: {"n": 5}})
        self.call(windrow, "POST", "/delete?wait=true", {"points": [5]})
        self.upsert(windrow, [5], update_mode="insert_only")
        self.assertIn(5, self.payloads(windrow))

    def test_a_delete_by_filter_takes_no_upsert_along(self):
        windrow = self.service()
        old = {"must": [{"key": "state", "match": {"value": "old"}}]}

        def put(ids, state):
            points = [{"id": ident, "vector": [1, ident, 2, 3], "payload": {"state": state, "time_ms": self.now_ms}} for ident in ids]
            self.call(windrow, "PUT", "?wait=true", {"points": points})

        put(range(2000), "old")
        remover = threading.Thread(target=self.call, args=(windrow, "POST", "/delete", {"filter": old}))
        remover.start()
        for first in range(0, 2000, 100):
            put(range(first, first + 10), "new")
        remover.join()
        new = {ident for first in range(0, 2000, 100) for ident in range(first, first + 10)}
        self.assertEqual({ident: payload["state"] for ident, payload in self.payloads(windrow).items()}, dict.fromkeys(new, "new"))

    def write_all(self, nodes):
        """Every writer sets a key of its own on every point, one of them the vectors; every other process is asked in turn."""

        def work(number):
            for count in range(ROUNDS):
                node = nodes[(number + count) % len(nodes)]
                self.call(node, "POST", "/payload", {"payload": {f"w{number}": count}, "points": list(range(POINTS))})
            vectors = [{"id": ident, "vector": [number, ident, 1, 1]} for ident in range(number, POINTS, WRITERS)]
            self.call(nodes[0], "PUT", "/vectors", {"points": vectors})
            self.call(nodes[-1], "POST", "/payload", {"payload": {f"f{number}": 1}, "filter": {"must": [{"key": "n", "range": {"lt": POINTS}}]}})

        self.all_at_once(work)
        keys = {f"w{number}": ROUNDS - 1 for number in range(WRITERS)} | {f"f{number}": 1 for number in range(WRITERS)}
        expected = {ident: {"n": ident, **keys} for ident in range(POINTS)}
        for node in nodes:
            self.assertEqual(self.payloads(node), expected)
            self.assertEqual({ident: point["vector"] for ident, point in node.scroll().items()}, {ident: [ident % WRITERS, ident, 1, 1] for ident in range(POINTS)})

    def test_no_update_is_lost_and_a_second_reader_agrees(self):
        windrow = self.service()
        self.upsert(windrow, range(POINTS))
        self.write_all([windrow])
        self.assertGreater(windrow.outcomes()["unmet"], 0, "no two writers met: the test shows nothing")
        found = windrow.scroll()
        # The same from the topic alone, by another group, with records of lost races in it; and from the window read again.
        other = self.service(group=f"{self.topic}-other")
        other.wait_caught_up({shard: offset for shard, offset in windrow.next_offsets().items()})
        self.assertEqual(other.scroll(), found)
        self.assertEqual(other.outcomes()["unmet"], windrow.outcomes()["unmet"])
        done = windrow.command("rebuild", "-C", COLLECTION, "--window", str(self.now_ms), "--json")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual({window["action"] for window in json.loads(done.stdout)["result"]}, {"rebuild"})
        self.assertEqual(windrow.scroll(), found)

    def test_of_many_inserts_one_wins_and_counts_by_condition_add_up(self):
        windrow = self.service()
        won = []

        def work(number):
            point = {"id": 1, "vector": [1, 1, 1, 1], "payload": {"by": number, "count": 0, "time_ms": self.now_ms}}
            self.call(windrow, "PUT", "", {"points": [point], "update_mode": "insert_only"})
            for _ in range(ROUNDS):
                while True:
                    count = windrow.scroll()[1]["payload"]["count"]
                    mine = {**point, "payload": {**point["payload"], "count": count + 1, "last": f"{number}-{count}"}}
                    self.call(windrow, "PUT", "", {"points": [mine], "update_filter": {"must": [{"key": "count", "match": {"value": count}}]}})
                    if (found := windrow.scroll()[1]["payload"])["count"] > count and found.get("last") == f"{number}-{count}":
                        won.append(count)
                        break
                    if found["count"] > count + 1:
                        break  # it may have been ours, and another came after it

        self.all_at_once(work)
        self.assertEqual(len(won), len(set(won)), "two writers won the same count")
        self.assertEqual(len(windrow.scroll()), 1)

    def test_updates_over_several_nodes(self):
        nats = Nats().start()
        self.addCleanup(nats.stop)
        nodes = []
        for name in ("a", "b"):
            options = {"nats": nats.url, "properties": FAST_GROUP, "node": name, "cluster": {"name": "prod"}}
            nodes.append(self.service(partitions=4, **options))

        def spread():
            found = [node.next_offsets() for node in nodes]
            return all(len(shards) == 2 for shards in found) and [shards.keys() for shards in found]

        harness.wait_for(spread, "each node has two partitions")
        harness.wait_for(lambda: all(node.search_reply({"limit": 1})["windrow"]["partial"] is False for node in nodes), "the nodes know each other")
        self.upsert(nodes[0], range(POINTS))
        self.write_all(nodes)

    def test_a_stopped_process_loses_no_update(self):
        windrow = self.service()
        self.upsert(windrow, range(3))
        self.call(windrow, "POST", "/payload", {"payload": {"a": 1}, "points": [0, 1, 2]})
        windrow.kill()
        windrow.start()
        harness.wait_for(windrow.ready, "windrow is ready again")
        self.call(windrow, "POST", "/payload", {"payload": {"b": 1}, "points": [0, 1, 2]})
        self.assertEqual(self.payloads(windrow), {ident: {"n": ident, "a": 1, "b": 1} for ident in range(3)})


if __name__ == "__main__":
    harness.main()
