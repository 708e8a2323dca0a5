"""Collections that come and go while the service runs, by the first lines of every vendor's tutorial, against real Kafka."""

import concurrent.futures
import json
import os
import shutil
import signal
import sys
import time
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "support"))
import harness

harness.require_client("qdrant_client")

import grpc
from kafka_client import Operator
from qdrant_client import QdrantClient, models
from qdrant_client.http.exceptions import UnexpectedResponse
from servers import Kafka
from service import Windrow

CITIES = ["Berlin", "London", "Moscow", "New York", "Beijing", "Mumbai"]
VECTORS = [[0.05, 0.61, 0.76, 0.74], [0.19, 0.81, 0.75, 0.11], [0.36, 0.55, 0.47, 0.94], [0.18, 0.01, 0.85, 0.80], [0.24, 0.18, 0.22, 0.44], [0.35, 0.08, 0.11, 0.44]]


class RunTimeCollections(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.kafka = Kafka().start()
        cls.addClassCleanup(cls.kafka.stop)

    def setUp(self):
        self.windrow = Windrow(self.kafka.address, group=self._testMethodName)
        self.addCleanup(self.windrow.stop)
        self.windrow.tree["http"]["allow_create"] = True
        self.windrow.tree["collections"] = {}
        self.windrow.configure(self.windrow.tree)
        self.start()

    def start(self):
        self.windrow.start()
        harness.wait_for(self.windrow.ready, "windrow is ready")
        self.client = QdrantClient(url=self.windrow.url, check_compatibility=False)
        self.addCleanup(self.client.close)

    def start_with_grpc(self):
        """Starts again with both protocols, and returns a client that speaks gRPC."""
        self.windrow.stop()
        port = harness.free_ports(1)[0]
        self.windrow.tree["http"]["grpc_listen"] = f"127.0.0.1:{port}"
        self.windrow.configure(self.windrow.tree)
        self.start()
        over_grpc = QdrantClient(url=self.windrow.url, grpc_port=port, prefer_grpc=True, check_compatibility=False)
        self.addCleanup(over_grpc.close)
        return over_grpc

    def fill(self, name):
        points = [models.PointStruct(id=n + 1, vector=vector, payload={"city": CITIES[n]}) for n, vector in enumerate(VECTORS)]
        return self.client.upsert(name, points, wait=True)

    def fill_without_waiting(self, name):
        points = [{"id": 1000 + n, "vector": VECTORS[n % 6]} for n in range(200)]
        self.assertEqual(self.windrow.request("PUT", f"/collections/{name}/points", {"points": points}).status, 200)

    def nearest(self, name):
        return [point.payload["city"] for point in self.client.query_points(name, query=[0.2, 0.1, 0.9, 0.7], limit=3, with_payload=True).points]

    def test_the_vendors_tutorial(self):
        name = "test_collection"
        self.assertFalse(self.client.collection_exists(name))
        self.assertTrue(self.client.create_collection(name, vectors_config=models.VectorParams(size=4, distance=models.Distance.DOT)))
        self.assertEqual(self.fill(name).status, models.UpdateStatus.COMPLETED)
        self.assertEqual(self.nearest(name), ["New York", "Berlin", "Moscow"])
        london = models.Filter(must=[models.FieldCondition(key="city", match=models.MatchValue(value="London"))])
        found = self.client.query_points(name, query=[0.2, 0.1, 0.9, 0.7], query_filter=london, with_payload=True, limit=3).points
        self.assertEqual([point.payload["city"] for point in found], ["London"])
        self.client.set_payload(name, payload={"seen": True}, points=[1, 2])
        self.assertEqual(self.client.count(name, count_filter=models.Filter(must=[models.FieldCondition(key="seen", match=models.MatchValue(value=True))])).count, 2)
        self.assertEqual([one.name for one in self.client.get_collections().collections], [name])
        self.assertEqual(self.client.get_collection(name).config.params.vectors.distance, models.Distance.DOT)
        with self.assertRaisesRegex(UnexpectedResponse, "already exists"):
            self.client.create_collection(name, vectors_config=models.VectorParams(size=4, distance=models.Distance.DOT))
        point = self.windrow.request("GET", f"/collections/{name}/points/2").json()["result"]
        self.assertEqual((point["id"], point["payload"]["city"], len(point["vector"])), (2, "London", 4))
        self.assertIn("does not exist", self.windrow.request("GET", f"/collections/{name}/points/77").json()["status"]["error"])
        with self.assertRaisesRegex(UnexpectedResponse, "windrow backup"):
            self.client.create_snapshot(name)
        for field, kind in (("city", "keyword"), ("n", models.IntegerIndexParams(type="integer", lookup=True, range=False)), ("gone", "float")):
            self.client.create_payload_index(name, field_name=field, field_schema=kind)
        self.client.delete_payload_index(name, "gone")
        # It is there after a restart, and what came meanwhile, too.
        self.windrow.stop()
        self.start()
        self.assertEqual(self.nearest(name), ["New York", "Berlin", "Moscow"])
        indexes = self.client.get_collection(name).payload_schema
        self.assertEqual({field: index.data_type for field, index in indexes.items()}, {"city": "keyword", "n": "integer"})
        self.assertTrue(indexes["n"].params.lookup)
        self.assertTrue(self.client.delete_collection(name))
        self.assertFalse(self.client.collection_exists(name))
        self.assertEqual(self.windrow.request("GET", f"/collections/{name}").status, 404)
        self.assertFalse(os.path.exists(os.path.join(self.windrow.folder, "data", "collections.d", name)))
        self.assertEqual(os.listdir(os.path.join(self.windrow.folder, "data", "conf.d")), [f"{name}.deleted"], "where its topic ended")
        self.assertFalse(os.path.exists(os.path.join(self.windrow.folder, "conf.d")), "beside the configuration nothing is written")
        self.windrow.stop()
        self.start()
        self.assertEqual(self.client.get_collections().collections, [])

    def test_settings_partitions_and_other_collections_go_on(self):
        self.client.create_collection("first", vectors_config=models.VectorParams(size=4, distance=models.Distance.COSINE))
        self.fill("first")
        self.client.create_collection(
            "second", vectors_config={"": models.VectorParams(size=4, distance=models.Distance.EUCLID)}, shard_number=3, hnsw_config=models.HnswConfigDiff(m=8, ef_construct=50),
            metadata={"windrow": {"ttl": "2h", "window": "10m", "event_time": {"field": "at"}}})
        self.fill("second")
        self.assertEqual(self.nearest("first"), ["New York", "Berlin", "Beijing"])
        self.assertEqual(len(self.client.scroll("second", limit=10)[0]), 6)
        topics = Operator(self.kafka.address)
        self.assertEqual(topics.partition_count("second"), 3)
        shown = self.windrow.command("check-config", "--print").stdout
        for line in ("m: 8", "ef_construct: 50", "ttl: 2h", "window: 10m"):
            self.assertIn(line, shown)
        old = {"id": 99, "vector": [1, 1, 1, 1], "payload": {"at": int(time.time() * 1000) - 5_400_000}}
        self.assertEqual(self.windrow.request("PUT", "/collections/second/points?wait=true", {"points": [old]}).status, 200)
        reply = self.windrow.request("PATCH", "/collections/second", {"windrow": {"ttl": "1h"}})
        self.assertEqual(reply.status, 200, reply.body)
        self.assertEqual(self.client.count("second").count, 6)
        self.assertIn("ttl: 1h", self.windrow.command("check-config", "--print").stdout)
        # The topic stays, and its records are as if they were not there.
        self.assertTrue(self.client.delete_collection("first"))
        self.assertEqual(topics.partition_count("first"), 1)
        self.assertEqual(len(self.client.scroll("second", limit=10)[0]), 6)
        self.client.create_collection("first", vectors_config=models.VectorParams(size=4, distance=models.Distance.DOT), sparse_vectors_config={}) # what LangChain sends
        self.assertEqual(self.nearest("first"), [])
        self.fill("first")
        self.assertEqual(self.nearest("first"), ["New York", "Berlin", "Moscow"])

    def test_a_recreated_collection_is_empty(self):
        """After a restart, on a disk that lost its data, and when its topic was deleted as well. A delete that Kafka does not answer is refused."""
        name, topics = "anew", Operator(self.kafka.address)
        vectors = models.VectorParams(size=4, distance=models.Distance.DOT)
        data = os.path.join(self.windrow.folder, "data")
        count = lambda: self.client.count(name).count

        def restart():
            self.windrow.stop()
            self.start()

        self.client.create_collection(name, vectors_config=vectors, shard_number=2)
        self.fill(name)
        os.kill(self.kafka.process.pid, signal.SIGSTOP)
        try:
            reply = self.windrow.request("DELETE", f"/collections/{name}?timeout=1")
        finally:
            os.kill(self.kafka.process.pid, signal.SIGCONT)
        self.assertEqual((reply.status, "was not deleted" in reply.json()["status"]["error"]), (503, True), reply.body)
        self.assertEqual((count(), self.nearest(name)), (6, ["New York", "Berlin", "Moscow"]))
        # What is in Kafka and was not read yet is gone, too.
        self.windrow.command("pause", "-C", name)
        self.fill_without_waiting(name)
        self.assertTrue(self.client.recreate_collection(name, vectors_config=vectors))
        self.assertEqual((count(), os.listdir(os.path.join(data, "conf.d"))), (0, [f"{name}.yaml"]))
        restart()
        self.assertEqual(count(), 0)
        self.client.upsert(name, [models.PointStruct(id=99, vector=VECTORS[0], payload={"city": "new"})], wait=True)
        self.assertEqual(self.nearest(name), ["new"])
        self.windrow.stop()
        shutil.rmtree(os.path.join(data, "collections.d"))
        self.start()
        self.assertEqual(self.nearest(name), ["new"])
        # Once more, with two restarts in between: nothing of either comes back.
        self.assertTrue(self.client.delete_collection(name))
        restart()
        self.client.create_collection(name, vectors_config=vectors)
        restart()
        self.assertEqual(count(), 0)
        self.fill(name)
        self.assertEqual(count(), 6)
        # A topic that was made anew is another one.
        self.assertTrue(self.client.delete_collection(name))
        topics.delete_topic(name)
        harness.wait_for(lambda: topics.partition_count(name) == 0, "the topic is gone")
        self.client.create_collection(name, vectors_config=vectors, shard_number=2)
        self.fill(name)
        self.assertEqual(self.nearest(name), ["New York", "Berlin", "Moscow"])

    def test_sparse_vectors_are_kept_with_their_points(self):
        """Over both protocols, through a seal, an update of each part, and a restart."""
        name, sparse = "hybrid", models.SparseVector(indices=[70_000, 3], values=[0.5, -1.25])
        over_grpc = self.start_with_grpc()
        config = {"text": models.SparseVectorParams(index=models.SparseIndexParams(on_disk=True), modifier=models.Modifier.IDF), "sparse-code": models.SparseVectorParams()}
        over_grpc.create_collection("over_grpc", vectors_config=models.VectorParams(size=4, distance=models.Distance.DOT), sparse_vectors_config=config)
        self.client.create_collection(name, vectors_config=models.VectorParams(size=4, distance=models.Distance.DOT), sparse_vectors_config=config)
        for client in (self.client, over_grpc):
            for each in (name, "over_grpc"):
                self.assertEqual(client.get_collection(each).config.params.sparse_vectors["text"].modifier, models.Modifier.IDF)
                self.assertEqual(set(client.get_collection(each).config.params.sparse_vectors), {"text", "sparse-code"})

        def rounded(vector):
            if isinstance(vector, dict):
                return {each: rounded(value) for each, value in vector.items()}
            return [round(x, 4) for x in vector] if isinstance(vector, list) else vector

        def vectors(point_id, names=True):
            found = [rounded(client.retrieve(name, [point_id], with_vectors=names)[0].vector) for client in (self.client, over_grpc)]
            self.assertEqual(found[0], found[1])
            return found[0]

        for first, client in ((1, self.client), (4, over_grpc)):
            points = [models.PointStruct(id=first, vector=VECTORS[0], payload={"city": "Berlin"}),
                      models.PointStruct(id=first + 1, vector={"": VECTORS[1], "text": sparse}, payload={"city": "London"}),
                      models.PointStruct(id=first + 2, vector={"": VECTORS[2], "text": sparse, "sparse-code": models.SparseVector(indices=[], values=[])})]
            self.assertEqual(client.upsert(name, points, wait=True).status, models.UpdateStatus.COMPLETED)
        self.client.upsert(name, models.Batch(ids=[7, 8], vectors={"": VECTORS[:2], "text": [sparse, sparse]}), wait=True)

        def check():
            for first in (1, 4):
                self.assertEqual(vectors(first), VECTORS[0])
                self.assertEqual(vectors(first + 1)["text"], sparse)
                self.assertEqual(vectors(first + 1)[""], VECTORS[1])
                self.assertEqual(vectors(first + 1, ["text"]), {"text": sparse})
                self.assertEqual(set(vectors(first + 2)), {"", "text", "sparse-code"})
                self.assertEqual(vectors(first + 2, [""]), VECTORS[2])
            self.assertEqual(vectors(7)["text"], sparse)
            has = lambda vector: models.Filter(must=[models.HasVectorCondition(has_vector=vector)])
            for client in (self.client, over_grpc):
                self.assertEqual([client.count(name, count_filter=has(vector)).count for vector in ("", "text", "sparse-code", "other")], [8, 6, 2, 0])
                found = client.query_points(name, query=VECTORS[1], limit=8, with_vectors=["text"]).points
                self.assertEqual(sum(point.vector == {"text": sparse} for point in found), 6)
            # The payload is the payload alone.
            self.assertEqual(self.client.retrieve(name, [2])[0].payload, {"city": "London"})

        check()
        self.assertEqual(self.windrow.command("compact", "-C", name).returncode, 0)
        check()
        self.windrow.stop()
        self.start()
        check()
        # Each part changes alone.
        other = models.SparseVector(indices=[1], values=[1.0])
        self.client.update_vectors(name, [models.PointVectors(id=2, vector={"text": other}), models.PointVectors(id=5, vector=VECTORS[3])], wait=True)
        over_grpc.set_payload(name, {"seen": True}, points=[2, 5], wait=True)
        self.assertEqual(vectors(2)["text"], other)
        self.assertEqual(vectors(2)[""], VECTORS[1])
        self.assertEqual(vectors(5)[""], VECTORS[3])
        self.assertEqual(vectors(5)["text"], sparse)
        over_grpc.delete_vectors(name, ["text"], points=[2], wait=True)
        self.client.batch_update_points(name, [models.DeleteVectorsOperation(delete_vectors=models.DeleteVectors(vector=["text"], points=[5]))], wait=True)
        self.assertEqual([isinstance(vectors(each), list) for each in (2, 5, 3)], [True, True, False])
        for body, status, words in (
            ({"points": [{"id": 1, "vector": {"": VECTORS[0], "image": VECTORS[0]}}]}, 400, "Not existing vector name error: image"),
            ({"points": [{"id": 1, "vector": {"": VECTORS[0], "image": "http://x"}}]}, 501, "computed by the client"),
            ({"points": [{"id": 1, "vector": {"": VECTORS[0], "text": {"indices": [1, 2], "values": [1]}}}]}, 422, "equally many"),
            ({"points": [{"id": 1, "vector": {"": VECTORS[0], "text": {"indices": [1, 1], "values": [1, 2]}}}]}, 422, "$.points[0].vector.text.indices: 1 comes twice"),
            ({"points": [{"id": 1, "vector": {"": VECTORS[0], "text": {"indices": [2**32], "values": [1]}}}]}, 422, "4294967295"),
            ({"points": [{"id": 1, "vector": {"": VECTORS[0], "text": VECTORS[0]}}]}, 422, "expected a sparse vector"),
        ):
            with self.subTest(body=body):
                reply = self.windrow.request("PUT", f"/collections/{name}/points", body)
                self.assertEqual(reply.status, status, reply.body)
                self.assertIn(words, reply.json()["status"]["error"])
        for search in (lambda client: client.query_points(name, query=sparse, using="text"), lambda client: client.query_points(name, query=VECTORS[0], using="text")):
            with self.assertRaisesRegex(UnexpectedResponse, "no search ranks by them yet"):
                search(self.client)
            with self.assertRaisesRegex(grpc.RpcError, "no search ranks by them yet"):
                search(over_grpc)

    def check_file_of_an_operator_stays(self):
        """In whichever folder it lies; and no topic is made for what is refused."""
        for folder in (self.windrow.folder, os.path.join(self.windrow.folder, "data")):
            path = os.path.join(folder, "conf.d", "logs.yaml")
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, "w", encoding="utf-8") as file:
                file.write("collections: {}\n")
            reply = self.windrow.request("PUT", "/collections/logs", {"vectors": {"size": 4, "distance": "Dot"}})
            self.assertEqual((reply.status, f"{path} is there" in reply.json()["status"]["error"]), (409, True), reply.body)
            with open(path, encoding="utf-8") as file:
                self.assertEqual(file.read(), "collections: {}\n")
            os.remove(path)
        self.assertEqual(Operator(self.kafka.address).partition_count("logs"), 0)

    def test_a_dense_vector_with_a_name(self):
        """What frameworks make, with a sparse vector beside it: over both protocols, in messages, through a seal and a restart."""
        over_grpc = self.start_with_grpc()
        clients = {"rest": self.client, "grpc": over_grpc}
        dense, sparse, name, refusals = "text-dense", "text-sparse", "rest", (UnexpectedResponse, grpc.RpcError)
        words = models.SparseVector(indices=[7, 3], values=[0.5, -1.25])
        for each, client in clients.items():
            client.create_collection(
                each, vectors_config={dense: models.VectorParams(size=4, distance=models.Distance.DOT, on_disk=True, hnsw_config=models.HnswConfigDiff(m=8))},
                sparse_vectors_config={sparse: models.SparseVectorParams()})
            client.update_collection(each, vectors_config={dense: models.VectorParamsDiff(on_disk=False)})
            for other in clients.values():
                config = other.get_collection(each).config
                self.assertEqual(set(config.params.vectors), {dense})
                self.assertEqual((config.params.vectors[dense].size, config.params.vectors[dense].distance, config.params.vectors[dense].on_disk), (4, models.Distance.DOT, False))
                self.assertEqual((set(config.params.sparse_vectors), config.hnsw_config.m), ({sparse}, 8))
        for first, client in ((1, self.client), (11, over_grpc)):
            self.assertEqual(client.upsert(name, [models.PointStruct(id=first + n, vector={dense: vector}, payload={"city": CITIES[n]}) for n, vector in enumerate(VECTORS)], wait=True).status,
                             models.UpdateStatus.COMPLETED)
            client.upsert(name, [models.PointStruct(id=first + 6, vector={dense: VECTORS[0], sparse: words}, payload={"city": "hybrid"})], wait=True)
        self.client.upsert(name, models.Batch(ids=[8], vectors={dense: [VECTORS[5]], sparse: [words]}), wait=True)
        # Producers may leave the name out; the collector of another vendor's sink says it.
        lines = [{"id": 21, "vector": VECTORS[3], "payload": {"city": "bare"}}, {"id": 22, "vector": {dense: VECTORS[4]}, "payload": {"city": "named"}}]
        self.assertEqual(self.windrow.command("produce", "-C", name, input="".join(json.dumps(line) + "\n" for line in lines)).returncode, 0)
        harness.wait_for(lambda: self.client.count(name).count == 17, "all points")
        near = lambda client, **more: [point.id for point in client.query_points(name, query=[0.2, 0.1, 0.9, 0.7], limit=3, **more).points]

        def check():
            for client in clients.values():
                self.assertEqual(set(near(client, using=dense)), {4, 14, 21})
                vectors = {point.id: point.vector for point in client.retrieve(name, [2, 7, 8, 22], with_vectors=True)}
                self.assertEqual({point: set(parts) for point, parts in vectors.items()}, {2: {dense}, 7: {dense, sparse}, 8: {dense, sparse}, 22: {dense}})
                self.assertEqual([round(x, 4) for x in vectors[2][dense]], VECTORS[1])
                self.assertEqual(vectors[7][sparse], words)
                self.assertEqual(set(client.retrieve(name, [7], with_vectors=[dense])[0].vector), {dense})
                has = lambda vector: models.Filter(must=[models.HasVectorCondition(has_vector=vector)])
                self.assertEqual([client.count(name, count_filter=has(vector)).count for vector in (dense, sparse, "")], [17, 3, 0])

        check()
        self.assertEqual(self.windrow.command("compact", "-C", name).returncode, 0)
        check()
        self.windrow.stop()
        self.start()
        clients["rest"] = self.client
        check()
        for client in clients.values():
            for wrong in ({}, {"using": ""}, {"using": "image"}):
                with self.assertRaisesRegex(refusals, "Not existing vector name error"):
                    near(client, **wrong)
            with self.assertRaisesRegex(refusals, "Not existing vector name error"):
                client.upsert(name, [models.PointStruct(id=1, vector=VECTORS[0])])
            with self.assertRaisesRegex(refusals, "Not existing vector name error: image"):
                client.upsert(name, [models.PointStruct(id=1, vector={dense: VECTORS[0], "image": VECTORS[0]})])
            self.assertEqual(client.query_points(name, query=2, using=dense, limit=1).points[0].id, 12)
            self.assertEqual(client.query_points(name, prefetch=models.Prefetch(query=VECTORS[3], using=dense, limit=3), query=models.FusionQuery(fusion=models.Fusion.RRF), limit=1).points[0].payload["city"], "New York")
        self.client.update_vectors(name, [models.PointVectors(id=2, vector={dense: VECTORS[3]})], wait=True)
        over_grpc.update_vectors(name, [models.PointVectors(id=7, vector={dense: VECTORS[3]}), models.PointVectors(id=3, vector={sparse: words})], wait=True)
        over_grpc.delete_vectors(name, [sparse], points=[8], wait=True)
        vectors = {point.id: point.vector for point in self.client.retrieve(name, [2, 3, 7, 8], with_vectors=True)}
        self.assertEqual({point: set(parts) for point, parts in vectors.items()}, {2: {dense}, 3: {dense, sparse}, 7: {dense, sparse}, 8: {dense}})
        self.assertEqual([[round(x, 4) for x in vectors[point][dense]] for point in (2, 3, 7)], [VECTORS[3], VECTORS[2], VECTORS[3]])
        shown = json.loads(self.windrow.command("search", "-C", name, "--like", "2", "-k", "1", "--json").stdout)
        self.assertEqual(len(shown["result"]["points"]), 1)
        self.assertEqual([one["vector_name"] for one in self.windrow.request("GET", "/status").json()["collections"]], [dense, dense])

    def test_points_without_their_dense_vector(self):
        """They are everywhere but in what ranks: over both protocols, through a merge, a restart and updates of each part."""
        name = "partial"
        over_grpc = self.start_with_grpc()
        clients = {"rest": self.client, "grpc": over_grpc}
        words = models.SparseVector(indices=[7, 3], values=[0.5, -1.25])
        self.client.create_collection(
            name, vectors_config=models.VectorParams(size=4, distance=models.Distance.COSINE), sparse_vectors_config={"text": models.SparseVectorParams()},
            metadata={"windrow": {"index": {"kind": "hnsw", "chunk_above": 1}}})
        for first, client in ((1, self.client), (11, over_grpc)):
            client.upsert(name, [models.PointStruct(id=first + n, vector=vector, payload={"n": first + n}) for n, vector in enumerate(VECTORS)], wait=True)
            client.upsert(name, [models.PointStruct(id=first + 6, vector={"text": words}, payload={"n": first + 6}), models.PointStruct(id=first + 7, vector={}, payload={"n": first + 7})], wait=True)
        bare = {7, 8, 17, 18}
        has = models.Filter(must=[models.HasVectorCondition(has_vector="")])

        def check():
            for client in clients.values():
                self.assertEqual((client.count(name).count, client.count(name, count_filter=has).count), (16, 16 - len(bare)))
                for exact in (False, True):
                    found = client.query_points(name, query=VECTORS[0], limit=16, search_params=models.SearchParams(exact=exact)).points
                    self.assertEqual({point.id for point in found}, {*range(1, 9), *range(11, 19)} - bare)
                rows, _ = client.scroll(name, limit=16, with_vectors=True)
                self.assertEqual({point.id for point in rows if isinstance(point.vector, list)}, {*range(1, 9), *range(11, 19)} - bare)
                self.assertEqual([point.payload["n"] for point in rows], [point.id for point in rows])
                vectors = {point.id: point.vector for point in rows}
                self.assertEqual(vectors[7], {"text": words})
                self.assertFalse(vectors[8])
                with self.assertRaisesRegex((UnexpectedResponse, grpc.RpcError), "Vector with name"):
                    client.query_points(name, query=7)

        check()
        self.assertEqual(self.windrow.command("compact", "-C", name).returncode, 0)
        check()
        self.windrow.stop()
        self.start()
        clients["rest"] = self.client
        check()
        over_grpc.delete_vectors(name, [""], points=[1, 2], wait=True)
        self.client.update_vectors(name, [models.PointVectors(id=8, vector=VECTORS[0]), models.PointVectors(id=18, vector={"": VECTORS[1]})], wait=True)
        over_grpc.set_payload(name, {"seen": True}, points=[1, 17], wait=True)
        bare = {1, 2, 7, 17}
        for client in clients.values():
            self.assertEqual({point.id for point in client.query_points(name, query=VECTORS[0], limit=16).points}, {*range(1, 9), *range(11, 19)} - bare)
            self.assertEqual([point.payload for point in client.retrieve(name, [1, 17])], [{"n": 1, "seen": True}, {"n": 17, "seen": True}])
        self.assertEqual([point.vector for point in self.client.retrieve(name, [17], with_vectors=True)], [{"text": words}])

    def test_more_dense_vectors(self):
        """Vectors of other sizes, and lists, beside the first: over both protocols, through a merge, a restart and updates of each."""
        name = "several"
        over_grpc = self.start_with_grpc()
        clients = {"rest": self.client, "grpc": over_grpc}
        params = lambda size, distance, **more: models.VectorParams(size=size, distance=distance, **more)
        for each, client in clients.items():
            client.create_collection(f"{name}-{each}", sparse_vectors_config={"words": models.SparseVectorParams()}, vectors_config={
                "image": params(4, models.Distance.COSINE),
                "text": params(2, models.Distance.EUCLID, on_disk=True),
                "tokens": params(2, models.Distance.DOT, multivector_config=models.MultiVectorConfig(comparator=models.MultiVectorComparator.MAX_SIM))})
            client.update_collection(f"{name}-{each}", vectors_config={"text": models.VectorParamsDiff(on_disk=False)})
            for other in clients.values():
                shown = other.get_collection(f"{name}-{each}").config.params.vectors
                self.assertEqual({key: (one.size, one.distance, one.on_disk) for key, one in shown.items()},
                                 {"image": (4, models.Distance.COSINE, None), "text": (2, models.Distance.EUCLID, False), "tokens": (2, models.Distance.DOT, None)})
                self.assertEqual(shown["tokens"].multivector_config.comparator, models.MultiVectorComparator.MAX_SIM)
        name += "-rest"
        for first, client in ((1, self.client), (11, over_grpc)):
            client.upsert(name, [
                models.PointStruct(id=first, vector={"image": VECTORS[0], "text": [1.0, 2.0], "tokens": [[1.0, 0.0], [0.0, 1.0]]}, payload={"n": first}),
                models.PointStruct(id=first + 1, vector={"text": [3.0, 0.5], "words": models.SparseVector(indices=[3], values=[1.0])}, payload={"n": first + 1}),
                models.PointStruct(id=first + 2, vector={"image": VECTORS[1], "tokens": [[2.0, 2.0]]}, payload={"n": first + 2})], wait=True)
        self.client.upsert(name, models.Batch(ids=[21, 22], vectors={"text": [[1.5, 2.0], [9.0, 9.0]], "tokens": [[[0.5, 0.5]], [[0.0, 0.25]]]}), wait=True)
        line = {"id": 31, "vector": {"image": VECTORS[2], "text": [1, 1]}, "payload": {"n": 31}}
        self.assertEqual(self.windrow.command("produce", "-C", name, input=json.dumps(line) + "\n").returncode, 0)
        harness.wait_for(lambda: self.client.count(name).count == 9, "all points")

        def check():
            for client in clients.values():
                found = lambda query, using, **more: [(point.id, round(point.score, 4)) for point in client.query_points(name, query=query, using=using, **more).points]
                self.assertEqual(found([1.0, 2.0], "text", limit=4), [(1, 0), (11, 0), (21, 0.5), (31, 1)])
                self.assertEqual(found([[1.0, 0.0], [0.0, 1.0]], "tokens", limit=5), [(3, 4), (13, 4), (1, 2), (11, 2), (21, 1)])
                self.assertEqual(found(1, "tokens", limit=2), [(3, 4), (13, 4)])
                over = models.Prefetch(query=[1.0, 2.0], using="text", limit=3)
                self.assertEqual(found([[0.0, 1.0]], "tokens", prefetch=over), [(1, 1), (11, 1), (21, 0.5)])
                self.assertEqual({point.id for point in client.query_points(name, query=VECTORS[0], using="image").points}, {1, 3, 11, 13, 31})
                few = models.Filter(must=[models.FieldCondition(key="n", range=models.Range(lt=11))])
                self.assertEqual([point for point, _ in found([1.0, 2.0], "text", query_filter=few)], [1, 2])
                vectors = {point.id: point.vector for point in client.retrieve(name, [1, 2, 13, 22], with_vectors=True)}
                self.assertEqual({point: set(one) for point, one in vectors.items()}, {1: {"image", "text", "tokens"}, 2: {"text", "words"}, 13: {"image", "tokens"}, 22: {"text", "tokens"}})
                self.assertEqual((vectors[1]["text"], vectors[1]["tokens"], vectors[22]["tokens"]), ([1.0, 2.0], [[1.0, 0.0], [0.0, 1.0]], [[0.0, 0.25]]))
                self.assertEqual(set(client.retrieve(name, [1], with_vectors=["text"])[0].vector), {"text"})
                has = models.Filter(must=[models.HasVectorCondition(has_vector="tokens")])
                self.assertEqual(client.count(name, count_filter=has).count, 6)

        check()
        self.assertEqual(self.windrow.command("compact", "-C", name).returncode, 0)
        check()
        windows = self.windrow.request("GET", f"/windows?collection={name}").json()["windows"]
        self.assertEqual([window["scanned_vectors"] for window in windows], [["text", "tokens"]] * len(windows))
        self.windrow.stop()
        self.start()
        clients["rest"] = self.client
        check()
        refusals = (UnexpectedResponse, grpc.RpcError)
        for client in clients.values():
            for vector, text in (({"text": [1.0]}, "expected dim: 2, got 1"), ({"tokens": [[1.0]]}, "expected dim: 2, got 1"), ({"other": [1.0]}, "Not existing vector name error: other")):
                with self.assertRaisesRegex(refusals, text):
                    client.upsert(name, [models.PointStruct(id=1, vector=vector)])
            with self.assertRaisesRegex(refusals, "Vector with name `text`"):
                client.query_points(name, query=3, using="text")
        self.client.update_vectors(name, [models.PointVectors(id=3, vector={"text": [1.0, 2.25]})], wait=True)
        # One point twice in a request: each entry counts.
        over_grpc.update_vectors(name, [
            models.PointVectors(id=1, vector={"tokens": [[7.0, 7.0]], "image": VECTORS[3]}), models.PointVectors(id=1, vector={"tokens": [[9.0, 9.0]]}),
            models.PointVectors(id=1, vector={"words": models.SparseVector(indices=[4], values=[2.0])})], wait=True)
        over_grpc.delete_vectors(name, ["text"], points=[1, 11], wait=True)
        self.client.set_payload(name, {"seen": True}, points=[1], wait=True)
        vectors = {point.id: point.vector for point in over_grpc.retrieve(name, [1, 3], with_vectors=True)}
        self.assertEqual({point: set(one) for point, one in vectors.items()}, {1: {"image", "tokens", "words"}, 3: {"image", "text", "tokens"}})
        self.assertEqual(vectors[1]["tokens"], [[9.0, 9.0]])
        length = sum(x * x for x in VECTORS[3]) ** 0.5
        self.assertEqual([round(x * length, 3) for x in vectors[1]["image"]], [round(x, 3) for x in VECTORS[3]])
        self.assertEqual([point.id for point in self.client.query_points(name, query=[1.0, 2.0], using="text", limit=2).points], [3, 21])
        with self.assertRaisesRegex(UnexpectedResponse, "no list"):
            self.client.create_collection("lists", vectors_config=params(2, models.Distance.DOT, multivector_config=models.MultiVectorConfig(comparator=models.MultiVectorComparator.MAX_SIM)))

    def test_settings_that_change_nothing_are_kept_and_shown(self):
        """By PUT and PATCH, over both protocols, and over a restart; what would mean something else is refused."""
        over_grpc = self.start_with_grpc()
        scalar = models.ScalarQuantization(scalar=models.ScalarQuantizationConfig(type=models.ScalarType.INT8, always_ram=True))
        product = models.ProductQuantization(product=models.ProductQuantizationConfig(compression=models.CompressionRatio.X16))
        # YAML ends lines at some of these characters and refuses others.
        metadata = {"owner": {"team": "a"}, "tags": ["x", 1, None], "k\u0085": "a \u2028 b\u2029\u007f\u0080\ufeff\ufffe\uffff"}
        clients = {"rest": self.client, "grpc": over_grpc}
        for name, client in clients.items():
            client.create_collection(
                name, vectors_config=models.VectorParams(size=4, distance=models.Distance.DOT, on_disk=True, quantization_config=product, hnsw_config=models.HnswConfigDiff(ef_construct=60)),
                sparse_vectors_config={"text": models.SparseVectorParams()}, hnsw_config=models.HnswConfigDiff(m=8, on_disk=True, payload_m=4), on_disk_payload=False,
                optimizers_config=models.OptimizersConfigDiff(indexing_threshold=1234, flush_interval_sec=9), wal_config=models.WalConfigDiff(wal_capacity_mb=64),
                quantization_config=scalar, metadata=metadata)

        def told(value):
            """Without what the client itself makes of fields that did not come, which differs between protocols."""
            return {key: told(one) for key, one in value.items() if key not in ("max_indexing_threads", "wal_retain_closed")} if isinstance(value, dict) else value

        def shown(name):
            found = [client.get_collection(name).config for client in clients.values()]
            self.assertEqual(*(told(one.model_dump(exclude_none=True)) for one in found))
            return found[0]

        for name, client in clients.items():
            with self.subTest(name):
                config = shown(name)
                self.assertEqual((config.params.vectors.on_disk, config.params.vectors.quantization_config, config.params.on_disk_payload), (True, product, False))
                self.assertEqual((config.hnsw_config.m, config.hnsw_config.ef_construct, config.hnsw_config.on_disk, config.hnsw_config.payload_m), (8, 60, True, 4))
                self.assertEqual((config.optimizer_config.indexing_threshold, config.optimizer_config.flush_interval_sec, config.optimizer_config.deleted_threshold), (1234, 9, 0.3))
                self.assertEqual((config.wal_config.wal_capacity_mb, config.quantization_config), (64, scalar))
                self.assertEqual(config.metadata, metadata)
                client.update_collection(
                    name, optimizers_config=models.OptimizersConfigDiff(indexing_threshold=99), hnsw_config=models.HnswConfigDiff(on_disk=False), quantization_config=product,
                    collection_params=models.CollectionParamsDiff(read_fan_out_factor=2, read_fan_out_delay_ms=7), vectors_config={"": models.VectorParamsDiff(on_disk=False)},
                    sparse_vectors_config={"text": models.SparseVectorParams(modifier=models.Modifier.IDF)}, metadata={"more": True})
                changed = shown(name)
                self.assertEqual((changed.optimizer_config.indexing_threshold, changed.optimizer_config.flush_interval_sec), (99, 9))
                self.assertEqual((changed.hnsw_config.m, changed.hnsw_config.on_disk, changed.hnsw_config.payload_m), (8, False, 4))
                self.assertEqual((changed.quantization_config, changed.params.vectors.on_disk, changed.params.vectors.quantization_config), (product, False, product))
                self.assertEqual((changed.params.read_fan_out_factor, changed.params.read_fan_out_delay_ms), (2, 7))
                self.assertEqual(changed.params.sparse_vectors["text"].modifier, models.Modifier.IDF)
                self.assertEqual(changed.metadata, {**metadata, "more": True})
        binary = models.BinaryQuantization(binary=models.BinaryQuantizationConfig(always_ram=True))
        for name, client in clients.items():
            with self.subTest(f"quantization of {name}"):
                client.update_collection(name, quantization_config=binary, vectors_config={"": models.VectorParamsDiff(quantization_config=binary)})
                self.assertEqual((shown(name).quantization_config, shown(name).params.vectors.quantization_config), (binary, binary))
                client.update_collection(name, quantization_config=models.Disabled.DISABLED, vectors_config={"": models.VectorParamsDiff(on_disk=True)})
                changed = shown(name)
                self.assertEqual((changed.quantization_config, changed.params.vectors.quantization_config, changed.params.vectors.on_disk), (None, binary, True))
                for _ in range(2): # the second time nothing is kept
                    client.update_collection(name, vectors_config={"": models.VectorParamsDiff(quantization_config=models.Disabled.DISABLED)})
                    changed = shown(name)
                    self.assertEqual((changed.params.vectors.quantization_config, changed.params.vectors.on_disk), (None, True))
                client.create_collection("bare", vectors_config=models.VectorParams(size=4, distance=models.Distance.DOT))
                client.update_collection("bare", quantization_config=models.Disabled.DISABLED, vectors_config={"": models.VectorParamsDiff(quantization_config=models.Disabled.DISABLED)})
                config = self.windrow.request("GET", "/collections/bare").json()["result"]["config"]
                self.assertEqual((config["params"]["vectors"], "quantization_config" in config), ({"size": 4, "distance": "Dot"}, False))
                client.delete_collection("bare")
        self.check_quantization_by_its_other_name()
        self.assertEqual(self.client.http.collections_api.get_collection("rest").result.config.params.read_fan_out_factor, 2)
        self.windrow.process.send_signal(signal.SIGHUP)
        harness.wait_for(lambda: "nothing changed" in self.windrow.log(), "a reload that finds the settings as they are")
        self.windrow.stop()
        self.start()
        clients["rest"] = self.client
        self.assertEqual((shown("grpc"), shown("rest").metadata), (changed, changed.metadata))
        for body, status, words in (
            ({"hnsw_config": {"m": 32}}, 501, "segments that exist keep their graph"),
            ({"params": {"replication_factor": 2}}, 501, "the topic decides"),
            ({"vectors": {"image": {"on_disk": True}}}, 400, "Not existing vector name error: image"),
            ({"sparse_vectors": {"code": {}}}, 400, "Not existing vector name error: code"),
            ({"quantization_config": {"turbo": {}}}, 501, "`turbo`"),
            ({"quantization_config": "Off"}, 400, "`Disabled`"),
            ({"optimizers_config": {"speed": 1}}, 400, "$.optimizers_config: unknown field `speed`"),
            ({"metadata": {"large": "x" * 70_000}}, 400, "at most 65536"),
            ({"vectors": {"": {"memory": "pinned"}}}, 422, '[vectors..memory: value "pinned" invalid'),
            ({"params": {"payload": {"memory": "pinned"}}}, 422, '[params.payload.memory: value "pinned" invalid'),
            ({"strict_mode_config": {"enabled": True}}, 501, "strict_mode_config"),
        ):
            with self.subTest(body=str(body)[:60]):
                reply = self.windrow.request("PATCH", "/collections/rest", body)
                self.assertEqual(reply.status, status, reply.body)
                self.assertIn(words, reply.json()["status"]["error"])

    def check_quantization_by_its_other_name(self):
        body = {"vectors": {"size": 4, "distance": "Dot", "hnsw_config": {"m": 20}, "memory": "cold"}, "sparse_vectors": {"text": {"index": {"memory": "pinned"}}},
                "hnsw_config": {"m": 10, "inline_storage": True}, "quantization": {"scalar": {"type": "int8"}}}
        self.assertEqual(self.windrow.request("PUT", "/collections/bare", body).status, 200)
        found = self.windrow.request("GET", "/collections/bare").json()["result"]
        config = found["config"]
        self.assertEqual((config["quantization_config"], config["hnsw_config"]["m"], "warnings" in found), (body["quantization"], 10, False))
        self.assertEqual((config["params"]["vectors"], config["params"]["sparse_vectors"]), (body["vectors"], body["sparse_vectors"]))
        self.client.update_collection("bare", quantization_config=models.Disabled.DISABLED)
        self.assertIn("inline_storage", self.client.get_collection("bare").warnings[0].message)
        self.client.delete_collection("bare")

    def test_changes_at_the_same_time_lose_no_key(self):
        writers, keys = 8, 6
        self.client.create_collection("news", vectors_config=models.VectorParams(size=4, distance=models.Distance.DOT))

        def change(writer):
            return [self.windrow.request("PATCH", "/collections/news", {"metadata": {f"{writer}-{key}": key}}).status for key in range(keys)]

        with concurrent.futures.ThreadPoolExecutor(writers) as pool:
            self.assertEqual(list(pool.map(change, range(writers))), [[200] * keys] * writers)
        self.assertEqual(self.client.get_collection("news").config.metadata, {f"{writer}-{key}": key for writer in range(writers) for key in range(keys)})

    def check_time_and_index_names_are_bounded(self, create):
        """A far timeout is ten minutes. Earlier builds kept indexes of any name, and could not show such a collection any more."""
        path, far = "/collections/far", "?timeout=99999999999999"
        self.assertEqual(self.windrow.request("PUT", path + far, create).status, 200)
        self.assertEqual(self.windrow.request("PUT", f"{path}/index", {"field_name": "n" * 1025, "field_schema": "keyword"}).status, 422)
        self.assertEqual(self.windrow.request("PUT", f"{path}/index", {"field_name": "n" * 1024, "field_schema": "keyword"}).status, 200)
        with open(os.path.join(self.windrow.folder, "data", "far.indexes"), "w", encoding="utf-8") as file:
            json.dump({"a..b": "keyword", "": "keyword", "n": "integer"}, file)
        self.assertEqual(self.windrow.request("GET", path).json()["result"]["payload_schema"], {"n": {"data_type": "integer", "points": 0}})
        self.assertEqual(self.windrow.request("DELETE", path + far).status, 200)

    def test_what_cannot_be_is_told_and_leaves_nothing(self):
        create = {"vectors": {"size": 4, "distance": "Dot"}}
        for name, body, status, words in (
            ("bad%2Fname", create, 400, "letters, digits"),
            ("LOCK", create, 400, 'invalid collection name "LOCK"'),
            ("CLOCK_STANDS", create, 400, 'invalid collection name "CLOCK_STANDS"'),
            ("none", {"vectors": {"distance": "Dot"}}, 400, "$.vectors"),
            ("none", {"vectors": {"size": 4, "distance": "Manhattan"}}, 501, "`distance` ($.vectors.distance): vectors are compared by Cosine"),
            ("none", {"vectors": {"size": 65537, "distance": "Dot"}}, 422, "$.vectors.size: value 65537 invalid, must be 65536 or smaller"),
            ("n" * 101, create, 422, "101 characters"),
            ("none", {"vectors": {"text": {**create["vectors"], "multivector_config": {"comparator": "max_sim"}}}}, 501, "`multivector_config` ($.vectors): a collection has one dense vector that is no list"),
            ("none", {"vectors": {"text": create["vectors"], "image": {"size": 4, "distance": "Hamming"}}}, 501, "`image` ($.vectors): vectors beside the first one have a name, and Cosine"),
            ("none", {"vectors": {"text": create["vectors"], "image": create["vectors"]}, "sparse_vectors": {"image": {}}}, 400, "is another vector as well"),
            ("none", {"vectors": {**create["vectors"], "image": create["vectors"]}}, 400, "$.vectors: expected `size` and `distance`, or a vector with its name"),
            ("none", {"vectors": {"image": {"size": 4}}}, 400, "$.vectors: expected `size` and `distance`"),
            ("none", {"vectors": {"image": 4}}, 400, "$.vectors.image"),
            ("none", {"vectors": {"n" * 256: create["vectors"]}}, 400, "not the name of a vector"),
            ("none", {"vectors": {"text": create["vectors"]}, "sparse_vectors": {"text": {}}}, 400, "is the dense vector"),
            ("none", {**create, "sparse_vectors": {"": {}}}, 400, "not the name of a vector"),
            ("none", {**create, "sparse_vectors": {"text": {"modifier": "bm25"}}}, 400, "$.sparse_vectors.text.modifier"),
            ("none", {"sparse_vectors": {"text": {}}}, 400, "`vectors`"),
            ("none", {"vectors": {**create["vectors"], "memory": "pinned"}}, 422, '[vectors.memory: value "pinned" invalid, must be cold or cached'),
            ("none", {"vectors": {"text": {**create["vectors"], "memory": "pinned"}}}, 422, "[vectors.text.memory: "),
            ("none", {**create, "payload": {"memory": "pinned"}}, 422, "[payload.memory: "),
            ("none", {**create, "quantization": {"scalar": {}}, "quantization_config": {"scalar": {}}}, 400, "only one of `quantization_config` and `quantization`"),
            ("none", {**create, "windrow": {"windw": "1h"}}, 400, "unknown key windw"),
            ("none", {**create, "windrow": {"ttl": "1x"}}, 400, "none.yaml:"),
            ("none", {**create, "windrow": {"begin_offsets": ["5"]}}, 400, "windrow.yaml only"),
            ("none", {**create, "windrow": {"topics": ["dead-letters"]}}, 400, "dead_letters"),
            ("none", {**create, "windrow": {"embedder": {"url": f"http://{harness.nobody()}/e", "key_file": "/etc/passwd"}}}, 400, "windrow.yaml only"),
        ):
            with self.subTest(body=body):
                reply = self.windrow.request("PUT", f"/collections/{name}", body)
                self.assertEqual(reply.status, status, reply.body)
                self.assertIn(words, reply.json()["status"]["error"])
        self.check_time_and_index_names_are_bounded(create)
        self.assertEqual(self.client.get_collections().collections, [])
        self.assertFalse(os.path.exists(os.path.join(self.windrow.folder, "data", "conf.d", "none.yaml")))
        self.assertIn(os.path.join(self.windrow.folder, "data", "conf.d"), self.windrow.command("check-config").stderr)
        self.check_file_of_an_operator_stays()
        self.assertEqual(self.windrow.request("DELETE", "/collections/none").json()["result"], False)
        self.windrow.stop()
        self.windrow.tree["collections"] = {"mine": {"dim": 4, "topics": ["mine"]}}
        self.windrow.tree["http"]["allow_create"] = False
        self.windrow.configure(self.windrow.tree)
        self.windrow.start()
        for method, path, body in (("PUT", "/collections/other", create), ("PATCH", "/collections/mine", {}), ("DELETE", "/collections/mine", None)):
            reply = self.windrow.request(method, path, body)
            self.assertEqual(reply.status, 501)
            self.assertIn("allow_create", reply.json()["status"]["error"])


if __name__ == "__main__":
    harness.main()
