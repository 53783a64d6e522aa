"""Publishes events to browsers by way of RabbitMQ, over the connections that Celery has anyway.

`tell` may be called in a task or a view of a site whose broker is RabbitMQ. It waits for the
broker's confirm. With an id the event reaches browsers once, also if the task is carried out twice.

As a program it reads lines such as {"key": "sales", "id": "sale-1", "event": {"type": "sale"}}:

    AMQP_URL=amqp://guest:guest@localhost:5672// python publish_celery.py < events.jsonl
"""

import json
import os
import sys

from celery import Celery

app = Celery("shop", broker=os.environ.get("AMQP_URL", "amqp://guest:guest@localhost:5672//"))
# Otherwise publish() only fills a buffer. Celery's own messages are confirmed by it, too.
app.conf.broker_transport_options = {"confirm_publish": True}


def tell(producer, key: str, event: dict, message_id: str | None = None) -> None:
    """Sends an event to a group, or to user:<sub>, connection:<id> or all:."""
    properties = {"message_id": message_id} if message_id else {}
    producer.publish(
        event,
        exchange="groupcast",
        routing_key=key,
        serializer="json",
        # CELERY_TASK_COMPRESSION is for tasks.
        compression=None,
        # Raises amqp.exceptions.ChannelError (NO_ROUTE) if no queue takes it.
        mandatory=True,
        retry=True,
        **properties,
    )


def main() -> None:
    """Publish every line of the input, and tell how many were confirmed."""
    count = 0
    with app.producer_or_acquire() as producer:
        for line in sys.stdin:
            message = json.loads(line)
            tell(producer, message["key"], message["event"], message.get("id"))
            count += 1
    print(json.dumps({"confirmed": count}))


if __name__ == "__main__":
    main()
