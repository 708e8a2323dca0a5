"""/openapi.json is a valid OpenAPI document, and its schemas accept the requests that stock clients send.

Runs in the private environment that scripts/test makes (`venv-openapi` in the cache folder); skipped where it is missing.
"""

import os
import sys
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "support"))
import harness

harness.require_client("openapi_spec_validator", "openapi")

import jsonschema
import service
from openapi_spec_validator import OpenAPIV31SpecValidator
from service import COLLECTION

POINTS = "/collections/{collection}/points"
VECTOR = [0.5] * 16

# What qdrant-client 1.20.0, its JavaScript sister, LangChain and LlamaIndex send.
SENT = [
    ("post", f"{POINTS}/query", {"query": VECTOR, "limit": 3, "with_vector": False, "with_payload": True}),
    ("post", f"{POINTS}/query", {"query": {"nearest": VECTOR, "mmr": {"diversity": 0.3, "candidates_limit": 9}}, "using": ""}),
    ("post", f"{POINTS}/query", {"query": {"recommend": {"positive": [1, "a"], "strategy": "average_vector"}}}),
    ("post", f"{POINTS}/query", {"prefetch": [{"query": VECTOR, "limit": 5}], "query": {"fusion": "rrf"}}),
    ("post", f"{POINTS}/query", {"query": {"order_by": {"key": "n", "direction": "desc"}}, "offset": 2}),
    ("post", f"{POINTS}/query", {"filter": {"must": {"key": "a.b", "match": {"value": 3}}, "must_not": [{"has_id": [1, "b"]}]}}),
    ("post", f"{POINTS}/query", {"filter": {"should": [{"nested": {"key": "a", "filter": {"must": [{"is_null": {"key": "b"}}]}}}]}}),
    ("post", f"{POINTS}/query", {"filter": {"min_should": {"conditions": [], "min_count": 1}}, "params": {"hnsw_ef": 9, "exact": True}}),
    ("post", f"{POINTS}/query/batch", {"searches": [{"query": VECTOR}]}),
    ("post", f"{POINTS}/query/groups", {"query": VECTOR, "group_by": "tag", "group_size": 2, "limit": 4}),
    ("post", f"{POINTS}/search", {"vector": {"name": "", "vector": VECTOR}, "limit": 3, "offset": 1}),
    ("post", f"{POINTS}/search/batch", {"searches": [{"vector": VECTOR, "limit": 3}]}),
    ("post", f"{POINTS}/search/groups", {"vector": VECTOR, "limit": 3, "group_by": "tag", "group_size": 1}),
    ("post", f"{POINTS}/recommend", {"positive": [1, VECTOR], "negative": [], "limit": 3, "using": ""}),
    ("post", f"{POINTS}/recommend/batch", {"searches": [{"positive": ["a"], "limit": 3}]}),
    ("post", f"{POINTS}/recommend/groups", {"positive": [1], "limit": 3, "group_by": "tag", "group_size": 1}),
    ("post", f"{POINTS}/scroll", {"limit": 3, "with_payload": {"exclude": ["a[].b"]}, "offset": "x"}),
    ("post", f"{POINTS}/scroll", {"limit": 3, "order_by": {"key": "n", "start_from": 2}}),
    ("post", f"{POINTS}/count", {"exact": True, "windrow": {"require": "complete", "min_offsets": {"0": 4}}}),
    ("post", POINTS, {"ids": [1, "a"], "with_payload": ["a"], "with_vector": [""]}),
    ("put", POINTS, {"points": [{"id": 1, "vector": {"": VECTOR}, "payload": {"a": None}}], "update_mode": "upsert"}),
    ("put", POINTS, {"batch": {"ids": [1], "vectors": [VECTOR], "payloads": [None]}}),
    ("post", f"{POINTS}/delete", {"points": [1]}),
    ("post", f"{POINTS}/batch", {"operations": [{"upsert": {"points": []}}, {"delete": {"points": ["a"]}}]}),
    ("post", f"{POINTS}/batch", {"operations": [{"set_payload": {"payload": {"a": 1}, "points": [1]}}, {"clear_payload": {"points": [1]}}]}),
    ("post", f"{POINTS}/payload", {"payload": {"a": 1}, "points": [1], "key": "b[].c"}),
    ("put", f"{POINTS}/payload", {"payload": {"a": 1}, "filter": {"must": []}}),
    ("post", f"{POINTS}/payload/delete", {"keys": ["a"], "points": [1]}),
    ("post", f"{POINTS}/payload/clear", {"points": [1]}),
    ("put", f"{POINTS}/vectors", {"points": [{"id": 1, "vector": VECTOR}]}),
    ("put", POINTS, {"points": [], "update_filter": {"must": []}}),
    ("put", POINTS, {"points": [], "update_mode": "insert_only"}),
    ("put", "/collections/{collection}/index", {"field_name": "n", "field_schema": {"type": "integer", "lookup": True}}),
    ("post", "/collections/{collection}/facet", {"key": "tag", "limit": 3}),
]

