"""Words as queries: a real model behind the endpoint for what is found, and an endpoint that misbehaves for the rest.

Runs in the private environment that scripts/test makes; the model is in another one (`venv-embed`).
"""

import concurrent.futures
import json
import os
import signal
import socket
import sys
import time
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "support"))
sys.path.insert(0, os.path.join(HERE, "..", "..", "examples"))
import harness

harness.require_client("qdrant_client")

import browser
import embedders
from qdrant_client import QdrantClient, models
from qdrant_client.http.exceptions import UnexpectedResponse
from servers import Kafka
from service import COLLECTION, Windrow
from vectors import read_vectors

EXAMPLES = os.path.join(harness.ROOT, "examples")
ROWS = 2400
MODEL = "all-minilm-l6-v2"
ODD, ODD_DIM, ODD_MODEL = "odd", 8, "tiny"  # of the endpoint that misbehaves
HURRY = "hurry"  # asks the same one, and has no time
MUTE = "mute"  # has none
IN_FLIGHT = 4
TYPED = ["the laptop does not wake up after suspend", "a package fails to build with the new compiler", "translation updates"]


@unittest.skipUnless(os.path.exists(os.path.join(harness.CACHE, "venv-embed")), "no venv-embed in the cache folder; scripts/test makes it")
class Words(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.embedder = embedders.Embedder().start()
        cls.addClassCleanup(cls.embedder.stop)
        cls.odd = embedders.Scripted(ODD_DIM)
        cls.addClassCleanup(cls.odd.stop)
        cls.kafka = Kafka().start()
        cls.addClassCleanup(cls.kafka.stop)
        cls.windrow = Windrow(cls.kafka.address, dim=embedders.DIM, metric="cosine", embedder={"url": cls.embedder.url})
        cls.key_file = os.path.join(cls.windrow.folder, "embedder.key")
        cls.write_key("first")
        cls.grpc_port = harness.free_ports(1)[0]
        tree = cls.windrow.tree
        tree["http"]["grpc_listen"] = f"127.0.0.1:{cls.grpc_port}"
        odd = {"url": cls.odd.url, "model": ODD_MODEL, "key_file": cls.key_file, "timeout": "60s"}
        tree["collections"][ODD] = {"dim": ODD_DIM, "metric": "l2", "embedder": odd}
        tree["collections"][HURRY] = {"dim": ODD_DIM, "embedder": {"url": cls.odd.url, "timeout": "300ms"}}
        tree["collections"][MUTE] = {"dim": ODD_DIM}
        cls.windrow.configure(tree)
        for collection in (COLLECTION, ODD, HURRY, MUTE):
            done = cls.windrow.command("produce", "-C", collection, "--create-topic", "1", input=cls.lines(collection))
            assert done.returncode == 0, done.stderr
        cls.windrow.start()
        cls.windrow.wait_caught_up({"0": ROWS})
        cls.client = QdrantClient(url=cls.windrow.url, timeout=30, cloud_inference=True)
        cls.addClassCleanup(cls.client.close)

    @classmethod
    def tearDownClass(cls):
        stopped = cls.windrow.stop()
        assert stopped == 0, cls.windrow.log()[-6000:]

    @classmethod
    def lines(cls, collection):
        if collection != COLLECTION:
            texts = [f"text {number}" for number in range(10)] if collection == ODD else []
            return "".join(json.dumps({"id": number, "vector": embedders.vector_of(text, ODD_DIM), "payload": {"text": text}}) + "\n" for number, text in enumerate(texts))
        now_ms = int(time.time() * 1000)
        with open(os.path.join(EXAMPLES, "changelog-sample.jsonl"), encoding="utf-8") as file:
            points = [json.loads(line) for line in file]
        vectors = read_vectors(os.path.join(EXAMPLES, "changelog-sample.hbin"))
        return "".join(json.dumps({**point, "time_ms": now_ms, "vector": list(vector)}) + "\n" for point, vector in zip(points, vectors, strict=True))

    @classmethod
    def write_key(cls, key, mode=0o600):
        with open(cls.key_file, "w", encoding="utf-8") as file:
            file.write(key + "\n")
        os.chmod(cls.key_file, mode)

    def setUp(self):
        self.odd.forget()

    def tearDown(self):
        self.odd.forget()

    def ask(self, query, collection=COLLECTION, path="", **more):
        return self.windrow.request("POST", f"/collections/{collection}/points/query{path}", {"query": query, "limit": 5, "params": {"exact": True}, **more})

    def found(self, reply):
        self.assertEqual(reply.status, 200, reply.body[:600])
        return [(hit["id"], round(hit["score"], 4)) for hit in reply.json()["result"]["points"]]

    def refused(self, status, pattern, reply):
        self.assertEqual(reply.status, status, reply.body[:600])
        self.assertRegex(reply.json()["status"]["error"], pattern)

    def sum_of(self, name, collection=ODD, **labels):
        wanted = {f'{key}="{value}"' for key, value in {"collection": collection, **labels}.items()}
        return sum(value for found, value in self.windrow.metrics(name).items() if wanted <= found)

    # What words find.

    def test_words_find_what_their_vectors_find(self):
        """Once through the endpoint and once by hand, over every way into the service."""
        import urllib.request

        request = urllib.request.Request(self.embedder.url, json.dumps({"input": TYPED}).encode(), {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=60) as response:
            vectors = [item["embedding"] for item in json.load(response)["data"]]
        wanted = [self.found(self.ask(vector)) for vector in vectors]
        self.assertEqual(len({str(found) for found in wanted}), len(TYPED))
        self.assertIn("suspend", json.dumps(self.ask(vectors[0], with_payload=True).json()))
        exact = models.SearchParams(exact=True)
        by_grpc = QdrantClient(url=self.windrow.url, grpc_port=self.grpc_port, prefer_grpc=True, cloud_inference=True, timeout=30)
        self.addCleanup(by_grpc.close)
        for text, expected in zip(TYPED, wanted, strict=True):
            with self.subTest(text):
                document = models.Document(text=text, model=MODEL)
                self.assertEqual(self.found(self.ask({"text": text})), expected)
                self.assertEqual(self.found(self.ask({"nearest": {"text": text, "model": MODEL}})), expected)
                for client in (self.client, by_grpc):
                    hits = client.query_points(COLLECTION, query=document, limit=5, search_params=exact).points
                    self.assertEqual([(hit.id, round(hit.score, 4)) for hit in hits], expected)
                done = self.windrow.command("search", "-C", COLLECTION, "--text", text, "-k", "5", "--exact", "--json")
                self.assertEqual(done.returncode, 0, done.stderr)
                self.assertEqual([hit["id"] for hit in json.loads(done.stdout)["result"]["points"]], [point for point, _ in expected])

    def test_words_stand_wherever_a_vector_may(self):
        documents = [models.Document(text=text, model=MODEL) for text in TYPED]
        exact = models.SearchParams(exact=True)
        single = [self.found(self.ask({"text": text})) for text in TYPED]
        batch = self.client.query_batch_points(COLLECTION, [models.QueryRequest(query=document, limit=5, params=exact) for document in documents])
        self.assertEqual([[(hit.id, round(hit.score, 4)) for hit in answer.points] for answer in batch], single)
        prefetch = [models.Prefetch(query=document, limit=5, params=exact) for document in documents]
        fused = self.client.query_points(COLLECTION, prefetch=prefetch, query=models.FusionQuery(fusion=models.Fusion.RRF), limit=15).points
        self.assertEqual({hit.id for hit in fused}, {point for found in single for point, _ in found})
        liked = self.client.query_points(COLLECTION, query=models.RecommendQuery(recommend=models.RecommendInput(positive=[documents[0]], negative=[documents[1]])), limit=5).points
        self.assertEqual(len(liked), 5)
        mixed = models.RecommendInput(positive=[single[0][0][0], documents[0]])
        self.assertEqual(len(self.client.query_points(COLLECTION, query=models.RecommendQuery(recommend=mixed), limit=5).points), 5)
        self.assertIn(single[0][0][0], [hit.id for hit in liked])
        groups = self.client.query_points_groups(COLLECTION, group_by="package", query=documents[0], limit=3, group_size=1, search_params=exact).groups
        self.assertEqual(groups[0].hits[0].id, single[0][0][0])
        varied = self.found(self.ask({"nearest": {"text": TYPED[0]}, "mmr": {"diversity": 0.5, "candidates_limit": 50}}))
        self.assertEqual(varied[0][0], single[0][0][0])

    @unittest.skipIf(browser.why_not(), browser.why_not())
    def test_dashboard_answers_typed_words(self):
        page = browser.Browser().start()
        self.addCleanup(page.stop)
        page.open(self.windrow.url + "/")
        page.wait("return document.querySelectorAll('.card').length >= 6", "records")
        for text, note in ((TYPED[0], "nearest in meaning"), ("suspend", "else what is nearest to it in meaning"), ('"suspend"', "all of these words in text")):
            before = page.run("return state.asked")
            page.run("$('q').value = arguments[0]; $('q').dispatchEvent(new Event('input')); $('search').requestSubmit();", text)
            page.wait(f"return state.asked > {before} && !$('search-panel').hasAttribute('aria-busy')", "an answer")
            self.assertIn(note, page.run("return $('reading').textContent"))
            cards = page.run("return [...document.querySelectorAll('.card .text')].map(card => card.textContent)")
            self.assertGreater(len(cards), 0)
            if text == '"suspend"':
                self.assertTrue(all("suspend" in card.lower() for card in cards), cards)
            else:
                hits = self.ask({"text": text}, limit=6, with_payload=True, params={}).json()["result"]["points"]
                self.assertEqual(cards, [hit["payload"]["text"] for hit in hits])
        page.run("$('q').value = ''; $('collection').value = arguments[0]; $('collection').dispatchEvent(new Event('change'))", ODD)
        newest = "[...document.querySelectorAll('.card .text')].some(card => card.textContent.startsWith('text '))"
        page.wait(f"return state.collection.name === '{ODD}' && {newest}", "the other collection")
        self.odd.behave = lambda handler, texts: handler.answer(500, '{"error": {"message": "the model is gone"}}') or True
        page.run("$('q').value = 'never asked before'; $('search').requestSubmit();")
        page.wait("return $('answered').textContent.includes('answered 500: the model is gone')", "the failure")
        self.assertEqual([line for line in page.complaints() if "502" not in str(line)], [])

    # What is refused.

    def test_what_cannot_be_embedded_is_refused_with_a_sentence(self):
        none = r"collection `mute` has no embedder"
        self.refused(400, none, self.ask({"text": "words"}, MUTE))
        self.refused(400, none, self.ask({"fusion": "rrf"}, MUTE, prefetch=[{"query": {"text": "words"}}]))
        with self.assertRaises(UnexpectedResponse) as raised:
            self.client.query_points(MUTE, query=models.Document(text="words", model=MODEL))
        self.assertEqual(raised.exception.status_code, 400)
        self.refused(400, r"the model of collection `odd` is tiny, not other", self.ask({"text": "words", "model": "other"}, ODD))
        self.assertEqual(len(self.found(self.ask({"text": "words", "model": ""}, ODD))), 5)
        self.refused(400, r"`text` of 1 to 65536 bytes, found 0", self.ask({"text": ""}, ODD))
        self.refused(400, r"found 65537", self.ask({"text": "x" * 65537}, ODD))
        self.refused(400, r"only `model` beside `text`", self.ask({"text": "x", "mmr": {}}, ODD))
        self.refused(400, r"\$\.query\.text: expected a string", self.ask({"text": 7}, ODD))
        self.refused(501, r"`options` \(\$\.query\.options\)", self.ask({"text": "x", "options": {}}, ODD))
        self.refused(501, r"`image`", self.ask({"image": "x", "model": "m"}, ODD))
        with self.assertRaises(UnexpectedResponse) as raised:
            self.client.upsert(ODD, [models.PointStruct(id=1, vector=models.Document(text="words", model=ODD_MODEL))])
        self.assertEqual(raised.exception.status_code, 501)
        self.assertIn(b"points come with their vectors", raised.exception.content)
        done = self.windrow.command("search", "-C", MUTE, "--text", "words")
        self.assertNotEqual(done.returncode, 0)
        self.assertRegex(done.stderr, none)
        self.assertEqual(self.windrow.command("search", "-C", MUTE, "--text", "words", "--like", "1").returncode, 64)

    # How the endpoint is asked.

    def test_answers_are_kept_and_a_body_is_one_request(self):
        hits, misses = self.sum_of("windrow_embedder_cache_hits_total"), self.sum_of("windrow_embedder_cache_misses_total")
        answered = self.sum_of("windrow_embedder_requests_total", outcome="answered")
        texts = [f"text {number}" for number in (3, 1, 4, 1, 5)]
        reply = self.windrow.request("POST", f"/collections/{ODD}/points/query/batch", {"searches": [{"query": {"text": text}, "limit": 1} for text in texts]})
        self.assertEqual([answer["points"][0]["id"] for answer in reply.json()["result"]], [3, 1, 4, 1, 5])
        self.assertEqual(self.odd.texts(), [["text 3", "text 1", "text 4", "text 5"]])
        headers, document = self.odd.requests[0]
        self.assertEqual((headers["Authorization"], headers["Content-Type"], document["model"]), ("Bearer first", "application/json", ODD_MODEL))
        self.assertNotIn("api-key", {name.lower() for name in headers})
        for text in texts:
            self.assertEqual(self.found(self.ask({"text": text}, ODD))[0][0], int(text[-1]))
        self.assertEqual(len(self.odd.requests), 1)
        self.assertEqual(self.sum_of("windrow_embedder_cache_hits_total") - hits, 5)
        self.assertEqual(self.sum_of("windrow_embedder_cache_misses_total") - misses, 5)
        self.assertEqual(self.sum_of("windrow_embedder_requests_total", outcome="answered") - answered, 1)
        self.assertGreater(self.sum_of("windrow_embedder_request_seconds_count"), 0)
        self.assertGreater(sum(self.windrow.metrics("windrow_embedder_cache_bytes").values()), 0)

    def waiting(self, count):
        """COUNT requests are with the endpoint."""
        harness.wait_for(lambda: len(self.odd.requests) >= count, f"{count} requests are under way")

    def test_queries_that_wait_share_a_request_and_hold_nobody_up(self):
        """Many more of them than there are threads that compute; beside them queries with vectors are answered."""
        self.windrow.request("POST", f"/collections/{ODD}/points/query", {"query": {"text": "text 0"}})
        self.odd.forget()
        self.odd.held.clear()
        with concurrent.futures.ThreadPoolExecutor(80) as pool:
            early = []
            for number in range(IN_FLIGHT):
                early.append(pool.submit(self.ask, {"text": f"early {number}"}, ODD))
                self.waiting(number + 1)
            late = [pool.submit(self.ask, {"text": f"late {number % 20}"}, ODD) for number in range(60)]
            for _ in range(20):
                self.assertEqual(len(self.found(self.ask([1.0] * ODD_DIM, ODD))), 5)
                self.assertEqual(len(self.found(self.ask({"text": "text 0"}, ODD))), 5)
            self.assertEqual(len(self.odd.requests), IN_FLIGHT)
            harness.wait_for(lambda: self.sum_of("windrow_embedder_cache_misses_total") >= IN_FLIGHT + 60, "all of them wait")
            self.odd.held.set()
            for reply in early + late:
                self.assertEqual(len(self.found(reply.result())), 5)
        self.assertEqual(sorted(sum(self.odd.texts()[IN_FLIGHT:], [])), sorted(f"late {number}" for number in range(20)))
        self.assertLess(len(self.odd.requests), IN_FLIGHT + 10)

    def test_failures_are_told_and_not_kept(self):
        def reply(status, body):
            return lambda handler, texts: handler.answer(status, body) or True

        def vectors(*rows):
            return reply(200, json.dumps({"data": [{"index": place, "embedding": row} for place, row in enumerate(rows)]}))

        good = [1.0] * ODD_DIM
        cases = [
            (r"answered 500: the model is gone$", reply(500, '{"error": {"message": "the model is gone"}}')),
            (r"answered 401: no such key$", reply(401, '{"error": "no such key"}')),
            (r"answered 429: slow down$", reply(429, '{"message": "slow down"}')),
            (r"answered 404: <html>$", reply(404, "<html>")),
            (r"answered 301: $", reply(301, "")),
            (r"sent no JSON: byte 0", reply(200, "<html>")),
            (r"sent no JSON", reply(200, "")),
            (r"sent JSON without the array `data`", reply(200, "[]")),
            (r"sent 0 vectors for 1 texts", vectors()),
            (r"sent 2 vectors for 1 texts", vectors(good, good)),
            (r"sent a vector of 3 numbers; the collection has vectors of 8", vectors([1.0, 2.0, 3.0])),
            (r"sent no JSON", reply(200, json.dumps({"data": [{"embedding": [float("nan")] * ODD_DIM}]}))),
            (r"number 7 is no finite float32", vectors([*good[1:], 1e39])),
            (r"number 0 is no finite float32", vectors([None, *good[1:]])),
            (r"no array of numbers", vectors("AACAPw==")),
            (r"an `index` that stands for no text", reply(200, json.dumps({"data": [{"index": 1, "embedding": good}]}))),
        ]
        for number, (pattern, behave) in enumerate(cases):
            with self.subTest(pattern):
                text = f"failing {number}"
                self.odd.behave = behave
                before = sum(self.windrow.metrics("windrow_embedder_requests_total").values())
                self.refused(502, r"^the embedder of collection `odd` .*" + pattern, self.ask({"text": text}, ODD))
                self.assertNotIn("127.0.0.1", self.ask({"text": text}, ODD).body.decode())
                self.assertEqual(sum(self.windrow.metrics("windrow_embedder_requests_total").values()) - before, 2)
                self.odd.behave = None
                self.assertEqual(len(self.found(self.ask({"text": text}, ODD))), 5)
        for outcome in ("refused", "unusable", "answered"):
            self.assertGreater(self.sum_of("windrow_embedder_requests_total", outcome=outcome), 0, outcome)
        self.assertIn("embedder", self.windrow.log())

    def test_slow_and_absent_endpoints_refuse_with_their_reason(self):
        self.odd.held.clear()
        self.refused(504, r"the embedder of collection `hurry` did not answer within 300 ms", self.ask({"text": "slow"}, HURRY))
        self.refused(408, r"longer than its timeout", self.ask({"text": "slow"}, ODD, path="?timeout=1"))
        harness.wait_for(lambda: self.sum_of("windrow_embedder_requests_total", HURRY, outcome="timeout"), "the request ends, too")
        self.odd.forget()
        self.assertEqual(len(self.found(self.ask({"text": "slow"}, ODD))), 5)

        def cut(handler, texts):
            handler.close_connection = True
            handler.connection.shutdown(socket.SHUT_RDWR)
            return True

        self.odd.behave = cut
        self.refused(502, r"the embedder of collection `odd` cannot be asked: ", self.ask({"text": "cut off"}, ODD))
        self.assertGreater(self.sum_of("windrow_embedder_requests_total", outcome="unreachable"), 0)

    def test_refused_connection_and_a_client_that_goes(self):
        port = harness.free_ports(1)[0]  # nobody listens there
        odd = {"url": f"http://127.0.0.1:{port}/v1/embeddings"}
        other = Windrow(self.kafka.address, dim=ODD_DIM, embedder=odd, group="other")
        self.addCleanup(other.stop)
        other.start()
        reply = other.request("POST", f"/collections/{COLLECTION}/points/query", {"query": {"text": "words"}})
        self.refused(502, r"cannot be asked: Could.?n.t connect to server", reply)
        self.assertIn(f"127.0.0.1 port {port}", other.log().replace("127.0.0.1:", "127.0.0.1 port "))
        self.odd.held.clear()
        gone = self.sum_of_status("499")
        body = json.dumps({"query": {"text": "who asked?"}}).encode()
        with socket.create_connection(("127.0.0.1", self.windrow.port)) as sent:
            sent.sendall(b"POST /collections/odd/points/query HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
            self.waiting(1)
        harness.wait_for(lambda: self.sum_of_status("499") > gone, "the wait ends with its client", 30)

    def sum_of_status(self, status):
        return sum(value for labels, value in self.windrow.metrics("windrow_http_requests_total").items() if f'code="{status}"' in labels)

    def test_key_is_replaced_by_a_reload_and_must_be_private(self):
        self.write_key("second")
        self.windrow.process.send_signal(signal.SIGHUP)
        harness.wait_for(lambda: "API keys" in self.windrow.log(), "the reload")

        def sent():
            self.ask({"text": f"asked at {time.monotonic_ns()}"}, ODD)
            return self.odd.requests[-1][0]["Authorization"] == "Bearer second"

        harness.wait_for(sent, "the new key is sent")
        self.write_key("third", 0o644)
        done = self.windrow.command("check-config")
        self.assertNotEqual(done.returncode, 0)
        self.assertRegex(done.stderr, r"collections\.odd\.embedder\.key_file: every user may read or write")
        self.assertNotRegex(self.windrow.command("check-config", "--print").stdout, r"second|third")
        self.write_key("second")

    def test_status_tells_who_takes_words(self):
        status = self.windrow.request("GET", "/status")
        told = {collection["name"]: collection["embedder"] for collection in status.json()["collections"]}
        self.assertEqual(told, {COLLECTION: {"model": None}, ODD: {"model": ODD_MODEL}, HURRY: {"model": None}, MUTE: None})
        self.assertNotIn(self.odd.url, status.body.decode())


if __name__ == "__main__":
    harness.main()
