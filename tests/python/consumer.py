"""Receives as a Django consumer does: a channel of its own, groups, a loop.

The one argument is JSON, see DEFAULTS. The first line on stdout is `{"channel": name}`, once all
groups are joined; then each message is a line. It ends with its standard input.
"""

import asyncio
import json
import sys
import threading

from channels_redis.core import RedisChannelLayer
from channels_redis.pubsub import RedisPubSubChannelLayer

DEFAULTS = {
    "url": "",
    "layer": "core",  # or "pubsub"
    "config": {},  # more of CHANNEL_LAYERS["default"]["CONFIG"]
    "groups": ["usuario_7"],
    "name": "",  # of the channel, as a worker's; "" = one of its own, as a consumer's
    "members": 1,  # channels of the one process; each prints what it receives
}


async def consume(options):
    kind = {"core": RedisChannelLayer, "pubsub": RedisPubSubChannelLayer}[options["layer"]]
    # redis-py 8 gives up reading after 5 s by default, which is as long as the library blocks.
    host = {"address": options["url"], "socket_timeout": None}
    layer = kind(hosts=[host], **options["config"])
    channels = [options["name"] or await layer.new_channel() for _ in range(options["members"])]
    for channel in channels:
        for group in options["groups"]:
            await layer.group_add(group, channel)
    emit({"channel": channels[0]})
    await asyncio.gather(*(receive(layer, channel) for channel in channels))


async def receive(layer, channel):
    while True:
        emit(await layer.receive(channel))


def emit(line):
    print(json.dumps(line), flush=True)


def main():
    options = DEFAULTS | json.loads(sys.argv[1])
    loop = threading.Thread(target=lambda: asyncio.run(consume(options)), daemon=True)
    loop.start()
    sys.stdin.read()


if __name__ == "__main__":
    main()
