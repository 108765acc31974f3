"""The gateway as Python's `websockets` sees it: a second client that shares no code with longwire or its Rust tests.

Run by `scripts/test`; by hand: LONGWIRE_BIN=target/debug/longwire python3 -m unittest discover -s tests/python"""

import asyncio
import json
import unittest

import websockets

from gateway import PATIENCE_S, Gateway, token


def patiently(awaitable):
    return asyncio.wait_for(awaitable, PATIENCE_S)


async def call(client, message):
    await client.send(json.dumps(message))
    return json.loads(await patiently(client.recv()))


async def closed(client):
    """Code and reason of the close that must come next."""
    try:
        message = await patiently(client.recv())
    except websockets.exceptions.ConnectionClosed as closed:
        return closed.rcvd.code, closed.rcvd.reason
    raise AssertionError(f"a close was due, not {message!r}")


class WithGateway(unittest.IsolatedAsyncioTestCase):
    more = ""

    @classmethod
    def setUpClass(cls):
        cls.gateway = Gateway(cls.more)
        cls.addClassCleanup(cls.gateway.close)

    async def open(self, **options):
        options.setdefault("max_size", None)
        client = await patiently(websockets.connect(self.gateway.ws, open_timeout=PATIENCE_S, **options))
        self.addAsyncCleanup(client.close)
        return client

    async def login(self, user, **body):
        client = await self.open()
        reply = await call(client, {"path": "connect", "id": 1, "token": token(user), "body": body})
        self.assertEqual((reply["status"], reply["body"]["user"]), (200, user))
        return client

    async def push(self, *arguments):
        return await asyncio.to_thread(self.gateway.push, *arguments)


class Messages(WithGateway):
    async def test_a_push_reaches_a_login(self):
        client = await self.login("anna")
        counts = await self.push({"user": "anna"}, "order/paid", {"order": 1, "text": "κόσμε 😀"})
        self.assertEqual(counts, {"matched": 1, "queued": 1, "dropped": 0, "nodes": {"asked": 1, "answered": 1}})
        push = json.loads(await patiently(client.recv()))
        self.assertEqual(push, {"path": "order/paid", "body": {"order": 1, "text": "κόσμε 😀"}})

    async def test_the_subprotocol_is_agreed_and_compression_is_not(self):
        client = await self.open(subprotocols=["longwire.v1"], compression="deflate")
        self.assertEqual(client.subprotocol, "longwire.v1")
        reply = await call(client, {"path": "connect", "id": 1, "token": token("deflate")})
        self.assertEqual(reply["status"], 200)

    async def test_a_message_may_come_in_fragments(self):
        client = await self.login("fragments")
        text = json.dumps({"path": "ping", "id": "é€😀", "body": "x" * 1000}, ensure_ascii=False)
        for size in (1, 7, 100):
            await client.send([text[at : at + size] for at in range(0, len(text), size)])
            reply = json.loads(await patiently(client.recv()))
            self.assertEqual(reply, {"id": "é€😀", "path": "ping", "status": 200, "body": {}})

    async def test_pings_are_answered(self):
        client = await self.login("pings")
        for payload in (b"", b"hello", bytes(125)):
            await patiently(await client.ping(payload))

    async def test_a_thousand_messages_are_answered_in_order(self):
        client = await self.login("order")

        async def send():
            for number in range(1000):
                await client.send(json.dumps({"path": "ping", "id": number}))

        sending = asyncio.create_task(send())
        for number in range(1000):
            self.assertEqual(json.loads(await patiently(client.recv()))["id"], number)
        await sending

    async def test_a_thousand_pushes_arrive_in_order_everywhere(self):
        clients = [await self.login("crowd", topics=["room.1"]) for _ in range(10)]
        pushes = [{"to": {"topic": "room.1"}, "path": "p", "body": number} for number in range(1000)]
        status, answer = await asyncio.to_thread(self.gateway.request, "POST", "/v1/push/batch", {"pushes": pushes})
        self.assertEqual((status, {result["queued"] for result in answer["results"]}), (200, {10}))
        for client in clients:
            for number in range(1000):
                push = json.loads(await patiently(client.recv()))
                self.assertEqual(push, {"path": "p", "topic": "room.1", "body": number})

    async def test_big_messages_pass_both_ways(self):
        client = await self.login("big")
        reply = await call(client, {"path": "ping", "id": 1, "body": "x" * 65_000})
        self.assertEqual(reply["status"], 200)
        for size in (125, 126, 65_535, 65_536, 200_000):
            counts = await self.push({"user": "big"}, "p", "y" * size)
            self.assertEqual(counts["queued"], 1)
            self.assertEqual(json.loads(await patiently(client.recv()))["body"], "y" * size)

    async def test_a_hundred_clients_at_once(self):
        clients = await asyncio.gather(*(self.login(f"many{number}") for number in range(100)))
        users = [f"many{number}" for number in range(100)]
        self.assertEqual((await self.push({"users": users}, "p", 1))["queued"], 100)
        for push in await asyncio.gather(*(patiently(client.recv()) for client in clients)):
            self.assertEqual(json.loads(push), {"path": "p", "body": 1})


