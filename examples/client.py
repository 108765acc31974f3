"""A client that stays connected: logs in, prints pushes, renews its token, comes back after every loss that can heal.

    pip install websockets                          # 10.4 or newer; or: apt install python3-websockets
    python3 examples/client.py ws://127.0.0.1:9040/ws token.txt room.42

token.txt holds a JWT (`longwire token` mints one); it is read anew whenever a fresh one is needed, as your program would
ask your backend. Further arguments are topics. docs/clients.md says why it does what it does; `stay_connected` is yours
to copy. `websockets` sends pings by itself, and so notices a dead connection.
"""

import asyncio
import json
import pathlib
import random
import re
import sys
import time

import websockets
from websockets.exceptions import ConnectionClosed, InvalidHandshake

COME_BACK = {4401, 4408, 4410, 4413, 4429}  # of the close codes from 3000 on
PROVED_S = 10  # a connection that held this long sets the back-off to its beginning
TOLD_MAX_S = 1200  # the longest retry_ms that is believed
MESSAGE_BYTES_MAX = 1 << 20  # a push may have 256 KiB, if the operator chose no more


class Refused(Exception):
    """The gateway refused the login; `reply` is what it said."""

    def __init__(self, reply):
        super().__init__(reply["error"]["code"])
        self.reply = reply


async def session(socket, token, login, on_push, on_open):
    """One connection: logs in, hands on pushes, renews the token in time. Ends with ConnectionClosed or Refused."""
    renew_at = time.monotonic()
    opened = False
    while True:
        left_s = None if renew_at is None else max(0, renew_at - time.monotonic())
        try:
            text = await asyncio.wait_for(socket.recv(), left_s)
        except asyncio.TimeoutError:
            # The first login has a body; a renewal keeps topics and device as they are.
            message = {"path": "connect", "id": "login", "token": await token()}
            await socket.send(json.dumps(message if opened else {**message, "body": login}))
            renew_at = None
            continue
        message = json.loads(text)
        if "status" not in message:
            on_push(message)
        elif message.get("id") == "login":
            if message["status"] != 200:
                raise Refused(message)
            if message["body"]["expires_at"] is not None:
                left_s = message["body"]["expires_at"] - time.time()
                renew_at = time.monotonic() + max(left_s * 0.8, 1)
            if not opened:
                opened = True
                on_open(message["body"])


async def stay_connected(url, token, on_push, on_state=lambda state, detail: None, **login):
    """Returns when coming back makes no sense, with the reason. `token` is a coroutine that fetches a JWT; `login` may
    hold `device` and `topics`. A token is fetched for each connection, so a refused one was a fresh one."""
    failures = 0
    while True:
        began, reason = time.monotonic(), ""
        try:
            jwt = await token()  # before the socket: the gateway's clock runs from the accept
            fresh = [jwt]

            async def next_token():
                return fresh.pop() if fresh else await token()

            async with websockets.connect(url, subprotocols=["longwire.v1"], max_size=MESSAGE_BYTES_MAX) as socket:
                await session(socket, next_token, login, on_push, lambda body: on_state("open", body))
        except Refused as refused:
            status, reason = refused.reply["status"], str(refused)
            if status < 500 and status != 429:
                return {"status": status, "reason": reason}
        except ConnectionClosed as closed:
            code, reason = (closed.rcvd.code, closed.rcvd.reason) if closed.rcvd else (1006, "")
            if code == 1000 or (code >= 3000 and code not in COME_BACK):
                return {"code": code, "reason": reason}
        except (OSError, InvalidHandshake, asyncio.TimeoutError) as error:
            reason = str(error)  # out of reach, or refused before the upgrade
        if time.monotonic() - began > PROVED_S:
            failures = 0
        wait_s = random.uniform(0, min(30, 2**failures))
        told = re.fullmatch(r"retry_ms=(\d+)", reason)
        if told:  # a moment of this client's own; after a connection that proved nothing, the back-off holds too
            told_s = min(int(told[1]) / 1000, TOLD_MAX_S)
            wait_s = max(told_s, wait_s) if failures else told_s
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
