"""Collections that come and go over HTTP in a cluster: every node comes to serve the same ones."""

import concurrent.futures
import os
import sys
import threading

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
import harness
from nodes import Nodes


class Changes(harness.Background):
    """Gives a collection another TTL through NODE, again and again."""

    def __init__(self, node, name):
        super().__init__(pause_s=0)
        self.node, self.name = node, name
        self.made = 0

    def work(self):
        reply = self.node.request("PATCH", f"/collections/{self.name}", {"windrow": {"ttl": f"{self.made % 20 + 1}h"}})
        self.made += reply.status == 200


class MadeOverHttp(Nodes):
    """Collections that come and go over HTTP while nodes do."""

    def sharing(self, name, **settings):
        node = self.node(name, **settings)
        node.tree["http"]["allow_create"] = True
        node.tree["collections"] = {}
        node.configure(node.tree)
        return node

    def create(self, node, name, size=4, named=None, **settings):
        vector = {"size": size, "distance": "Dot"}
        return node.request("PUT", f"/collections/{name}?timeout=60", {"vectors": {named: vector} if named else vector, "windrow": settings})

    def answered(self, ask, what):
        """The answer to a request that is sent again while NATS is not reached yet, or partitions are on their way to their nodes."""
        return harness.wait_for(lambda: (reply := ask()).status != 503 and reply, what)

    def taken(self, node, method, path, body):
        reply = self.answered(lambda: node.request(method, path, body), f"{method} {path} is answered")
        self.assertEqual(reply.status, 200, reply.body)
        return reply.json()["result"]

    def there(self, node, name):
        return node.request("GET", f"/collections/{name}").status == 200

    def ttl_ms(self, node, name):
        return [one["ttl_ms"] for one in node.request("GET", "/status?local=true").json()["collections"] if one["name"] == name]

    def size(self, node, name):
        return node.request("GET", f"/collections/{name}").json()["result"]["config"]["params"]["vectors"]["size"]

    def metadata(self, node, name):
        return node.request("GET", f"/collections/{name}").json()["result"]["config"].get("metadata", {})

    def files(self, node):
        folder = os.path.join(node.folder, "data", "conf.d")
        return sorted(os.listdir(folder)) if os.path.isdir(folder) else []

    def test_a_collection_made_through_one_node_comes_to_all_and_goes_from_all(self):
        one, two, coordinator = nodes = [self.sharing("n1", replica_set="a"), self.sharing("n2", replica_set="b"), self.sharing("q", replica_set="a")]
        self.start_all([one, two])
        coordinator.start("--role", "query")
        for node in nodes:
            harness.wait_for(node.ready, f"{node.tree['node']} is ready")
        news, gone = (f"{name}-{self.topic[-20:]}" for name in ("news", "gone"))

        made = self.answered(lambda: self.create(one, news, named="text", ttl="2h"), "the first node reaches NATS")
        self.assertEqual(made.status, 200, made.body)
        self.assertEqual(self.answered(lambda: self.create(two, news, 8), "the second one, too").status, 409)
        for node in nodes:
            harness.wait_for(lambda node=node: self.there(node, news), "every node has it")
        written = self.taken(two, "PUT", f"/collections/{news}/points?wait=true", {"points": [{"id": n, "vector": {"text": [1, n, 0, 0]}} for n in range(5)]})
        self.assertEqual(written["status"], "completed")
        # Set b has it. Set a reads the topic for itself, and is asked for an answer that knows of it.
        wanted = {"require": "complete", "min_offsets": {"0": written["operation_id"]}}
        for node in nodes:
            ask = {"query": [0, 1, 0, 0], "using": "text", "filter": {"must": {"has_vector": "text"}}, "with_vector": True, "limit": 1, "windrow": wanted}
            found = self.taken(node, "POST", f"/collections/{news}/points/query", ask)
            self.assertEqual([(point["id"], list(point["vector"])) for point in found["points"]], [(4, ["text"])])

        # Two at the same time: one of them wins, for all.
        replies = {}
        callers = [threading.Thread(target=lambda node=node, size=size: replies.update({size: self.create(node, gone, size)})) for node, size in ((one, 3), (two, 5))]
        for caller in callers:
            caller.start()
        for caller in callers:
            caller.join()
        self.assertEqual(sorted(reply.status for reply in replies.values()), [200, 409], [reply.body for reply in replies.values()])
        winner = next(size for size, reply in replies.items() if reply.status == 200)
        for node in nodes:
            harness.wait_for(lambda node=node: self.there(node, gone) and self.size(node, gone) == winner, "the winner's is everywhere")

        patched = coordinator.request("PATCH", f"/collections/{news}", {"windrow": {"ttl": "1h"}})
        self.assertEqual(patched.status, 200, patched.body)
        self.assertEqual(one.request("PATCH", f"/collections/{gone}", {"windrow": {"ttl": "1x"}}).status, 400)
        for node in nodes:
            harness.wait_for(lambda node=node: self.ttl_ms(node, news) == [3_600_000], "the new TTL is everywhere")

        # Changes through several nodes at the same time lose no key: one that is not the first is told so (409), or keeps the others'.
        def change(node, key):
            return harness.wait_for(lambda: (reply := node.request("PATCH", f"/collections/{news}", {"metadata": {key: 1}})).status != 409 and reply.status, "it is the first")

        keys = {node: [f"{node.tree['node']}-{number}" for number in range(20)] for node in (one, two)}
        with concurrent.futures.ThreadPoolExecutor(len(keys)) as pool:
            statuses = list(pool.map(lambda node: [change(node, key) for key in keys[node]], keys))
        self.assertEqual(statuses, [[200] * 20] * 2)
        for node in nodes:
            harness.wait_for(lambda node=node: set(self.metadata(node, news)) == {*keys[one], *keys[two]}, "all changes are everywhere")

        # A node that was away when it was deleted does not bring it back. What its own file says stays.
        mine = f"mine-{self.topic[-20:]}"
        two.kill()
        deleted = one.request("DELETE", f"/collections/{gone}")
        self.assertEqual((deleted.status, deleted.json()["result"]), (200, True), deleted.body)
        two.tree["collections"] = {mine: {"dim": 6, "topics": [mine]}}
        two.configure(two.tree)
        self.assertEqual(self.create(one, mine).status, 200)
        two.spawn_run()
        harness.wait_for(lambda: self.answers(two) and two.ready() and self.files(two) == [f"{news}.yaml"], "it follows")
        for node in nodes:
            harness.wait_for(lambda node=node: not self.there(node, gone), "nobody has it")
            self.assertTrue(self.there(node, news))
        harness.wait_for(lambda: not os.path.exists(os.path.join(two.folder, "data", "collections.d", gone)), "its folder goes behind it")
        harness.wait_for(lambda: "that file wins" in two.log(), "the log says so")
        self.assertEqual((self.size(one, mine), self.size(two, mine)), (4, 6))
        refused = two.request("DELETE", f"/collections/{mine}")
        self.assertEqual(refused.status, 501, refused.body)
        self.assertIn("windrow.yaml", refused.json()["status"]["error"])

        # Without NATS nothing changes; one that lost its disk hears of them again.
        self.nats.stop()
        before = self.files(one)
        for method, path, body in (("PUT", f"/collections/x{gone}", {"vectors": {"size": 4, "distance": "Dot"}}), ("PATCH", f"/collections/{news}", {"windrow": {"ttl": "3h"}}), ("DELETE", f"/collections/{news}", None)):
            reply = harness.wait_for(lambda: one.request(method, path, body), "an answer")
            self.assertEqual(reply.status, 503, (method, reply.body))
            self.assertIn("nothing was", reply.json()["status"]["error"])
        self.assertEqual((self.files(one), self.ttl_ms(one, news)), (before, [3_600_000]))
        self.nats.wipe()
        harness.wait_for(lambda: any("put back as it is here" in node.log() for node in nodes), "it is put back")
        self.assertEqual(self.create(two, news).status, 409)
        self.assertEqual(harness.wait_for(lambda: (reply := two.request("DELETE", f"/collections/{news}")).status == 200 and reply, "it can be deleted").json()["result"], True)
        for node in nodes:
            harness.wait_for(lambda node=node: not self.there(node, news), "nobody has it")

    def test_a_collection_that_was_made_again_is_empty_on_all_nodes(self):
        one, two = nodes = [self.sharing("n1", replica_set="a"), self.sharing("n2", replica_set="b")]
        self.start_all(nodes)
        for node in nodes:
            harness.wait_for(node.ready, f"{node.tree['node']} is ready")
        name = f"anew-{self.topic[-20:]}"
        ask = {"limit": 100, "with_payload": False, "windrow": {"require": "complete"}}
        ids = lambda node: [point["id"] for point in self.taken(node, "POST", f"/collections/{name}/points/scroll", ask)["points"]]
        self.assertEqual(self.answered(lambda: self.create(one, name), "NATS is reached").status, 200)
        for turn in range(3):
            for node in nodes:
                harness.wait_for(lambda node=node: self.there(node, name), "every node has it")
            points = [{"id": 100 * turn + n, "vector": [1, n, 0, 0]} for n in range(20)]
            self.taken(two, "PUT", f"/collections/{name}/points?wait=true", {"points": points})
            for node in nodes:
                self.assertEqual(harness.wait_for(lambda node=node: len(found := ids(node)) >= 20 and found, "it reads all"), [point["id"] for point in points], (turn, node.tree["node"]))
            deleted = self.answered(lambda: one.request("DELETE", f"/collections/{name}"), "it is deleted")
            self.assertEqual((deleted.status, deleted.json()["result"]), (200, True), deleted.body)
            self.assertEqual(self.create(one, name).status, 200)
            self.assertEqual(ids(one), [])
            harness.wait_for(lambda: self.there(two, name) and ids(two) == [], "the other one follows")
        # A disk that is lost, with the definition on it, is filled anew.
        self.taken(one, "PUT", f"/collections/{name}/points?wait=true", {"points": [{"id": 7, "vector": [1, 1, 1, 1]}]})
        two.stop()
        two.lose_data()
        two.start()
        harness.wait_for(lambda: two.ready() and self.there(two, name), "it follows")
        harness.wait_for(lambda: two.request("POST", f"/collections/{name}/points/count", {"windrow": {"local": True}}).json().get("result") == {"count": 1}, "it has read again")
        self.assertEqual([ids(node) for node in nodes], [[7], [7]])

    def test_a_deleted_collection_does_not_come_back_with_news_of_an_older_change(self):
        one, two = nodes = [self.sharing("n1", replica_set="a"), self.sharing("n2", replica_set="b")]
        self.start_all(nodes)
        for node in nodes:
            harness.wait_for(node.ready, f"{node.tree['node']} is ready")
        names = [f"brief{number}-{self.topic[-20:]}" for number in range(3)]
        for name in names:
            self.assertEqual(self.answered(lambda name=name: self.create(one, name), "NATS is reached").status, 200)
            harness.wait_for(lambda name=name: self.there(two, name), "every node has it")
            changes = Changes(two, name)
            changes.start()
            harness.wait_for(lambda: changes.made >= 3, "it changes all the time")
            deleted = self.answered(lambda name=name: one.request("DELETE", f"/collections/{name}"), "it is deleted")
            self.assertEqual((deleted.status, deleted.json()["result"]), (200, True), deleted.body)
            self.assertFalse(self.there(one, name))
            harness.wait_for(lambda name=name: not self.there(two, name), "nobody has it")
            changes.finish()
        # What follows comes after all that was told of the others.
        last = f"last-{self.topic[-20:]}"
        self.assertEqual(self.create(two, last).status, 200)
        harness.wait_for(lambda: self.there(one, last), "the first node hears of it")
        for name in names:
            for node in nodes:
                self.assertEqual(node.log().count(f"collection {name} was created over HTTP"), 1, node.log()[-4000:])


if __name__ == "__main__":
    harness.main()
