"""examples/client.py as its reader runs it: on a real gateway that pushes, ends, starts again, kicks, and whose tokens run
out. What takes too long for that is asked of its parts."""

import asyncio
import importlib.util
import json
import os
import pathlib
import queue
import subprocess
import sys
import tempfile
import threading
import time
import unittest
from unittest import mock

import gateway as gateways
from gateway import PATIENCE_S, Gateway, token

CLIENT = pathlib.Path(__file__).parents[2] / "examples" / "client.py"


def load():
    spec = importlib.util.spec_from_file_location("longwire_client", CLIENT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Client:
    """A running examples/client.py; what it prints comes from `next`."""

    def __init__(self, test, url, jwt, *topics):
        directory = tempfile.TemporaryDirectory(prefix="longwire-python-")
        test.addCleanup(directory.cleanup)
        self.token_file = pathlib.Path(directory.name) / "token"
        self.set_token(jwt)
        self.process = subprocess.Popen(
            [sys.executable, str(CLIENT), url, str(self.token_file), *topics],
            stdout=subprocess.PIPE,
            text=True,
            env={"PATH": os.environ.get("PATH", "")},
        )
        test.addCleanup(self.end)
        self.lines = queue.Queue()
        self.reader = threading.Thread(target=self.read)
        self.reader.start()

    def read(self):
        for line in self.process.stdout:
            self.lines.put(line)
        self.lines.put("")

    def set_token(self, jwt):
        new = self.token_file.with_suffix(".new")
        new.write_text(jwt)
        new.replace(self.token_file)

    def next(self, what):
        """The detail of the next line that begins with `what`; lines before it are passed over."""
        while True:
            line = self.lines.get(timeout=PATIENCE_S)
            if not line:
                raise AssertionError(f"the client ended without {what!r}")
            kind, _, detail = line.partition(" ")
            if kind == what:
                return json.loads(detail)

    def end(self):
        self.process.kill()
        self.process.wait()
        self.reader.join()
        self.process.stdout.close()


class Clients(unittest.TestCase):
    def start(self, *arguments, config=None):
        with mock.patch.object(gateways, "CONFIG", config or gateways.CONFIG):
            gateway = Gateway(*arguments)
        self.addCleanup(gateway.close)
        return gateway

    def test_it_logs_in_and_prints_pushes_until_it_is_kicked(self):
        gateway = self.start()
        client = Client(self, gateway.ws, token("anna"), "room.1")
        self.assertEqual(client.next("open")["user"], "anna")
        self.assertEqual(gateway.push({"topic": "room.1"}, "news", "κόσμε")["queued"], 1)
        self.assertEqual(client.next("push"), {"path": "news", "topic": "room.1", "body": "κόσμε"})
        gateway.request("DELETE", "/v1/users/anna")
        self.assertEqual(client.next("closed"), {"code": 4403, "reason": "kicked"})
        self.assertEqual(client.process.wait(PATIENCE_S), 0)

    def test_it_comes_back_to_a_gateway_that_starts_again(self):
        first = self.start()
        client = Client(self, first.ws, token("bert"), "room.1")
        client.next("open")
        address = first.ws.removeprefix("ws://").removesuffix("/ws")
        first.close()
        client.next("waiting")
        second = self.start(config=gateways.CONFIG.replace('["127.0.0.1:0"]', f'["{address}"]'))
        client.next("open")
        self.assertEqual(second.push({"topic": "room.1"}, "news")["queued"], 1)
        client.next("push")

    def test_it_waits_as_a_gateway_that_drains_says(self):
        gateway = self.start('[timeouts]\ndrain = "1s"')
        client = Client(self, gateway.ws, token("carl"))
        client.next("open")
        gateway.request("POST", "/v1/drain")
        waiting = client.next("waiting")
        self.assertEqual(waiting["reason"], f"retry_ms={round(waiting['wait_s'] * 1000)}")

    def test_it_renews_its_token_on_the_connection(self):
        gateway = self.start()
        client = Client(self, gateway.ws, token("dora", exp=int(time.time()) + 5))
        connection = client.next("open")["connection"]
        end = int(time.time()) + 3600
        client.set_token(token("dora", exp=end))
        deadline = time.monotonic() + PATIENCE_S
        while True:
            connections = gateway.request("GET", "/v1/users/dora")[1]["connections"]
            self.assertEqual([one["connection"] for one in connections], [connection])
            if connections[0]["expires_at"] == end:
                break
            self.assertLess(time.monotonic(), deadline)
            time.sleep(0.05)

    def test_a_token_that_cannot_be_renewed_leaves_the_connection(self):
        module = load()

        async def token():
            raise RuntimeError("backend is down")

        async def nothing():
            return None

        for fetch in (token, nothing):
            connection = module.Connection(None, None)
            connection.ends_at = time.monotonic() + 100
            asyncio.run(connection.renew(fetch))
            self.assertAlmostEqual(connection.renew_at - time.monotonic(), 50, delta=5)

    def test_a_forbidden_topic_keeps_no_other_away(self):
        gateway = self.start("[limits]\nmessages_per_second = 5")
        topics = [f"t{n}" for n in range(20)]
        wanted = topics[:7] + ["secret"] + topics[7:]
        client = Client(self, gateway.ws, token("gina", topics=topics), *wanted)
        self.assertEqual(client.next("open")["refused"], ["secret"])
        self.assertEqual([gateway.push({"topic": topic}, "news")["queued"] for topic in topics], [1] * 20)

    def test_what_never_was_open_proves_nothing_however_long_it_took(self):
        module = load()
        module.PROVED_S = 0
        waits = []

        async def token():
            raise RuntimeError("backend is down")  # whatever it raises means "later"

        async def sleep(wait_s):
            waits.append(wait_s)
            if len(waits) == 7:
                raise EOFError

        with mock.patch.object(module.asyncio, "sleep", sleep), mock.patch.object(
            module.random, "uniform", lambda low, high: high
        ), self.assertRaises(EOFError):
            asyncio.run(module.stay_connected("ws://127.0.0.1:9/ws", token, print))
        self.assertEqual(waits, [1, 2, 4, 8, 16, 30, 30])

    def test_retry_after_is_heard_in_both_shapes_of_the_error(self):
        module = load()
        old = mock.Mock(spec=["headers"], headers={"Retry-After": "7"})
        new = mock.Mock(spec=["response"], response=mock.Mock(headers={"Retry-After": "7"}))
        self.assertEqual([module.retry_after_s(error) for error in (old, new, OSError())], [7, 7, 0])
        date = mock.Mock(spec=["headers"], headers={"Retry-After": "Wed, 21 Oct 2026 07:28:00 GMT"})
        self.assertEqual(module.retry_after_s(date), 0)

    def test_no_wrong_clock_hurries_or_delays_a_renewal(self):
        module = load()
        now = int(time.time())
        for skew_s in (-9_000, 0, 9_000):
            connection = module.Connection(None, None)
            jwt = token("hans", iat=now + skew_s, exp=now + skew_s + 1_000)
            connection.plan(jwt, time.monotonic(), now + skew_s + 1_000)
            self.assertAlmostEqual(connection.renew_at - time.monotonic(), 800, delta=5)

    def test_a_refused_token_ends_it(self):
        gateway = self.start()
        client = Client(self, gateway.ws, token("emma", exp=1))
        self.assertEqual(client.next("closed"), {"status": 401, "reason": "token_expired"})


if __name__ == "__main__":
    unittest.main()
