"""The shop with Daphne beside the gateway: what `--with-daphne` runs, and what the shop had before."""

from tienda.settings import *  # noqa: F403
from tienda.settings import CHANNEL_LAYERS, INSTALLED_APPS, REDIS

INSTALLED_APPS = ["daphne", *INSTALLED_APPS, "channels"]
ASGI_APPLICATION = "antes.asgi.application"
ROOT_URLCONF = "antes.urls"

# redis-py 8 gives up a read after 5 s, which is as long as a consumer waits for its next message: an
# idle WebSocket would be closed (1011) every few seconds.
CHANNEL_LAYERS["default"]["CONFIG"]["hosts"] = [{"address": f"{REDIS}/0", "socket_timeout": None}]
