"""Publishes events to browsers by way of RabbitMQ, with kombu: each is confirmed before the next.

Reads lines such as {"key": "sales", "id": "sale-1", "event": {"type": "sale", "total": 20}}: key is
the group, or user:<sub>, connection:<id> or all:. With an id the event reaches browsers once,
however often it is published.

    AMQP_URL=amqp://guest:guest@localhost:5672// python publish_kombu.py < events.jsonl
"""

import json
import os
import sys

from kombu import Connection, Exchange

# Declared by the gateway: passive only asks whether it is there.
EXCHANGE = Exchange("groupcast", type="topic", passive=True)


def main() -> None:
    """Publish every line of the input, and tell how many were confirmed."""
    url = os.environ.get("AMQP_URL", "amqp://guest:guest@localhost:5672//")
    # publish() now waits for the broker's word; without it, it only fills a buffer.
    options = {"confirm_publish": True}
    count = 0
    with Connection(url, transport_options=options) as connection:
        producer = connection.Producer(exchange=EXCHANGE)
        for line in sys.stdin:
            message = json.loads(line)
            properties = {"message_id": message["id"]} if "id" in message else {}
            # No compression, and no serializer but JSON: browsers could not read it.
            producer.publish(
                message["event"],
                routing_key=message["key"],
                serializer="json",
                # Raises amqp.exceptions.ChannelError (NO_ROUTE) if no queue takes it.
                mandatory=True,
                retry=True,
                **properties,
            )
            count += 1
    print(json.dumps({"confirmed": count}))


if __name__ == "__main__":
    main()
