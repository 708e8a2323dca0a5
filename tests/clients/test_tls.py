"""TLS as its users meet it: openssl, curl, the stock Python client and
windrow's own commands; certificates that are wrong, and that are renewed while connections are open."""

import http.client
import json
import os
import pathlib
import ssl
import shutil
import subprocess
import sys
import time
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
import harness

harness.require_client("qdrant_client")

import grpc
from qdrant_client import QdrantClient
from qdrant_client import grpc as wire
from secured import Encrypted, Secured, make_certificates
from service import COLLECTION


class Endpoint(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        harness.require_programs("curl")
        cls.certificates = make_certificates()

    def start(self, *arguments, **options):
        self.windrow = Encrypted(self.certificates, *arguments, **options)
        self.windrow.tree["http"]["allowed_hosts"] = ["search.test"]
        self.windrow.configure(self.windrow.tree)
        self.addCleanup(self.windrow.stop)
        return self.windrow.start()

    def openssl(self, *options):
        """Status and output of a handshake."""
        command = ["openssl", "s_client", "-connect", f"127.0.0.1:{self.windrow.port}", "-CAfile", self.windrow.authority, *options]
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False)
        return done.returncode, done.stdout + done.stderr

    def curl(self, *options, path="/livez"):
        done = subprocess.run(["curl", "-sS", *options, self.windrow.url + path], capture_output=True, text=True, timeout=60, check=False)
        return done.returncode, done.stdout + done.stderr

    def serial(self, connection):
        return ssl.DER_cert_to_PEM_cert(connection.sock.getpeercert(binary_form=True))

    def connect(self, context=None):
        connection = http.client.HTTPSConnection("127.0.0.1", self.windrow.port, timeout=60, context=context or self.windrow.trusting())
        connection.connect()
        return connection

    def ask(self, connection, path="/livez"):
        connection.request("GET", path)
        response = connection.getresponse()
        response.read()
        return response.status

    def test_clients_of_others_work_and_old_protocols_do_not(self):
        self.start()
        weak = ("-cipher", "DEFAULT@SECLEVEL=0")
        for version, status in (("tls1_3", 0), ("tls1_2", 0), ("tls1_1", 1), ("tls1", 1)):
            with self.subTest(version):
                code, output = self.openssl(f"-{version}", "-verify_return_error", *(weak if status else ()))
                self.assertEqual(code, status, output)
        self.assertNotEqual(self.openssl("-tls1_2", "-cipher", "AES128-SHA")[0], 0, "no forward secrecy")
        self.assertEqual(self.curl("--cacert", self.windrow.authority)[0], 0)
        self.assertEqual(self.curl()[0], 60, "the authority is unknown")
        client = QdrantClient(host="127.0.0.1", port=self.windrow.port, https=True, verify=self.windrow.trusting(), check_compatibility=False)
        self.assertEqual([one.name for one in client.get_collections().collections], [COLLECTION])
        self.assertEqual(client.count(COLLECTION).count, 0)
        for command in ("status", "trust-clock"):
            done = self.windrow.command(command)
            self.assertEqual(done.returncode, 0, done.stderr)

    def test_plain_text_gets_no_answer(self):
        self.start()
        plain = http.client.HTTPConnection("127.0.0.1", self.windrow.port, timeout=60)
        plain.request("GET", "/livez")
        with self.assertRaises((http.client.HTTPException, ConnectionError)):
            plain.getresponse()
        self.assertEqual(self.windrow.request("GET", "/livez").status, 200)

    def test_commands_refuse_wrong_certificates_by_name(self):
        self.start()
        for certificate, reason in (
            ("expired", "certificate has expired"),
            ("elsewhere", "no alternative certificate subject name matches target host name '127.0.0.1'"),
            ("untrusted", "unable to get local issuer certificate"),
        ):
            with self.subTest(certificate):
                self.windrow.present(certificate)
                self.windrow.hang_up()
                done = self.windrow.command("status")
                self.assertEqual(done.returncode, 1)
                self.assertIn(f"{self.windrow.url}: its certificate is refused: ", done.stderr)
                self.assertIn(reason, done.stderr)
        self.assertIn("cert.pem has expired: clients refuse it", self.windrow.log())
        other = os.path.join(self.certificates, "other-ca.pem")
        self.assertEqual(self.windrow.command("status", "--ca-file", other).returncode, 0)
        self.windrow.present("named")
        self.windrow.hang_up()
        self.assertNotEqual(self.windrow.command("status").returncode, 0)
        self.windrow.tree["cluster"] = {"name": "prod", "advertise": f"search.test:{self.windrow.port}"}
        self.windrow.tree["nats"] = {"url": f"nats://{harness.nobody()}"}
        self.windrow.configure(self.windrow.tree)
        done = self.windrow.command("status")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.windrow.present("good")
        self.windrow.hang_up()
        self.assertEqual(self.windrow.command("status", "--url", f"https://localhost:{self.windrow.port}/").returncode, 0)
        done = self.windrow.command("status", "--url", "localhost")
        self.assertIn("expected http://HOST:PORT or https://HOST:PORT", done.stderr)

    def test_certificate_is_renewed_while_connections_are_open(self):
        self.start()
        old = self.connect()
        before = self.serial(old)
        ends = self.windrow.metrics("windrow_http_certificate_expiry_timestamp_seconds")
        self.windrow.present("renewed")
        self.assertIn("read the certificate", self.windrow.hang_up())
        self.assertEqual(self.ask(old), 200)
        self.assertEqual(self.serial(old), before)
        fresh = self.connect()
        self.assertNotEqual(self.serial(fresh), before)
        renewed = self.windrow.metrics("windrow_http_certificate_expiry_timestamp_seconds")
        self.assertGreater(sum(renewed.values()), sum(ends.values()))
        with open(self.windrow.path("cert.pem"), "w", encoding="utf-8") as file:
            file.write("-----BEGIN CERTIFICATE-----\n")
        log = self.windrow.hang_up()
        self.assertIn(f"not reloaded: http.tls.key_file: {self.certificates}/key.pem: ", log)
        third = self.connect()
        self.assertEqual(self.serial(third), self.serial(fresh))
        self.assertEqual([self.ask(old), self.ask(fresh)], [200, 200])
        for connection in (old, fresh, third):
            connection.close()

    def test_expiry_of_the_certificate_is_a_metric(self):
        self.start()
        text = subprocess.run(["openssl", "x509", "-enddate", "-noout", "-in", self.windrow.path("cert.pem")], capture_output=True, text=True, check=True).stdout
        expiry_s = ssl.cert_time_to_seconds(text.strip().partition("=")[2])
        self.assertEqual(list(self.windrow.metrics("windrow_http_certificate_expiry_timestamp_seconds").values()), [expiry_s])

        self.assertNotIn(b"windrow_http_client_authority", self.windrow.request("GET", "/metrics").body)

    def test_clients_show_certificates_where_they_have_to(self):
        authority = os.path.join(self.certificates, "ca.pem")
        self.start(client_ca_file=authority)
        for certificate, words in (
            (None, "A client certificate is needed (there is none)"),
            ("expired", "this one has expired"),
            ("untrusted", "not signed by an authority of http.tls.client_ca_file"),
            ("server", "not valid for a client"),
            ("good", None),
        ):
            with self.subTest(certificate):
                self.windrow.context = self.windrow.trusting(certificate)
                self.assertEqual(self.windrow.request("GET", "/livez").status, 200, "a probe needs none")
                reply = self.windrow.request("GET", "/collections")
                self.assertEqual(reply.status, 403 if words else 200)
                if words:
                    self.assertIn(words, reply.json()["status"]["error"])
        self.assertEqual(self.windrow.command("status").returncode, 0)
        text = subprocess.run(["openssl", "x509", "-enddate", "-noout", "-in", authority], capture_output=True, text=True, check=True).stdout
        ends = self.windrow.metrics("windrow_http_client_authority_expiry_timestamp_seconds")
        self.assertEqual(list(ends.values()), [ssl.cert_time_to_seconds(text.strip().partition("=")[2])])

    def publish(self, name):
        """The revocation lists that the next reading finds."""
        shutil.copy(os.path.join(self.certificates, f"{name}.crl"), self.lists)

    def start_with_lists(self, start):
        self.lists = os.path.join(harness.scratch_folder("lists"), "clients.crl")
        self.publish("none")
        start(client_ca_file=os.path.join(self.certificates, "ca.pem"), client_crl_file=self.lists)

    def refusal(self, certificate):
        """What curl is told with this certificate, or None."""
        shown = ("--cert", f"{self.certificates}/{certificate}.pem", "--key", f"{self.certificates}/key.pem")
        code, text = self.curl("--cacert", self.windrow.authority, *shown, path="/collections")
        self.assertEqual(code, 0, text)
        status = json.loads(text)["status"]
        return None if status == "ok" else status["error"]

    def test_revoked_clients_are_refused(self):
        self.start_with_lists(self.start)
        self.windrow.context = self.windrow.trusting("revoked")
        connection = self.connect(self.windrow.context)
        self.assertEqual(self.ask(connection, "/collections"), 200)
        self.windrow.context = self.windrow.trusting("good")
        ends = self.windrow.metrics("windrow_http_revocation_list_expiry_timestamp_seconds")
        self.publish("ca")
        self.windrow.hang_up()
        self.assertEqual(self.ask(connection, "/collections"), 403, "the connection was there before the list")
        self.assertEqual(self.ask(connection, "/livez"), 200)
        connection.close()
        self.assertIsNone(self.refusal("good"))
        self.assertIn("A client certificate is needed (this one is revoked)", self.refusal("revoked"))
        shown = ("-cert", f"{self.certificates}/revoked.pem", "-key", f"{self.certificates}/key.pem")
        self.assertEqual(self.openssl(*shown)[0], 0, "words tell why, not the handshake")
        self.assertEqual(self.windrow.command("status").returncode, 0)
        self.publish("other-ca")
        self.assertIn("clients.crl: list 1 is not signed by an authority of http.tls.client_ca_file", self.windrow.hang_up())
        self.assertIn("this one is revoked", self.refusal("revoked"))
        self.publish("old")
        self.assertIn("clients.crl is too old: client certificates of its authority are refused", self.windrow.hang_up())
        self.assertIn("the revocation list of its authority is too old", self.refusal("good"))
        self.publish("none")
        self.windrow.hang_up()
        self.assertIsNone(self.refusal("revoked"))
        later = self.windrow.metrics("windrow_http_revocation_list_expiry_timestamp_seconds")
        self.assertGreater(min(*ends.values(), *later.values()), time.time())

    def test_commands_refuse_a_revoked_service(self):
        self.lists = os.path.join(harness.scratch_folder("lists"), "nodes.crl")
        self.publish("none")
        self.start(certificate="revoked", crl_file=self.lists)
        self.assertEqual(self.windrow.command("status").returncode, 0)
        for name, reason in (("ca", "certificate revoked"), ("old", "CRL has expired"), ("other-ca", "unable to get certificate CRL")):
            self.publish(name)
            done = self.windrow.command("status")
            self.assertEqual(done.returncode, 1)
            self.assertIn(f"{self.windrow.url}: its certificate is refused: ", done.stderr)
            self.assertIn(reason, done.stderr)

    def call(self, certificate=None):
        """Collections.List over gRPC, on a connection of its own: the status."""
        read = lambda name: pathlib.Path(self.certificates, name).read_bytes()
        own = {"private_key": read("key.pem"), "certificate_chain": read(f"{certificate}.pem")} if certificate else {}
        credentials = grpc.ssl_channel_credentials(read("ca.pem"), **own)
        options = [("grpc.use_local_subchannel_pool", 1)]
        with grpc.secure_channel(f"localhost:{self.grpc_port}", credentials, options) as channel:
            try:
                wire.CollectionsStub(channel).List(wire.ListCollectionsRequest(), timeout=60)
            except grpc.RpcError as error:
                return error.code(), error.details()
        return grpc.StatusCode.OK, ""

    def start_with_grpc(self, **options):
        self.windrow = Encrypted(self.certificates, **options)
        self.grpc_port = harness.free_ports(1)[0]
        self.windrow.tree["http"]["grpc_listen"] = f"127.0.0.1:{self.grpc_port}"
        self.windrow.configure(self.windrow.tree)
        self.addCleanup(self.windrow.stop)
        self.windrow.start()

    def test_grpc_speaks_tls_and_takes_renewed_certificates(self):
        self.start_with_grpc()
        self.assertEqual(self.call()[0], grpc.StatusCode.OK)
        self.windrow.present("untrusted")
        self.windrow.hang_up()
        self.assertEqual(self.call()[0], grpc.StatusCode.UNAVAILABLE)
        self.windrow.present("renewed")
        self.windrow.hang_up()
        self.assertEqual(self.call()[0], grpc.StatusCode.OK)
        with grpc.insecure_channel(f"127.0.0.1:{self.grpc_port}") as channel, self.assertRaises(grpc.RpcError):
            wire.CollectionsStub(channel).List(wire.ListCollectionsRequest(), timeout=10)

    def test_grpc_clients_show_certificates_where_they_have_to(self):
        self.start_with_grpc(client_ca_file=os.path.join(self.certificates, "ca.pem"))
        self.assertEqual(self.call("good")[0], grpc.StatusCode.OK)
        code, words = self.call()
        self.assertEqual(code, grpc.StatusCode.UNAUTHENTICATED)
        self.assertIn("A client certificate is needed (there is none)", words)
        self.assertEqual(self.call("expired")[0], grpc.StatusCode.UNAUTHENTICATED)

    def test_revoked_grpc_clients_are_refused(self):
        self.start_with_lists(self.start_with_grpc)
        read = lambda name: pathlib.Path(self.certificates, name).read_bytes()
        credentials = grpc.ssl_channel_credentials(read("ca.pem"), private_key=read("key.pem"), certificate_chain=read("revoked.pem"))
        with grpc.secure_channel(f"localhost:{self.grpc_port}", credentials, [("grpc.use_local_subchannel_pool", 1)]) as channel:
            stub = wire.CollectionsStub(channel)
            stub.List(wire.ListCollectionsRequest(), timeout=60)
            self.publish("ca")
            self.windrow.hang_up()
            with self.assertRaises(grpc.RpcError) as refused:
                stub.List(wire.ListCollectionsRequest(), timeout=60)
        self.assertEqual(refused.exception.code(), grpc.StatusCode.UNAUTHENTICATED)
        self.assertIn("this one is revoked", refused.exception.details())
        self.assertEqual(self.call("revoked")[0], grpc.StatusCode.UNAUTHENTICATED)
        self.assertEqual(self.call("good")[0], grpc.StatusCode.OK)

    def test_start_without_a_fitting_key_fails_with_its_name(self):
        self.windrow = Encrypted(self.certificates, key_file=os.path.join(self.certificates, "ca.key"))
        done = self.windrow.command("run")
        self.assertEqual(done.returncode, 1)
        self.assertIn(f"http.tls.key_file: {self.certificates}/ca.key: ", done.stderr)


