"""NATS with TLS and users: nodes connect with what the config says, say why they are refused, and connect by themselves when that is
mended."""

import json
import os
import shutil
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
import harness
from nats_users import ACCOUNT, USER, Identity, Operator
from secured import Secured, make_certificates
from servers import Nats

WAIT_S = 40 # a connection that was refused is tried again every two seconds


class GuardedNats(Nats):
    """A server with a configuration of its own, SECTIONS beside the ordinary ones."""

    def start(self):
        path = os.path.join(self.folder, "nats.conf")
        sections = {"listen": f"127.0.0.1:{self.port}", "http": f"127.0.0.1:{self.monitor_port}", **self.sections}
        with open(path, "w", encoding="utf-8") as file:
            json.dump({**sections, "jetstream": {"store_dir": os.path.join(self.folder, "store")}}, file)
        self.spawn(["nats-server", "-c", path])
        self.wait_ready(self.answers, timeout_s=30)
        return self

    def restart(self, **sections):
        self.stop()
        self.sections = sections
        return self.start()


class Connections(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.certificates = make_certificates()

    def setUp(self):
        self.nats = GuardedNats()
        self.addCleanup(self.nats.stop)

    def certificate(self, name):
        return os.path.join(self.certificates, f"{name}.pem")

    def run_with(self, scheme="nats", **settings):
        """A node that finds NATS so."""
        self.windrow = Secured()
        self.windrow.tree |= {"cluster": {"name": "prod"}, "nats": {"url": f"{scheme}://127.0.0.1:{self.nats.port}", "replicas": 1, **settings}}
        self.windrow.configure(self.windrow.tree)
        self.addCleanup(self.windrow.stop)
        return self.windrow.start()

    def connections(self):
        """Of announcements and of the queue; the queue's reason."""
        cluster = self.windrow.request("GET", "/cluster").json()["result"]["connected"]
        queue = self.windrow.request("GET", "/status").json()["workers"]
        return cluster, queue["connected"], queue.get("why")

    def wait_connected(self):
        harness.wait_for(lambda: self.connections()[:2] == (True, True), "both connections are up", WAIT_S)

    def wait_refused(self, words):
        def refused():
            log = self.windrow.log()
            return all(f"{room}: NATS: {words}" in log for room in ("cluster", "indexer")) and words in (self.connections()[2] or "")

        harness.wait_for(refused, f"both connections are refused: {words}", WAIT_S)
        self.assertEqual(self.connections()[:2], (False, False))

    def tls(self, certificate="good", **more):
        return {"tls": {"cert_file": self.certificate(certificate), "key_file": self.certificate("key"), **more}}

    def test_server_with_tls_that_wants_certificates(self):
        mutual = {"ca_file": self.certificate("ca"), "verify": True}
        self.nats.sections = self.tls(**mutual)
        self.nats.start()
        files = {"ca_file": self.certificate("ca"), "cert_file": self.certificate("good"), "key_file": self.certificate("key")}
        self.run_with(tls=files)
        self.wait_connected()
        self.assertEqual(self.nats.messages(), 0, "the streams were made")
        self.nats.restart(**self.tls("expired", **mutual))
        harness.wait_for(lambda: self.connections()[:2] == (False, False), "the certificate is refused", WAIT_S)
        self.nats.restart(**self.tls(**mutual))
        self.wait_connected()

    def test_servers_that_are_not_who_they_should_be(self):
        for certificate, words in (("expired", "certificate has expired"), ("untrusted", "unable to get local issuer certificate"), ("elsewhere", "IP address mismatch")):
            with self.subTest(certificate):
                self.nats.sections = self.tls(certificate)
                self.nats.start()
                self.run_with(scheme="tls", tls={"ca_file": self.certificate("ca")})
                self.wait_refused("SSL handshake error")
                self.assertIn(words, self.windrow.log())
                self.nats.restart(**self.tls())
                self.wait_connected()
                self.windrow.stop()
                self.nats.stop()

    def test_server_without_tls_is_refused_where_it_is_wanted(self):
        self.nats.sections = {}
        self.nats.start()
        self.run_with(tls={"ca_file": self.certificate("ca")})
        self.wait_refused("Secure Connection not available")

    def test_users_with_credentials(self):
        operator = Operator()
        self.nats.sections = operator.section()
        self.nats.start()
        path = os.path.join(harness.scratch_folder("credentials"), "node.creds")
        stranger = operator.write_credentials(f"{path}.stranger", account=Identity(ACCOUNT))
        shutil.copy(stranger, path)
        self.run_with(creds_file=path)
        self.wait_refused("Authorization Violation")
        operator.write_credentials(path)
        self.wait_connected()
        # The second refusal in a row makes the library give up.
        shutil.copy(stranger, path)
        self.nats.restart(**operator.section())
        self.wait_refused("Authorization Violation")
        operator.write_credentials(path)
        self.wait_connected()
        self.windrow.stop()
        for secret in (operator.operator.seed, "BEGIN USER"):
            self.assertNotIn(secret, self.windrow.log())

    def test_users_with_nkeys(self):
        user = Identity(USER)
        self.nats.sections = {"authorization": {"users": [{"nkey": user.public}]}}
        self.nats.start()
        seed = os.path.join(harness.scratch_folder("nkey"), "seed")
        with open(seed, "w", encoding="utf-8") as file:
            os.fchmod(file.fileno(), 0o600)
            file.write(user.seed)
        self.run_with(nkey=user.public, nkey_seed_file=seed)
        self.wait_connected()


if __name__ == "__main__":
    harness.main()
