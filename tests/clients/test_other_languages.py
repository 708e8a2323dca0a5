"""The stock clients of other languages, built from their registries, do what their tutorials do: over gRPC, JavaScript over REST.

Skipped with the reason where a toolchain or its registry is missing.
"""

import os
import shutil
import subprocess
import sys
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "support"))
import harness
from servers import Kafka
from service import COLLECTION, Windrow

DIM = 4
BUILD_SECONDS = 900


class OtherLanguages(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.kafka = Kafka().start()
        cls.windrow = Windrow(cls.kafka.address, dim=DIM, metric="cosine")
        cls.grpc_port = harness.free_ports(1)[0]
        cls.windrow.tree["http"]["allow_create"] = True
        cls.windrow.tree["http"]["grpc_listen"] = f"127.0.0.1:{cls.grpc_port}"
        cls.windrow.configure(cls.windrow.tree)
        cls.windrow.create_topic(1)
        cls.windrow.start()
        harness.wait_for(cls.windrow.ready, "windrow is ready")

    @classmethod
    def tearDownClass(cls):
        stopped = cls.windrow.stop()
        cls.kafka.stop()
        assert stopped == 0, cls.windrow.log()[-2000:]

    def build(self, language, *command):
        """A copy of the client's folder in which COMMAND has run. What registries bring stays in the toolchain's own cache."""
        if not shutil.which(command[0]):
            self.skipTest(f"{command[0]} is not installed")
        folder = os.path.join(harness.scratch_folder(language), "client")
        shutil.copytree(os.path.join(HERE, language), folder)
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=BUILD_SECONDS, check=False)
        if done.returncode != 0 and any(word in done.stdout + done.stderr for word in ("dial tcp", "proxy.golang.org", "Unknown host", "transfer", "failed to download", "npm error network", "ENOTFOUND")):
            self.skipTest(f"the registry of {language} does not answer: {(done.stdout + done.stderr)[-300:]}")
        self.assertEqual(done.returncode, 0, (done.stdout + done.stderr)[-3000:])
        return folder

    def run_client(self, folder, *command):
        command = [*command, "127.0.0.1", str(self.grpc_port), COLLECTION, str(DIM)]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120, check=False)
        self.assertEqual((done.returncode, done.stdout.strip()), (0, "ok"), done.stderr[-3000:])

    def test_go(self):
        folder = self.build("go", "go", "build", "-o", "client", ".")
        self.run_client(folder, "./client")

    def test_java(self):
        if not shutil.which("javac"):
            self.skipTest("javac is not installed")
        folder = self.build("java", "mvn", "-B", "-q", "compile", "dependency:build-classpath", "-Dmdep.outputFile=classpath")
        with open(os.path.join(folder, "classpath"), encoding="utf-8") as file:
            classpath = os.pathsep.join([os.path.join(folder, "target", "classes"), file.read().strip()])
        self.run_client(folder, "java", "-cp", classpath, "Main")

    def test_javascript(self):
        if not shutil.which("node"):
            self.skipTest("node is not installed")
        folder = self.build("js", "npm", "ci", "--no-audit", "--no-fund")
        print(f"seed {harness.Environment.seed}", flush=True)
        done = subprocess.run(["node", "client.mjs", self.windrow.url, str(harness.Environment.seed)], cwd=folder, capture_output=True, text=True, timeout=300, check=False)
        self.assertEqual((done.returncode, done.stdout.strip()), (0, "ok"), done.stderr[-3000:])

    def test_rust(self):
        folder = self.build("rust", "cargo", "build", "--quiet", "--locked")
        self.run_client(folder, os.path.join(os.environ.get("CARGO_TARGET_DIR", os.path.join(folder, "target")), "debug", "client"))


if __name__ == "__main__":
    harness.main()
