"""A service without a broker, with keys and certificates."""

import os
import shutil
import signal
import ssl
import subprocess

import harness
from service import Windrow

NO_BROKER = harness.nobody()


class Secured(Windrow):
    """A service without a broker, and what it has in the folder of its secrets."""

    def __init__(self, **http):
        super().__init__(NO_BROKER)
        self.tree["http"] |= http
        self.configure(self.tree)

    def path(self, name):
        return os.path.join(self.folder, name)

    def write(self, name, text, mode=0o600):
        with open(self.path(name), "w", encoding="utf-8") as file:
            os.fchmod(file.fileno(), mode)
            file.write(text)
        return self.path(name)

    def hang_up(self):
        """SIGHUP; the new lines of the log."""
        before = len(self.log())
        self.process.send_signal(signal.SIGHUP)
        return harness.wait_for(lambda: (lambda new: "reload" in new and new)(self.log()[before:]), "the reload is logged")

    def status_of(self, request, key=None):
        method, path, body = request
        return self.request(method, path, body, headers={"api-key": key} if key else {}).status


def make_certificates():
    """The folder of all that tests/support/certificates makes."""
    harness.require_programs("openssl")
    folder = harness.scratch_folder("certificates")
    subprocess.run([os.path.join(harness.ROOT, "tests", "support", "certificates"), folder], check=True)
    return folder


class Encrypted(Secured):
    """The same over TLS. present() changes the certificate, as an operator would do it."""

    def __init__(self, certificates, certificate="good", **tls):
        super().__init__()
        self.certificates = certificates
        self.url = f"https://127.0.0.1:{self.port}"
        self.authority = os.path.join(certificates, "ca.pem")
        self.present(certificate)
        self.tree["http"]["tls"] = {"cert_file": self.path("cert.pem"), "key_file": os.path.join(certificates, "key.pem"), "ca_file": self.authority, **tls}
        self.configure(self.tree)
        self.context = self.trusting()

    def trusting(self, certificate=None):
        """What a client has that knows the authority, with a certificate of its own or without."""
        context = ssl.create_default_context(cafile=self.authority)
        context.check_hostname = False
        if certificate:
            context.load_cert_chain(os.path.join(self.certificates, f"{certificate}.pem"), os.path.join(self.certificates, "key.pem"))
        return context

    def present(self, certificate):
        shutil.copy(os.path.join(self.certificates, f"{certificate}.pem"), self.path("cert.pem"))
