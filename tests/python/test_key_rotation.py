"""The rotation of keys as docs/operations.md tells it, step by step on a running node: with two secrets, and with a JWK
set of public keys. Whoever is connected stays, and at no step a good token is refused.

Needs openssl, which makes the keys and signs."""

import base64
import hashlib
import hmac
import json
import pathlib
import signal
import subprocess
import time
import unittest

from gateway import Gateway
from proxies import Client, wait_until


def base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def openssl(*arguments, stdin=b"") -> bytes:
    return subprocess.run(["openssl", *arguments], input=stdin, capture_output=True, check=True).stdout


class Secret:
    """An HS256 key, as an operator makes it."""

    def __init__(self, directory: pathlib.Path, name: str):
        self.name, self.algorithm = name, "HS256"
        self.path = directory / name
        self.path.write_bytes(openssl("rand", "-hex", "64"))
        self.table = f'[[auth.keys]]\nid = "{name}"\nalgorithm = "HS256"\nsecret_file = "{name}"\n'

    def sign(self, data: bytes) -> bytes:
        return hmac.new(self.path.read_bytes().rstrip(b"\n"), data, hashlib.sha256).digest()


class Pair:
    """An Ed25519 key pair: what the issuer signs with, and its JWK."""

    def __init__(self, directory: pathlib.Path, name: str):
        self.name, self.algorithm = name, "EdDSA"
        self.private = directory / f"{name}.pem"
        openssl("genpkey", "-algorithm", "ed25519", "-out", str(self.private))
        public = openssl("pkey", "-in", str(self.private), "-pubout", "-outform", "DER")[-32:]
        self.jwk = {"kty": "OKP", "crv": "Ed25519", "alg": "EdDSA", "use": "sig", "kid": name, "x": base64url(public)}

    def sign(self, data: bytes) -> bytes:
        to_sign = self.private.with_suffix(".data")
        to_sign.write_bytes(data)
        return openssl("pkeyutl", "-sign", "-rawin", "-inkey", str(self.private), "-in", str(to_sign))


def token(key, user: str) -> str:
    head = {"alg": key.algorithm, "typ": "JWT", "kid": key.name}
    claims = {"sub": user, "exp": int(time.time()) + 600}
    signed = ".".join(base64url(json.dumps(part).encode()) for part in (head, claims))
    return f"{signed}.{base64url(key.sign(signed.encode()))}"


class Rotation(unittest.TestCase):
    def setUp(self):
        self.gateway = Gateway()
        self.addCleanup(self.gateway.close)
        self.directory = self.gateway.config.parent
        self.frame = self.gateway.config.read_text()
        self.address = self.gateway.ws.removeprefix("ws://").removesuffix("/ws")

    def configure(self, auth: str):
        """The file with these lines of [auth] in place of its own keys, reloaded."""
        before, _, after = self.frame.partition("[[auth.keys]]")
        self.gateway.config.write_text(f"{before}{auth}\n[api]{after.partition('[api]')[2]}")
        self.reload("reloaded")

    def reload(self, says: str):
        heard = len(self.gateway.log)
        self.gateway.process.send_signal(signal.SIGHUP)
        wait_until(f"the log says {says!r}", lambda: any(says in line for line in self.gateway.log[heard:]))

    def stay(self, key) -> Client:
        client = Client(self.address, "stays", token=token(key, "stays"))
        self.addCleanup(client.close)
        self.assertEqual(client.reply["status"], 200)
        return client

    def assert_tokens(self, good=(), refused=()):
        for keys, status in ((good, 200), (refused, 401)):
            for key in keys:
                with Client(self.address, "user", token=token(key, "user")) as client:
                    self.assertEqual(client.reply["status"], status, (key.name, client.reply))

    def assert_there(self, client: Client):
        client.send({"path": "ping", "id": 2})
        self.assertEqual(client.receive()["status"], 200)

    def test_two_secrets(self):
        old, new = Secret(self.directory, "2026-07"), Secret(self.directory, "2027-01")
        self.configure(old.table)
        client = self.stay(old)
        self.assert_tokens([old], [new])
        self.configure(new.table + old.table)
        self.assert_tokens([old, new])
        self.configure(new.table)
        self.assert_tokens([new], [old])
        self.assert_there(client)
        # The user goes on with a token of the new key.
        client.send({"path": "connect", "id": 3, "token": token(new, "stays")})
        self.assertEqual(client.receive()["status"], 200)

    def test_a_jwk_set(self):
        old, new = Pair(self.directory, "2026-07"), Pair(self.directory, "2027-01")
        jwks = self.directory / "jwks.json"

        def publish(*pairs):
            jwks.write_text(json.dumps({"keys": [pair.jwk for pair in pairs]}))

        publish(old)
        self.configure('jwks_file = "jwks.json"\n')
        client = self.stay(old)
        self.assert_tokens([old], [new])
        publish(new, old)
        self.reload("reloaded")
        self.assert_tokens([old, new])
        # What a failed download leaves changes nothing.
        jwks.write_text("<html>502 Bad Gateway</html>")
        self.reload("reload refused")
        self.assert_tokens([old, new])
        publish(new)
        self.reload("reloaded")
        self.assert_tokens([new], [old])
        self.assert_there(client)


if __name__ == "__main__":
    unittest.main()
