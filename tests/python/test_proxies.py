"""nginx and HAProxy as they are shipped, before a cluster: 50 clients through each while nodes are drained and killed.
scripts/test-nginx does the same with 10,000.

A proxy that is not installed is skipped (`apt-get install nginx haproxy`)."""

import asyncio
import json
import re
import unittest

import websockets

from gateway import PATIENCE_S, token
from proxies import HAPROXY, NATS_SERVER, NGINX, Client, Cluster, HAProxy, Nginx, get

CLIENTS = 50
# The window of the drain is long enough for newcomers to meet the node while it drains.
CONFIG = '[timeouts]\ndrain = "4s"'


class Crowd:
    """Clients that log in and come back when they are sent away or cut off, as the protocol asks."""

    def __init__(self, address: str):
        self.url = f"ws://{address}/ws"
        self.inside = {}  # user: node
        self.closes = []  # code of each connection that ended
        self.refused = []  # what kept a client from getting in
        self.tasks = []

    def enter(self, users):
        self.tasks += [asyncio.create_task(self._live(user)) for user in users]

    async def _live(self, user):
        while True:
            wait_ms = 100
            try:
                client = await websockets.connect(self.url, ping_interval=None, open_timeout=PATIENCE_S)
                try:
                    await client.send(json.dumps({"path": "connect", "id": 1, "token": token(user)}))
                    reply = json.loads(await client.recv())
                    self.inside[user] = reply["body"]["node"]
                    await client.wait_closed()
                finally:
                    self.inside.pop(user, None)
                    # Also when the test is over: no task may outlive it.
                    await client.close()
                self.closes.append(client.close_code)
                told = re.fullmatch(r"retry_ms=(\d+)", client.close_reason or "")
                wait_ms = int(told.group(1)) if told else wait_ms
            except (OSError, websockets.exceptions.WebSocketException, asyncio.TimeoutError) as error:
                self.refused.append(repr(error))
            await asyncio.sleep(wait_ms / 1000)

    def on(self, node: str) -> int:
        return sum(1 for place in self.inside.values() if place == node)

    async def leave(self):
        pending = set(self.tasks)
        while pending:
            # More than once: Python 3.11's wait_for forgets a cancellation that comes as it ends.
            for task in pending:
                task.cancel()
            _, pending = await asyncio.wait(pending, timeout=1)


async def until(what, condition):
    async def wait():
        while not await asyncio.to_thread(condition):
            await asyncio.sleep(0.05)

    try:
        await asyncio.wait_for(wait(), PATIENCE_S)
    except asyncio.TimeoutError:
        raise AssertionError(f"not within {PATIENCE_S} s: {what}") from None


