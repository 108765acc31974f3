"""Starts the program under test and mints its tokens. Needs nothing but the standard library.

The binary's path comes from LONGWIRE_BIN."""

import base64
import hashlib
import hmac
import json
import os
import pathlib
import re
import subprocess
import tempfile
import threading
import time
import urllib.error
import urllib.request

SECRET = "a secret of the Python tests, longer than thirty-two bytes"
PATIENCE_S = 30

CONFIG = """
[server]
listen = ["127.0.0.1:0"]
node = "python"
reactors = 2

[auth]
default_topics = ["*"]

[[auth.keys]]
algorithm = "HS256"
secret = "{secret}"

[api]
listen = "127.0.0.1:0"

{more}
"""


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def token(user: str, **claims) -> str:
    """An HS256 token, good for an hour unless `exp` says otherwise."""
    claims = {"sub": user, "exp": int(time.time()) + 3600, **claims}
    parts = [json.dumps({"alg": "HS256", "typ": "JWT"}), json.dumps(claims)]
    signed = ".".join(_base64url(part.encode()) for part in parts)
    return signed + "." + _base64url(hmac.new(SECRET.encode(), signed.encode(), hashlib.sha256).digest())


class Gateway:
    """A running gateway; a context manager that ends it.

    `more` is added to its configuration; each of `sets`, a `KEY=VALUE`, overrides a key of it."""

    def __init__(self, more: str = "", sets=()):
        self.directory = tempfile.TemporaryDirectory(prefix="longwire-python-")
        self.config = pathlib.Path(self.directory.name) / "longwire.toml"
        self.config.write_text(CONFIG.format(secret=SECRET, more=more))
        self.log = []
        environment = {"PATH": os.environ.get("PATH", "")}
        command = [os.environ["LONGWIRE_BIN"], "serve", "--config", str(self.config)]
        command += [f"--set={override}" for override in sets]
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment)
        self.reader = threading.Thread(target=lambda: self.log.extend(self.process.stderr), daemon=True)
        self.reader.start()
        self.ws = f"ws://{self._address('websocket listening')}/ws"
        self.api = f"http://{self._address('api listening')}"

    def _address(self, what: str) -> str:
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            for line in list(self.log):
                found = re.search(r"address=\"?([^\s\"]+)", line) if what in line else None
                if found:
                    return found.group(1)
            if self.process.poll() is not None:
                break
            time.sleep(0.01)
        self.close()
        raise AssertionError(f"no {what!r} in the log:\n{''.join(self.log)}")

    def request(self, method: str, path: str, body=None):
        """One API call: status and parsed body."""
        data = None if body is None else json.dumps(body).encode()
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(self.api + path, data=data, method=method, headers=headers)
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(request, timeout=PATIENCE_S) as response:
                return response.status, json.loads(response.read())
        except urllib.error.HTTPError as error:
            return error.code, json.loads(error.read())

    def push(self, to, path: str, body=None):
        status, counts = self.request("POST", "/v1/push", {"to": to, "path": path, "body": body})
        assert status == 200, (status, counts)
        return counts

    def close(self):
        self.process.kill()
        self.process.wait()
        self.reader.join()
        self.process.stderr.close()
        self.directory.cleanup()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
