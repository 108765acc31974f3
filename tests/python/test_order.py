"""The service of examples/order.py, on a real nats-server behind a real gateway.

It needs nats-py (`pip install nats-py`), which Debian does not have, and nats-server: without one of them it is skipped."""

import asyncio
import importlib.util
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import time
import unittest

import websockets

from gateway import PATIENCE_S, Gateway, token

ORDER = pathlib.Path(__file__).parents[2] / "examples" / "order.py"
NATS_SERVER = shutil.which("nats-server", path=os.environ.get("PATH", "") + ":/usr/sbin")


def end(process):
    process.kill()
    process.communicate()


def patiently(awaitable):
    return asyncio.wait_for(awaitable, PATIENCE_S)


def start_nats(test):
    """Its URL; the port is one that is free."""
    directory = tempfile.TemporaryDirectory(prefix="longwire-python-")
    test.addCleanup(directory.cleanup)
    command = [NATS_SERVER, "-a", "127.0.0.1", "-p", "-1", "--ports_file_dir", directory.name]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    test.addCleanup(end, process)
    ports = pathlib.Path(directory.name) / f"nats-server_{process.pid}.ports"
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline and process.poll() is None:
        found = re.search(r'"(nats:[^"]*)"', ports.read_text() if ports.exists() else "")
        if found:
            return found.group(1)
        time.sleep(0.01)
    raise AssertionError("nats-server does not start")


@unittest.skipUnless(importlib.util.find_spec("nats"), "nats-py is not installed: pip install nats-py")
@unittest.skipUnless(NATS_SERVER, "nats-server is not installed: apt-get install nats-server")
class Order(unittest.IsolatedAsyncioTestCase):
    async def test_the_service_answers_and_pushes(self):
        url = start_nats(self)
        gateway = Gateway(f'[nats]\nurl = ["{url}"]\nprefix = "shop"')
        self.addCleanup(gateway.close)
        command = [sys.executable, str(ORDER), url, "shop"]
        service = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        self.addCleanup(end, service)
        self.assertEqual(
            await asyncio.to_thread(service.stdout.readline), f"answering shop.call.order.create on {url}\n"
        )

        async def login(user):
            client = await patiently(websockets.connect(gateway.ws, open_timeout=PATIENCE_S))
            self.addAsyncCleanup(client.close)
            await client.send(json.dumps({"path": "connect", "id": 1, "token": token(user)}))
            self.assertEqual(json.loads(await patiently(client.recv()))["status"], 200)
            return client

        async def call(client, **message):
            await client.send(json.dumps({"path": "order/create", "id": 7, **message}))
            return json.loads(await patiently(client.recv()))

        phone, laptop = await login("a.b@c"), await login("a.b@c")
        self.assertEqual(
            await call(phone, body={"sku": "a1"}),
            {"id": 7, "path": "order/create", "status": 200, "body": {"order": 1, "sku": "a1"}},
        )
        for client in (phone, laptop):
            paid = json.loads(await patiently(client.recv()))
            self.assertEqual(paid, {"path": "order/paid", "body": {"order": 1}})
        for body in (None, {}, {"sku": ""}, {"sku": 1}, "a1"):
            reply = await call(phone, body=body)
            self.assertEqual((reply["id"], reply["status"]), (7, 400), body)


if __name__ == "__main__":
    unittest.main()