class Closes(WithGateway):
    async def test_a_clients_own_close_is_clean(self):
        client = await self.login("leaves")
        await patiently(client.close(code=1000, reason="enough"))
        self.assertEqual(client.close_code, 1000)
        client = await self.login("leaves")
        await patiently(client.close(code=4321))
        self.assertEqual(client.close_code, 4321)

    async def test_a_binary_message_closes_1003(self):
        client = await self.login("binary")
        await client.send(b"binary")
        self.assertEqual((await closed(client))[0], 1003)

    async def test_a_message_that_is_too_big_closes_1009(self):
        client = await self.login("too big")
        await client.send("x" * 65_537)
        self.assertEqual((await closed(client))[0], 1009)

    async def test_ten_malformed_messages_close_1008(self):
        client = await self.login("malformed")
        for _ in range(9):
            await client.send("nonsense")
            self.assertEqual(json.loads(await patiently(client.recv()))["error"]["code"], "bad_message")
        await client.send("nonsense")
        await patiently(client.recv())
        self.assertEqual((await closed(client))[0], 1008)

    async def test_three_refused_tokens_close_4401(self):
        client = await self.open()
        for _ in range(3):
            reply = await call(client, {"path": "connect", "id": 1, "token": "x"})
            self.assertEqual((reply["status"], reply["error"]["code"]), (401, "token_invalid"))
        self.assertEqual((await closed(client))[0], 4401)

    async def test_a_kick_closes_4403(self):
        client = await self.login("kicked")
        answer = await asyncio.to_thread(self.gateway.request, "DELETE", "/v1/users/kicked")
        self.assertEqual(answer, (200, {"closed": 1}))
        self.assertEqual((await closed(client))[0], 4403)

    async def test_a_foreign_path_is_404_before_the_upgrade(self):
        with self.assertRaises(websockets.exceptions.InvalidHandshake):
            await patiently(websockets.connect(self.gateway.ws + "/other"))


class Timeouts(WithGateway):
    more = '[timeouts]\nconnect = "500ms"\nping = "200ms"\npong = "300ms"\ndrain = "500ms"'

    async def test_who_does_not_log_in_is_closed_4408(self):
        self.assertEqual((await closed(await self.open()))[0], 4408)

    async def test_who_answers_pings_outlives_who_does_not(self):
        client = await self.login("answers")
        reader, writer = await asyncio.open_connection(*self.gateway.ws[5:].split("/")[0].split(":"))
        writer.write(
            b"GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
        )
        message = json.dumps({"path": "connect", "id": 1, "token": token("silent")}).encode()
        # A mask of zeros leaves the payload as it is.
        writer.write(bytes([0x81, 0x80 | 126]) + len(message).to_bytes(2, "big") + bytes(4) + message)
        everything = await patiently(reader.read())
        self.assertIn(b"\x03\xe9ping_timeout", everything)
        writer.close()
        self.assertEqual((await call(client, {"path": "ping", "id": 2}))["status"], 200)

    async def test_a_drain_closes_1012_with_a_time_to_come_back(self):
        with Gateway('[timeouts]\ndrain = "300ms"') as gateway:
            client = await patiently(websockets.connect(gateway.ws))
            await call(client, {"path": "connect", "id": 1, "token": token("drained")})
            gateway.process.terminate()
            code, reason = await closed(client)
            self.assertEqual(code, 1012)
            self.assertRegex(reason, r"^retry_ms=\d+$")
            self.assertEqual(await asyncio.to_thread(gateway.process.wait, PATIENCE_S), 0)


if __name__ == "__main__":
    unittest.main()
