"""schemathesis makes requests out of /openapi.json, at its limits and by chance: each gets a status that is documented there, in
the form that is documented, and none that is valid is refused. The seed is the same in each run, so that what one change finds
is of that change: WINDROW_SEED=$RANDOM looks elsewhere.

Runs in the private environment that scripts/test makes (`venv-openapi` in the cache folder); skipped where it is missing.
"""

import json
import os
import subprocess
import sys
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "support"))
import harness

harness.require_client("schemathesis", "openapi")

import service
from service import COLLECTION

DIM = 4
SEED = 1
CHECKS = "status_code_conformance,content_type_conformance,response_schema_conformance,valid_request_is_taken"
# An operator's commands would stop the service, one of a collection's would take it away, and pages are for people.
LEFT_OUT = r"^/($|backup|drain|clock|log-level|metrics|dashboard)|/(pause|resume|rebuild|compact|\{collection\})$"


class Schemathesis(unittest.TestCase):
    SECONDS = 15
    EXAMPLES = 20  # of an operation at most

    @classmethod
    def setUpClass(cls):
        service.for_class(cls)
        cls.windrow.tree["collections"] = {}
        cls.windrow.tree["http"]["allow_create"] = True
        cls.windrow.configure(cls.windrow.tree)
        cls.windrow.start()
        harness.wait_for(cls.windrow.ready, "windrow is ready")
        collection = f"/collections/{COLLECTION}"
        cls.windrow.request("PUT", collection, {"vectors": {"size": DIM, "distance": "Euclid"}, "sparse_vectors": {"text": {}}}).json()["result"]
        cls.points = [{"id": n, "vector": [n % 7 + 1, n % 3, n % 5, 1], "payload": {"tag": "ab"[n % 2], "n": n}} for n in range(1, 50)]
        cls.windrow.request("PUT", f"{collection}/points?wait=true", {"points": cls.points}).json()["result"]
        cls.document = cls.windrow.request("GET", "/openapi.json").json()

    def test_examples_are_answered(self):
        told = 0
        for path, operations in sorted(self.document["paths"].items()):
            for method, operation in operations.items():
                content = operation.get("requestBody", {}).get("content", {}).get("application/json", {})
                if "example" in content and path != "/collections/{collection}":
                    with self.subTest(path=path, method=method):
                        put = self.windrow.request("PUT", f"/collections/{COLLECTION}/points?wait=true", {"points": self.points[:5]})
                        self.assertEqual(put.status, 200, put.body)
                        reply = self.windrow.request(method.upper(), path.replace("{collection}", COLLECTION), content["example"])
                        self.assertEqual(reply.status, 200, reply.body)
                    told += 1
        self.assertGreater(told, 20)

    def narrowed(self):
        """The document as it is for this collection: its name, as many components as it has dimensions, and the offsets that it
        has, because a request waits for one that is still to come."""
        document = json.loads(json.dumps(self.document))

        def narrow(part):
            if isinstance(part, dict):
                if part.get("items") == {"$ref": "#/components/schemas/Component"}:
                    part |= {"minItems": DIM, "maxItems": DIM}
                if "min_offsets" in part.get("properties", {}):
                    offset = part["properties"]["min_offsets"].pop("additionalProperties") | {"maximum": len(self.points) - 1}
                    part["properties"]["min_offsets"] |= {"properties": {"0": offset}, "additionalProperties": False}
                for one in part.values():
                    narrow(one)
            elif isinstance(part, list):
                for one in part:
                    narrow(one)

        narrow(document)
        for path, operations in document["paths"].items():
            for operation in operations.values():
                for parameter in operation.get("parameters", []):
                    if parameter["in"] == "path" and parameter["name"] == "collection":
                        parameter["schema"] = {"enum": [COLLECTION]}
        return document

    def test_schemathesis_finds_nothing(self):
        folder = harness.scratch_folder("schemathesis")
        with open(os.path.join(folder, "openapi.json"), "w", encoding="utf-8") as file:
            json.dump(self.narrowed(), file)
        program = os.path.join(os.path.dirname(sys.executable), "schemathesis")
        seed = harness.Environment.seed if "WINDROW_SEED" in os.environ else SEED
        command = [program, "run", "openapi.json", "--url", self.windrow.url, "--checks", CHECKS, "--exclude-path-regex", LEFT_OUT]
        command += ["--phases", "examples,coverage,fuzzing", "--max-time", str(self.SECONDS), "--max-failures", "20", "--continue-on-failure"]
        command += ["--max-examples", str(self.EXAMPLES), "--suppress-health-check", "all", "--seed", str(seed), "--generation-database", "none", "--no-color"]
        run = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300 + 2 * self.SECONDS, check=False,
                             env={**os.environ, "SCHEMATHESIS_HOOKS": os.path.join(HERE, "openapi_checks.py")})
        tested = [line for line in run.stdout.splitlines() if "generated" in line]
        print(f"seed {seed}", *tested, flush=True)
        self.assertEqual(run.returncode, 0, run.stdout[-12000:] + run.stderr[-3000:])
        self.assertTrue(tested, run.stdout[-3000:])


class Long(Schemathesis):
    """17,207 requests on two processors."""

    SECONDS = 120
    EXAMPLES = 200


if __name__ == "__main__":
    harness.main()
