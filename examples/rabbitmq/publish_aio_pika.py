"""Publishes events to browsers by way of RabbitMQ, with aio-pika: 500 wait for their confirms.

Reads lines such as {"key": "sales", "id": "sale-1", "event": {"type": "sale", "total": 20}}: key is
the group, or user:<sub>, connection:<id> or all:. With an id the event reaches browsers once,
however often it is published.

    AMQP_URL=amqp://guest:guest@localhost:5672/ python publish_aio_pika.py < events.jsonl
"""

import asyncio
import json
import os
import sys

import aio_pika

IN_FLIGHT = 500


async def main() -> None:
    """Publish every line of the input, and tell how many were confirmed."""
    url = os.environ.get("AMQP_URL", "amqp://guest:guest@localhost:5672/")
    connection = await aio_pika.connect_robust(url)
    async with connection:
        # A mandatory message that no queue takes raises PublishError.
        channel = await connection.channel(publisher_confirms=True, on_return_raises=True)
        # Declared by the gateway. A robust channel would declare it anew after a reconnection.
        exchange = await channel.get_exchange("groupcast", ensure=False)
        waiting: set[asyncio.Task] = set()
        count = 0
        for line in sys.stdin:
            message = json.loads(line)
            publish = exchange.publish(
                aio_pika.Message(
                    json.dumps(message["event"]).encode(),
                    content_type="application/json",
                    delivery_mode=aio_pika.DeliveryMode.PERSISTENT,
                    message_id=message.get("id"),
                ),
                routing_key=message["key"],
                mandatory=True,
            )
            # Tasks start in the order in which they are made, so messages are sent in it.
            waiting.add(asyncio.create_task(publish))
            count += 1
            if len(waiting) >= IN_FLIGHT:
                waiting = await confirmed(waiting, asyncio.FIRST_COMPLETED)
        await confirmed(waiting, asyncio.ALL_COMPLETED)
    print(json.dumps({"confirmed": count}))


async def confirmed(waiting: set[asyncio.Task], when: str) -> set[asyncio.Task]:
    """Raises what the broker refused. Returns those that still wait."""
    if not waiting:
        return waiting
    done, rest = await asyncio.wait(waiting, return_when=when)
    for task in done:
        task.result()
    return rest


if __name__ == "__main__":
    asyncio.run(main())