REFUSED = [
    ("put", POINTS, {"points": [], "update_mode": "insert"}),
    ("post", f"{POINTS}/query", {"query": VECTOR, "lookup_from": {"collection": "other"}}),
    ("post", f"{POINTS}/query", {"query": VECTOR, "shard_key": "a"}),
    ("post", f"{POINTS}/query", {"query": VECTOR, "limt": 3}),
    ("post", f"{POINTS}/scroll", {"limit": "3"}),
]


class OpenApi(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        service.for_class(cls)
        cls.windrow.create_topic(1)
        cls.windrow.start()
        harness.wait_for(cls.windrow.ready, "windrow is ready")
        cls.document = cls.windrow.request("GET", "/openapi.json").json()

    def put_points(self):
        points = [{"id": number, "vector": VECTOR, "payload": {"tag": "a", "n": 3}} for number in (1, 2, "a")]
        reply = self.windrow.request("PUT", f"/collections/{COLLECTION}/points?wait=true", {"points": points})
        self.assertEqual(reply.status, 200, reply.body)

    def schema(self, method, path):
        body = self.document["paths"][path][method]["requestBody"]["content"]["application/json"]["schema"]
        return {**body, "components": self.document["components"]}

    def test_document_is_valid(self):
        OpenAPIV31SpecValidator(self.document).validate()

    def test_path_parameters_are_declared(self):
        for path, operations in self.document["paths"].items():
            named = {part[1:-1] for part in path.split("/") if part.startswith("{")}
            for operation in operations.values():
                declared = {one["name"] for one in operation.get("parameters", []) if one["in"] == "path"}
                self.assertEqual(declared, named, path)

    def test_keys_are_known_as_security_schemes(self):
        self.assertEqual(set(self.document["components"]["securitySchemes"]), {"api-key", "bearer"})
        self.assertEqual(self.document["security"], [{}, {"api-key": []}, {"bearer": []}])
        self.assertEqual(self.document["paths"]["/livez"]["get"]["security"], [])

    def test_schemas_accept_what_clients_send_and_the_service_does_it(self):
        for method, path, body in SENT:
            with self.subTest(path=path, body=body):
                jsonschema.Draft202012Validator(self.schema(method, path)).validate(body)
                self.put_points()
                reply = self.windrow.request(method.upper(), path.replace("{collection}", COLLECTION), body)
                self.assertEqual(reply.status, 200, reply.body)

    def test_schemas_refuse_what_the_service_refuses(self):
        for method, path, body in REFUSED:
            with self.subTest(path=path, body=body):
                self.assertFalse(jsonschema.Draft202012Validator(self.schema(method, path)).is_valid(body))
                reply = self.windrow.request(method.upper(), path.replace("{collection}", COLLECTION), body)
                self.assertIn(reply.status, (400, 501), reply.body)


if __name__ == "__main__":
    harness.main()
