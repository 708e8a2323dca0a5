"""The stock clients of other languages do what their tutorials do: over gRPC, JavaScript over REST. scripts/test builds them
(scripts/lib/clients.sh); each is skipped with the reason where it could not.
"""

import os
import shutil
import subprocess
import sys
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "support"))
import harness
import service
from service import COLLECTION

DIM = 4


class OtherLanguages(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        service.for_class(cls, dim=DIM, metric="cosine")
        cls.grpc_port = harness.free_ports(1)[0]
        cls.windrow.tree["http"]["allow_create"] = True
        cls.windrow.tree["http"]["grpc_listen"] = f"127.0.0.1:{cls.grpc_port}"
        cls.windrow.configure(cls.windrow.tree)
        cls.windrow.create_topic(1)
        cls.windrow.start()
        harness.wait_for(cls.windrow.ready, "windrow is ready")

    def built(self, language, program):
        """The folder in which scripts/test has built the client as it is here."""
        if not shutil.which(program):
            self.skipTest(f"{program} is not installed")
        folder = os.path.join(harness.CACHE, f"client-{language}")
        difference = subprocess.run(["diff", "-rq", os.path.join(HERE, language), os.path.join(folder, "sources")], capture_output=True, text=True, timeout=60, check=False)
        if difference.returncode != 0:
            self.skipTest(f"the {language} client is not built; scripts/test does, and its log is {harness.CACHE}/log/client-{language}.log")
        return os.path.join(folder, "build")

    def run_client(self, folder, *command):
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300, check=False)
        self.assertEqual((done.returncode, done.stdout.strip()), (0, "ok"), done.stderr[-3000:])

    def over_grpc(self):
        return "127.0.0.1", str(self.grpc_port), COLLECTION, str(DIM)

    def test_go_client_writes_and_finds(self):
        self.run_client(self.built("go", "go"), "./client", *self.over_grpc())

    def test_java_client_writes_and_finds(self):
        folder = self.built("java", "javac")
        with open(os.path.join(folder, "classpath"), encoding="utf-8") as file:
            classpath = os.pathsep.join([os.path.join(folder, "target", "classes"), file.read().strip()])
        self.run_client(folder, "java", "-cp", classpath, "Main", *self.over_grpc())

    def test_javascript_client_writes_and_finds_as_brute_force(self):
        print(f"seed {harness.Environment.seed}", flush=True)
        self.run_client(self.built("js", "node"), "node", "client.mjs", self.windrow.url, str(harness.Environment.seed))

    def test_rust_client_writes_and_finds(self):
        self.run_client(self.built("rust", "cargo"), os.path.join("target", "debug", "client"), *self.over_grpc())


if __name__ == "__main__":
    harness.main()
