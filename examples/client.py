"""A client that stays connected: logs in, prints pushes, renews its token, comes back after every loss that can heal.

    pip install websockets                          # 10.4 or newer; or: apt install python3-websockets
    python3 examples/client.py ws://127.0.0.1:9040/ws token.txt room.42

token.txt holds a JWT (`longwire token` mints one); it is read anew whenever a fresh one is needed, as your program would
ask your backend. Further arguments are topics. docs/clients.md says why it does what it does, and which of its rules are
left out here; `stay_connected` is yours to copy. `websockets` sends pings by itself, and so notices a dead connection.
"""

import asyncio
import base64
import json
import pathlib
import random
import re
import sys
import time

import websockets
from websockets.exceptions import ConnectionClosed, InvalidHandshake

COME_BACK = {4401, 4408, 4410, 4413, 4429}  # of the close codes from 3000 on
PROVED_S = 10  # a connection that was logged in this long sets the back-off to its beginning
TOLD_MAX_S = 1200  # the longest retry_ms that is believed
REPLY_S = 15
TOKEN_S = 30
PAUSE_S = 1  # after a rate limit while topics are subscribed
MESSAGE_BYTES_MAX = 1 << 20  # a push may have 256 KiB, if the operator chose no more


class Refused(Exception):
    """The gateway refused the login; `reply` is what it said."""

    def __init__(self, reply):
        super().__init__(reply["error"]["code"])
        self.reply = reply


class NoToken(Exception):
    """The backend is out of reach: later. `token` may raise what it likes."""


async def fetch(token):
    try:
        return await asyncio.wait_for(token(), TOKEN_S)
    except Exception as error:
        raise NoToken(f"no token: {error or type(error).__name__}") from error


def life_s(jwt):
    """How long the token holds as a whole, in seconds, if it says so itself."""
    try:
        payload = jwt.split(".")[1]
        claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
        return claims["exp"] - claims["iat"]
    except (IndexError, KeyError, TypeError, ValueError):
        return None


class Connection:
    """One connection: logs in, hands on pushes, renews the token in time. Ends with ConnectionClosed, Refused, or a
    TimeoutError if the gateway does not answer."""

    def __init__(self, socket, on_push):
        self.socket = socket
        self.on_push = on_push
        self.last_id = 0
        self.ends_at = self.renew_at = None  # on the monotonic clock

    async def ask(self, message):
        """The reply; pushes that come before it are handed on."""
        self.last_id += 1
        await self.socket.send(json.dumps({**message, "id": self.last_id}))
        return await asyncio.wait_for(self.reply(self.last_id), REPLY_S)

    async def reply(self, wanted_id):
        while True:
            message = json.loads(await self.socket.recv())
            if "status" not in message:
                self.on_push(message)
            elif message.get("id") == wanted_id:
                return message

    async def log_in(self, jwt, login):
        """What the gateway says of the login; `refused` in it are topics that it keeps from this client."""
        taken_at = time.monotonic()
        message = {"path": "connect", "token": jwt, "body": login}
        reply = await self.ask(message)
        topics = login.get("topics")
        refused = []
        if reply["status"] in (400, 403) and topics:  # one forbidden topic must not keep the others away
            reply = await self.ask({**message, "body": {**login, "topics": []}})
            if reply["status"] == 200:
                refused = await self.subscribe(topics)
        if reply["status"] != 200:
            raise Refused(reply)
        self.plan(jwt, taken_at, reply["body"]["expires_at"])
        return {**reply["body"], "refused": refused}

    async def subscribe(self, topics):
        """Subscribes what is allowed, in halves of what is refused; gives those that are refused alone."""
        refused = []
        groups = [list(topics)]
        while groups:
            group = groups.pop()
            reply = await self.ask({"path": "subscribe", "body": {"topics": group}})
            if reply["status"] == 429:
                groups.append(group)
                await asyncio.sleep(PAUSE_S)
            elif reply["status"] >= 500:
                raise Refused(reply)
            elif reply["status"] != 200 and len(group) > 1:
                half = len(group) // 2
                groups += [group[half:], group[:half]]
            elif reply["status"] != 200:
                refused += group
        return refused

    def plan(self, jwt, taken_at, expires_at):
        """Renews when four fifths of what is left are over. By a clock that is wrong a token that was just taken is over,
        or has more left than it ever had: its life then counts from when it came."""
        self.ends_at = self.renew_at = None
        if expires_at is None:
            return
        now, whole_s = time.monotonic(), life_s(jwt)
        left_s = expires_at - time.time()
        if whole_s is not None and not 0 < left_s <= whole_s:
            left_s = whole_s - (now - taken_at)
        self.ends_at = now + left_s
        self.renew_at = now + max(left_s * 0.8, 1)

    async def renew(self, token):
        """Without a fresh token, and with one that is refused, the connection is still good for a while."""
        try:
            jwt = await fetch(token)
        except NoToken:
            jwt = None
        if jwt:
            taken_at = time.monotonic()
            reply = await self.ask({"path": "connect", "token": jwt})  # topics and device stay as they are
            if reply["status"] == 200:
                return self.plan(jwt, taken_at, reply["body"]["expires_at"])
            if reply["status"] == 403:  # another user's
                raise Refused(reply)
        now = time.monotonic()
        self.renew_at = now + max(5, (self.ends_at - now) / 2)

    async def run(self, token):
        while True:
            left_s = None if self.renew_at is None else max(0, self.renew_at - time.monotonic())
            try:
                message = json.loads(await asyncio.wait_for(self.socket.recv(), left_s))
            except asyncio.TimeoutError:
                await self.renew(token)
                continue
            if "status" not in message:
                self.on_push(message)


