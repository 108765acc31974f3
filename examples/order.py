"""A backend service: answers `order/create` of longwire's clients over NATS, and tells the user a moment later that the
order is paid. Run as many as you like: each call goes to one of them.

    pip install nats-py
    python3 examples/order.py nats://127.0.0.1:4222

Arguments: the NATS server (else NATS_URL, else this host's) and longwire's nats.prefix (else NATS_PREFIX, else
longwire). What a client sends, {"path":"order/create","id":1,"body":{"sku":"a1"}}, comes here as a NATS request.
"""

import asyncio
import itertools
import json
import os
import sys

import nats

PAYMENT_S = 1  # how long the customer takes to pay


def setting(argument, variable, default):
    return sys.argv[argument] if len(sys.argv) > argument else os.environ.get(variable, default)


async def main():
    url = setting(1, "NATS_URL", "nats://127.0.0.1:4222")
    prefix = setting(2, "NATS_PREFIX", "longwire")
    # For as long as it takes: the default gives up after a while.
    client = await nats.connect(url, max_reconnect_attempts=-1)
    orders = itertools.count(1)  # a shop has the numbers from its database; here each instance counts for itself
    payments = set()  # tasks under way, which asyncio itself does not hold on to

    async def answer(call, status, body):
        if call.reply:  # a client that sent no id waits for no answer
            headers = {"Longwire-Status": str(status)}
            await client.publish(call.reply, json.dumps(body).encode(), headers=headers)

    async def pay(user, order):
        await asyncio.sleep(PAYMENT_S)
        message = {"path": "order/paid", "body": {"order": order}}
        # To all of the user's connections, on whichever node they are.
        await client.publish(f"{prefix}.push.user.{user}", json.dumps(message).encode())

    async def create(call):
        user = call.headers["Longwire-User"]  # percent-encoded: as it stands, it fits into a subject
        body = json.loads(call.data)
        sku = body.get("sku") if isinstance(body, dict) else None
        if not isinstance(sku, str) or not sku:
            print(f"{user} orders nothing", flush=True)
            return await answer(call, 400, {"error": "an order needs a sku"})
        order = next(orders)
        print(f"{user} orders {sku}: order {order}", flush=True)
        await answer(call, 200, {"order": order, "sku": sku})
        payment = asyncio.create_task(pay(user, order))
        payments.add(payment)
        payment.add_done_callback(payments.discard)

    # All who subscribe with the queue group "order" share the calls.
    subject = f"{prefix}.call.order.create"
    await client.subscribe(subject, queue="order", cb=create)
    await client.flush()
    print(f"answering {subject} on {url}", flush=True)
    await asyncio.Event().wait()


try:
    asyncio.run(main())
except KeyboardInterrupt:
    pass