class Audit(unittest.TestCase):
    def test_writes_over_grpc_are_in_the_audit_log(self):
        port = harness.free_ports(1)[0]
        windrow = Secured()
        windrow.tree["http"] |= {"grpc_listen": f"127.0.0.1:{port}", "api_key_file": windrow.write("keys", "chief # alice\n"),
                                 "read_only_key_file": windrow.write("readers", "reader\n")}
        windrow.tree["log"] = {"audit_file": windrow.path("audit.log")}
        windrow.configure(windrow.tree)
        self.addCleanup(windrow.stop)
        windrow.start()
        for key in ("chief", "reader", "guess"):
            client = QdrantClient(host="127.0.0.1", port=windrow.port, grpc_port=port, prefer_grpc=True, https=False, api_key=key, check_compatibility=False)
            with self.assertRaises(grpc.RpcError):
                client.count("other")
            with self.assertRaises(grpc.RpcError):
                client.delete("other", points_selector=[1])
        with open(windrow.path("audit.log"), encoding="utf-8") as lines:
            events = [json.loads(line) for line in lines]
        self.assertEqual([(event["who"], event["from"], event["status"]) for event in events], [("admin:alice", "127.0.0.1", 404), ("read-only", "127.0.0.1", 403)])


if __name__ == "__main__":
    harness.main()
