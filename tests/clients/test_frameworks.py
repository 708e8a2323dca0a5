"""LangChain, LlamaIndex and Haystack do what their tutorials for Qdrant do, to the letter, with a real model and real Kafka.

Each test is the vendor's page; what differs is the address, the model, and that no language model answers at its end.
Runs in a private environment of its own (`venv-frameworks`), which `scripts/test --slow` makes.
"""

import asyncio
import json
import os
import sys
import unittest
import urllib.request
import uuid

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "support"))
import harness

harness.require_client("langchain_qdrant", "frameworks")

import embedders
from qdrant_client import AsyncQdrantClient, QdrantClient, models
from servers import Kafka
from service import Windrow

DIM = embedders.DIM


class Frameworks(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.embedder = embedders.Embedder().start()
        cls.addClassCleanup(cls.embedder.stop)
        cls.kafka = Kafka().start()
        cls.addClassCleanup(cls.kafka.stop)
        cls.windrow = Windrow(cls.kafka.address, dim=DIM, metric="cosine", embedder={"url": cls.embedder.url})
        cls.windrow.tree["http"]["allow_create"] = True
        cls.windrow.configure(cls.windrow.tree)
        cls.windrow.create_topic(1)
        cls.windrow.start()
        harness.wait_for(cls.windrow.ready, "windrow is ready")
        cls.url = cls.windrow.url

    @classmethod
    def tearDownClass(cls):
        stopped = cls.windrow.stop()
        assert stopped == 0, cls.windrow.log()[-2000:]

    @classmethod
    def embed(cls, texts):
        request = urllib.request.Request(cls.embedder.url, json.dumps({"input": texts}).encode(), {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=60) as response:
            return [item["embedding"] for item in json.load(response)["data"]]

    # https://docs.langchain.com/oss/python/integrations/vectorstores/qdrant

    def test_langchain_stores_and_finds_documents(self):
        from langchain_core.documents import Document
        from langchain_core.embeddings import Embeddings
        from langchain_qdrant import QdrantVectorStore

        class Endpoint(Embeddings):
            def embed_documents(self, texts):
                return Frameworks.embed(texts)

            def embed_query(self, text):
                return Frameworks.embed([text])[0]

        client = QdrantClient(url=self.url)
        self.addCleanup(client.close)
        client.create_collection(collection_name="demo_collection", vectors_config=models.VectorParams(size=DIM, distance=models.Distance.COSINE))
        vector_store = QdrantVectorStore(client=client, collection_name="demo_collection", embedding=Endpoint())
        documents = [Document(page_content=text, metadata={"source": source}) for text, source in (
            ("I had chocolate chip pancakes and scrambled eggs for breakfast this morning.", "tweet"),
            ("The weather forecast for tomorrow is cloudy and overcast, with a high of 62 degrees Fahrenheit.", "news"),
            ("Building an exciting new project with LangChain - come check it out!", "tweet"),
            ("Robbers broke into the city bank and stole $1 million in cash.", "news"),
            ("Wow! That was an amazing movie. I can't wait to see it again.", "tweet"),
            ("Is the new iPhone worth the price? Read this review to find out.", "website"),
            ("The top 10 soccer players in the world right now.", "website"),
            ("LangGraph is the best framework for building stateful, agentic applications!", "tweet"),
            ("The stock market is down 500 points today due to fears of a recession.", "news"),
            ("I have a bad feeling I am going to get deleted :(", "tweet"))]
        uuids = [str(uuid.uuid4()) for _ in documents]
        self.assertEqual(vector_store.add_documents(documents=documents, ids=uuids), uuids)
        self.assertTrue(vector_store.delete(ids=[uuids[-1]]))
        self.assertEqual(client.count("demo_collection").count, 9)
        results = vector_store.similarity_search("LangChain provides abstractions to make working with LLMs easy", k=2)
        self.assertEqual({document.metadata["source"] for document in results}, {"tweet"})
        self.assertIn("LangChain", results[0].page_content)
        document, score = vector_store.similarity_search_with_score(query="Will it be hot tomorrow", k=1)[0]
        self.assertIn("weather forecast", document.page_content)
        self.assertGreater(score, 0.3)
        only = models.Filter(should=[models.FieldCondition(key="page_content", match=models.MatchValue(value="The top 10 soccer players in the world right now."))])
        results = vector_store.similarity_search(query="Who are the best soccer players in the world?", k=1, filter=only)
        self.assertEqual([document.page_content for document in results], ["The top 10 soccer players in the world right now."])
        retriever = vector_store.as_retriever(search_type="mmr", search_kwargs={"k": 1})
        self.assertIn("Robbers", retriever.invoke("Stealing from the bank is a crime")[0].page_content)
        self.assertEqual(vector_store.get_by_ids(uuids[:1])[0].page_content, documents[0].page_content)
        filtered = vector_store.as_retriever(search_kwargs={"k": 5, "filter": models.Filter(must=[models.FieldCondition(key="metadata.source", match=models.MatchValue(value="news"))])})
        self.assertEqual({document.metadata["source"] for document in filtered.invoke("money")}, {"news"})
        again = QdrantVectorStore.from_existing_collection(embedding=Endpoint(), collection_name="demo_collection", url=self.url)
        self.assertIn("weather", again.similarity_search("rain", k=1)[0].page_content)
        made = QdrantVectorStore.from_documents(documents[:3], Endpoint(), url=self.url, collection_name="my_documents")
        self.assertEqual(len(made.similarity_search("breakfast", k=5)), 3)
        self.assertIn("pancakes", asyncio.run(made.asimilarity_search("breakfast", k=1))[0].page_content)

    # https://developers.llamaindex.ai/python/examples/vector_stores/qdrantindexdemo/

    def test_llama_index_stores_and_finds_nodes(self):
        from llama_index.core import SimpleDirectoryReader, StorageContext, VectorStoreIndex
        from llama_index.core.base.embeddings.base import BaseEmbedding
        from llama_index.core.llms import MockLLM
        from llama_index.core.schema import MetadataMode
        from llama_index.core.vector_stores import FilterCondition, FilterOperator, MetadataFilter, MetadataFilters
        from llama_index.vector_stores.qdrant import QdrantVectorStore

        class Endpoint(BaseEmbedding):
            def _get_text_embedding(self, text):
                return Frameworks.embed([text])[0]

            def _get_text_embeddings(self, texts):
                return Frameworks.embed(texts)

            def _get_query_embedding(self, query):
                return Frameworks.embed([query])[0]

            async def _aget_query_embedding(self, query):
                return self._get_query_embedding(query)

        folder = os.path.join(harness.scratch_folder("llama"), "paul_graham")
        os.makedirs(folder)
        with open(os.path.join(harness.ROOT, "examples", "changelog-sample.jsonl"), encoding="utf-8") as file:
            rows = [json.loads(next(file)) for _ in range(40)]
        for row in rows:
            with open(os.path.join(folder, f"{row['id']}.txt"), "w", encoding="utf-8") as file:
                file.write(row["payload"]["text"])
        documents = SimpleDirectoryReader(folder).load_data()
        client = QdrantClient(url=self.url)
        self.addCleanup(client.close)
        vector_store = QdrantVectorStore(client=client, collection_name="paul_graham")
        storage_context = StorageContext.from_defaults(vector_store=vector_store)
        index = VectorStoreIndex.from_documents(documents, storage_context=storage_context, embed_model=Endpoint())
        harness.wait_for(lambda: client.count("paul_graham").count == 40, "all are searchable")
        question = rows[7]["payload"]["text"]
        found = index.as_retriever(similarity_top_k=3).retrieve(question)
        self.assertEqual((len(found), found[0].text), (3, question))
        embedded, asked = self.embed([found[0].node.get_content(MetadataMode.EMBED), question])
        self.assertAlmostEqual(found[0].score, sum(a * b for a, b in zip(embedded, asked, strict=True)), delta=1e-3)
        response = index.as_query_engine(llm=MockLLM()).query(question)
        self.assertIn(question[:60], str(response))

        only = MetadataFilters(filters=[MetadataFilter(key="file_name", operator=FilterOperator.EQ, value=f"{rows[3]['id']}.txt")], condition=FilterCondition.AND)
        found = index.as_retriever(similarity_top_k=3, filters=only).retrieve(question)
        self.assertEqual([node.text for node in found], [rows[3]["payload"]["text"]])
        either = MetadataFilters(filters=[MetadataFilter(key="file_name", operator=FilterOperator.IN, value=[f"{row['id']}.txt" for row in rows[:2]])])
        self.assertEqual(len(index.as_retriever(similarity_top_k=5, filters=either).retrieve(question)), 2)

        again = VectorStoreIndex.from_vector_store(QdrantVectorStore(client=client, collection_name="paul_graham"), embed_model=Endpoint())
        self.assertEqual(again.as_retriever(similarity_top_k=1).retrieve(question)[0].text, question)
        index.delete_ref_doc(documents[0].doc_id)
        harness.wait_for(lambda: client.count("paul_graham").count == 39, "the document is gone")

        async def asynchronous():
            aclient = AsyncQdrantClient(url=self.url)
            store = QdrantVectorStore(client=client, aclient=aclient, collection_name="paul_graham")
            found = await VectorStoreIndex.from_vector_store(store, embed_model=Endpoint()).as_retriever(similarity_top_k=1).aretrieve(question)
            await aclient.close()
            return found[0].text

        self.assertEqual(asyncio.run(asynchronous()), question)

    # https://haystack.deepset.ai/integrations/qdrant-document-store

    def test_haystack_stores_and_finds_documents(self):
        os.environ["HAYSTACK_TELEMETRY_ENABLED"] = "False"
        from haystack import Document, Pipeline
        from haystack.components.embedders import OpenAIDocumentEmbedder, OpenAITextEmbedder
        from haystack.components.writers import DocumentWriter
        from haystack.document_stores.types import DuplicatePolicy
        from haystack.utils import Secret
        from haystack_integrations.components.retrievers.qdrant import QdrantEmbeddingRetriever
        from haystack_integrations.document_stores.qdrant import QdrantDocumentStore

        document_store = QdrantDocumentStore(url=self.url, index="Document", embedding_dim=DIM, recreate_index=True, return_embedding=True, wait_result_from_api=True)
        document_store.write_documents([Document(content="This is first", embedding=[0.1] * DIM), Document(content="This is second", embedding=[0.1] * (DIM - 1) + [0.9])])
        self.assertEqual(document_store.count_documents(), 2)

        endpoint = {"api_base_url": self.embedder.url.removesuffix("/embeddings"), "api_key": Secret.from_token("none"), "model": "all-minilm-l6-v2"}
        documents = [Document(content="There are over 7,000 languages spoken around the world today.", meta={"topic": "languages"}),
                     Document(content="Elephants have been observed to behave in a way that indicates a high level of self-awareness, such as recognizing themselves in mirrors.", meta={"topic": "animals"}),
                     Document(content="In certain parts of the world, like the Maldives, Puerto Rico, and San Diego, you can witness the phenomenon of bioluminescent waves.", meta={"topic": "sea"})]
        indexing = Pipeline()
        indexing.add_component("embedder", OpenAIDocumentEmbedder(**endpoint, progress_bar=False))
        indexing.add_component("writer", DocumentWriter(document_store=document_store, policy=DuplicatePolicy.OVERWRITE))
        indexing.connect("embedder", "writer")
        self.assertEqual(indexing.run({"embedder": {"documents": documents}})["writer"]["documents_written"], 3)
        querying = Pipeline()
        querying.add_component("embedder", OpenAITextEmbedder(**endpoint))
        querying.add_component("retriever", QdrantEmbeddingRetriever(document_store=document_store, top_k=2, return_embedding=True))
        querying.connect("embedder.embedding", "retriever.query_embedding")
        found = querying.run({"embedder": {"text": "How many languages are there?"}})["retriever"]["documents"]
        self.assertEqual((len(found), found[0].content), (2, documents[0].content))
        self.assertEqual(len(found[0].embedding), DIM)
        only = {"operator": "AND", "conditions": [{"field": "meta.topic", "operator": "in", "value": ["animals", "sea"]}]}
        found = querying.run({"embedder": {"text": "How many languages are there?"}, "retriever": {"filters": only}})["retriever"]["documents"]
        self.assertEqual({document.meta["topic"] for document in found}, {"animals", "sea"})
        self.assertEqual(len(document_store.filter_documents({"field": "meta.topic", "operator": "==", "value": "sea"})), 1)
        document_store.delete_documents([documents[0].id])
        self.assertEqual(document_store.count_documents(), 4)


if __name__ == "__main__":
    harness.main()