class Common:
    """What holds of every proxy; `proxy_class` says which."""

    proxy_class = None
    # The node that was restarted, being the emptiest, gets newcomers at once.
    trusts_who_came_back = False

    def setUp(self):
        self.cluster = Cluster(CONFIG)
        self.addCleanup(self.cluster.close)
        self.proxy = self.proxy_class(self.cluster).start()
        self.addCleanup(self.proxy.close)

    async def test_everybody_comes_back_after_a_drain_and_a_kill(self):
        crowd = Crowd(self.proxy.address)
        self.addAsyncCleanup(crowd.leave)
        crowd.enter(f"user{number}" for number in range(CLIENTS))
        await until("all are in", lambda: len(crowd.inside) == CLIENTS)
        n1, n2, n3 = self.cluster.nodes
        for node in self.cluster.nodes:
            self.assertIn(crowd.on(node.name), range(CLIENTS // 3 - 4, CLIENTS // 3 + 6), crowd.inside)

        # Who comes while a node drains is taken by another, at the first try, though that one has the fewest clients.
        before = crowd.on("n1")
        await asyncio.to_thread(n1.drain)
        crowd.enter(f"newcomer{number}" for number in range(10))
        everybody = CLIENTS + 10
        await until("n1 has ended", n1.ended)
        self.assertEqual(n1.ended(), [0])
        await until("all are in again", lambda: len(crowd.inside) == everybody)
        self.assertEqual(crowd.on("n1"), 0)
        self.assertEqual(crowd.closes, [1012] * before)
        self.assertEqual(crowd.refused, [])

        # The node is there again, and those of the next that is killed go there, too.
        await asyncio.to_thread(n1.restart)
        lost = crowd.on("n2")
        await asyncio.to_thread(n2.kill)
        await until("those of n2 are cut off", lambda: len(crowd.closes) == before + lost)
        await until("all are in again", lambda: len(crowd.inside) == everybody)
        self.assertEqual(crowd.on("n2"), 0)
        if self.trusts_who_came_back:
            # Those who came are still there: a proxy that waits for a request to end well would keep n1 out until they go.
            self.assertGreaterEqual(crowd.on("n1"), lost // 2, crowd.inside)
        self.assertEqual(crowd.closes[before:], [1006] * lost)
        self.assertEqual(crowd.refused, [])
        newcomers = 0

        def n1_has_one():
            nonlocal newcomers
            newcomers += 1
            with Client(self.proxy.address, f"late{newcomers}") as client:
                return client.reply["body"]["node"] == "n1"

        await until("the node that came back takes clients", n1_has_one)

        # With no node at all the client hears it, and when to come again.
        await crowd.leave()
        for node in (n1, n3):
            node.kill()

        def says_when_to_come_again():
            refused = Client(self.proxy.address, "nobody")
            return refused.status == 503 and "retry-after: 5\r\n" in refused.head.lower()

        await until("503 when nobody is there", says_when_to_come_again)

    def test_the_clients_address_is_seen_and_cannot_be_forged(self):
        forged = ["X-Forwarded-For: 203.0.113.9", "Cookie: " + "a" * 6000]
        for number in range(6):
            with Client(self.proxy.address, f"user{number}", headers=forged, source="127.0.0.5") as client:
                self.assertEqual(client.status, 101)
                self.assertEqual(self.cluster.remotes(f"user{number}"), ["127.0.0.5"])

    def test_only_the_websocket_is_proxied(self):
        for path in ("/", "/v1/cluster", "/metrics", "/readyz", "/ws/", "/ws/../v1/cluster"):
            self.assertEqual(get(f"http://{self.proxy.address}{path}")[0], 404, path)
        status, headers, _ = get(f"http://{self.proxy.address}/ws")
        self.assertEqual((status, headers["Sec-WebSocket-Version"]), (426, "13"))


@unittest.skipUnless(NGINX and NATS_SERVER, "nginx or nats-server is not installed: apt-get install nginx nats-server")
class WithNginx(Common, unittest.IsolatedAsyncioTestCase):
    proxy_class = Nginx
    trusts_who_came_back = True

    async def test_a_reload_costs_nobody_a_connection(self):
        crowd = Crowd(self.proxy.address)
        self.addAsyncCleanup(crowd.leave)
        crowd.enter(f"user{number}" for number in range(CLIENTS))
        await until("all are in", lambda: len(crowd.inside) == CLIENTS)
        await asyncio.to_thread(self.proxy.reload)
        crowd.enter(f"newcomer{number}" for number in range(CLIENTS))
        await until("the newcomers are in", lambda: len(crowd.inside) == 2 * CLIENTS)
        self.assertEqual((crowd.closes, crowd.refused), ([], []))
        self.assertIn(True, self.proxy.workers().values(), "the old workers still have their clients")


@unittest.skipUnless(HAPROXY and NATS_SERVER, "haproxy or nats-server is not installed: apt-get install haproxy nats-server")
class WithHAProxy(Common, unittest.IsolatedAsyncioTestCase):
    proxy_class = HAProxy


if __name__ == "__main__":
    unittest.main()
