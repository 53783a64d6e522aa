"""Publishes events to browsers by way of RabbitMQ, with pika: each is confirmed before the next.

Reads lines such as {"key": "sales", "id": "sale-1", "event": {"type": "sale", "total": 20}}: key is
the group, or user:<sub>, connection:<id> or all:. With an id the event reaches browsers once,
however often it is published.

    AMQP_URL=amqp://guest:guest@localhost:5672/ python publish_pika.py < events.jsonl
"""

import json
import os
import sys

import pika


def main() -> None:
    """Publish every line of the input, and tell how many were confirmed."""
    url = os.environ.get("AMQP_URL", "amqp://guest:guest@localhost:5672/")
    connection = pika.BlockingConnection(pika.URLParameters(url))
    channel = connection.channel()
    # basic_publish now waits for the broker's word. It raises UnroutableError if no queue takes a
    # mandatory message, NackError if the queue does not.
    channel.confirm_delivery()
    count = 0
    for line in sys.stdin:
        message = json.loads(line)
        channel.basic_publish(
            exchange="groupcast",
            routing_key=message["key"],
            body=json.dumps(message["event"]).encode(),
            properties=pika.BasicProperties(
                content_type="application/json",
                delivery_mode=pika.DeliveryMode.Persistent,
                message_id=message.get("id"),
            ),
            mandatory=True,
        )
        count += 1
    connection.close()
    print(json.dumps({"confirmed": count}))


if __name__ == "__main__":
    main()
