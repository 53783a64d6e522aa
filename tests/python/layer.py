"""Does with the channel layer what a view or a task does: each line on stdin is one call.

The one argument is JSON, see DEFAULTS. A line is a JSON array: the name of a method of the layer,
then its arguments. The answer is `{"returned": value}` or `{"raised": name of the exception}`.
"""

import json
import sys

from asgiref.sync import async_to_sync
from channels_redis.core import RedisChannelLayer
from channels_redis.pubsub import RedisPubSubChannelLayer

DEFAULTS = {
    "url": "",
    "layer": "core",  # or "pubsub"
    "config": {},  # more of CHANNEL_LAYERS["default"]["CONFIG"]
}


def main():
    options = DEFAULTS | json.loads(sys.argv[1])
    kind = {"core": RedisChannelLayer, "pubsub": RedisPubSubChannelLayer}[options["layer"]]
    layer = kind(hosts=[options["url"]], **options["config"])
    for line in sys.stdin:
        method, *arguments = json.loads(line)
        try:
            answer = {"returned": async_to_sync(getattr(layer, method))(*arguments)}
        except Exception as error:
            answer = {"raised": type(error).__name__}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
