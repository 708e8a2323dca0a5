"""Users of NATS as `nsc` makes them: an operator, an account with JetStream, and its users, each with an Ed25519 key.

Keys are written in base32: a prefix that tells the kind, the 32 bytes, a CRC-16 (XMODEM)."""

import base64
import json
import os
import subprocess
import tempfile
import time

SEED, OPERATOR, ACCOUNT, USER = 18 << 3, 14 << 3, 0, 20 << 3
UNLIMITED = dict.fromkeys(
    ("subs", "data", "payload", "imports", "exports", "conn", "leaf", "mem_storage", "disk_storage", "streams", "consumer"), -1
)


def encode(*parts):
    raw = b"".join(parts)
    crc = 0
    for byte in raw:
        crc ^= byte << 8
        for _ in range(8):
            crc = (crc << 1 ^ (0x1021 if crc & 0x8000 else 0)) & 0xFFFF
    return base64.b32encode(raw + crc.to_bytes(2, "little")).decode().rstrip("=")


def compact(data):
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


class Identity:
    """A key pair of one of the kinds."""

    def __init__(self, kind):
        self.private = subprocess.run(["openssl", "genpkey", "-algorithm", "ed25519"], check=True, capture_output=True).stdout
        seed = self.openssl("pkey", "-outform", "DER")[-32:]
        public = self.openssl("pkey", "-pubout", "-outform", "DER")[-32:]
        self.public = encode(bytes([kind]), public)
        self.seed = encode(bytes([SEED | kind >> 5, (kind & 31) << 3]), seed)

    def openssl(self, *arguments, key="-in"):
        with tempfile.NamedTemporaryFile() as file:
            file.write(self.private)
            file.flush()
            return subprocess.run(["openssl", *arguments, key, file.name], check=True, capture_output=True).stdout

    def token(self, subject, name, claims):
        """A JWT about somebody that this identity has signed."""
        body = {"jti": name, "iat": int(time.time()), "iss": self.public, "name": name, "sub": subject.public, "nats": {**claims, "version": 2}}
        text = ".".join(compact(json.dumps(part).encode()) for part in ({"typ": "JWT", "alg": "ed25519-nkey"}, body))
        with tempfile.NamedTemporaryFile() as file:
            file.write(text.encode())
            file.flush()
            signature = self.openssl("pkeyutl", "-sign", "-rawin", "-in", file.name, key="-inkey")
        return f"{text}.{compact(signature)}"


class Operator:
    """Its section of a server's configuration, and files of credentials."""

    def __init__(self):
        self.operator, self.account, self.system = Identity(OPERATOR), Identity(ACCOUNT), Identity(ACCOUNT)

    def section(self):
        def account(identity, name, storage):
            limits = {**UNLIMITED, "wildcards": True, **({} if storage else {"mem_storage": 0, "disk_storage": 0, "streams": 0, "consumer": 0})}
            return self.operator.token(identity, name, {"type": "account", "limits": limits, "default_permissions": {"pub": {}, "sub": {}}})

        return {
            "operator": self.operator.token(self.operator, "operator", {"type": "operator"}),
            "system_account": self.system.public,
            "resolver": "MEMORY",
            "resolver_preload": {
                self.account.public: account(self.account, "windrow", True),
                self.system.public: account(self.system, "system", False),
            },
        }

    def write_credentials(self, path, account=None):
        user = Identity(USER)
        token = (account or self.account).token(user, "node", {"type": "user", "pub": {}, "sub": {}, "subs": -1, "data": -1, "payload": -1})
        with open(path, "w", encoding="utf-8") as file:
            os.fchmod(file.fileno(), 0o600)
            file.write(f"-----BEGIN NATS USER JWT-----\n{token}\n------END NATS USER JWT------\n\n")
            file.write(f"-----BEGIN USER NKEY SEED-----\n{user.seed}\n------END USER NKEY SEED------\n")
        return path