def retry_after_s(error):
    """What a gateway or proxy that refuses the upgrade (429, 503) asks for, in seconds; 0 if nothing."""
    headers = getattr(getattr(error, "response", error), "headers", {})  # websockets before 14 has them at the error
    told = headers.get("Retry-After", "")
    return min(int(told), TOLD_MAX_S) if re.fullmatch("[0-9]{1,9}", told) else 0


async def stay_connected(url, token, on_push, on_state=lambda state, detail: None, **login):
    """Returns when coming back makes no sense, with the reason. `token` is a coroutine that fetches a JWT: None means that
    nobody is logged in, and whatever it raises means "later". `login` may hold `device` and `topics`. A token is fetched
    for each connection, so a refused one was a fresh one."""
    failures = 0
    while True:
        opened_at, reason, at_least_s = None, "", 0
        try:
            jwt = await fetch(token)  # before the socket: the gateway's clock runs from the accept
            if not jwt:
                return {"reason": "no_token"}
            async with websockets.connect(url, subprotocols=["longwire.v1"], max_size=MESSAGE_BYTES_MAX) as socket:
                connection = Connection(socket, on_push)
                session = await connection.log_in(jwt, login)
                opened_at = time.monotonic()
                on_state("open", session)
                await connection.run(token)
        except Refused as refused:
            status, reason = refused.reply["status"], str(refused)
            if status < 500 and status != 429:
                return {"status": status, "reason": reason}
        except ConnectionClosed as closed:
            code, reason = (closed.rcvd.code, closed.rcvd.reason) if closed.rcvd else (1006, "")
            if code == 1000 or (code >= 3000 and code not in COME_BACK):
                return {"code": code, "reason": reason}
        except (NoToken, OSError, InvalidHandshake, asyncio.TimeoutError) as error:
            reason = str(error)  # out of reach, refused before the upgrade, or silent
            at_least_s = retry_after_s(error)
        # Time that a hung gateway takes to say nothing proves nothing.
        if opened_at is not None and time.monotonic() - opened_at >= PROVED_S:
            failures = 0
        own_s = random.uniform(0, min(30, 2 ** min(failures, 5)))
        wait_s = at_least_s + own_s
        told = re.fullmatch(r"retry_ms=([0-9]+)", reason)
        if told:  # a moment of this client's own; after a connection that proved nothing, the back-off holds too
            told_s = int(told[1][:12]) / 1000
            if told_s > TOLD_MAX_S:
                told_s = random.uniform(0, TOLD_MAX_S)
            wait_s = max(told_s, own_s) if failures else told_s
        failures += 1
        on_state("waiting", {"reason": reason, "wait_s": round(wait_s, 3)})
        await asyncio.sleep(wait_s)


async def main(url, token_file, *topics):
    async def token():
        return pathlib.Path(token_file).read_text().strip()

    def show(what, detail):
        print(what, json.dumps(detail), flush=True)

    end = await stay_connected(url, token, lambda push: show("push", push), show, topics=list(topics))
    show("closed", end)


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    try:
        asyncio.run(main(*sys.argv[1:]))
    except KeyboardInterrupt:
        pass
