#!/usr/bin/env python3
"""What the shop had with Daphne against what it has now, as a diff of the files concerned.

    antes/diff.py [--check]

Writes docs/shop-before-after.diff; with --check it only says whether that is up to date. The consumers
are this folder's, the rest is the shop's own; what is between the two is stated below.
"""

import pathlib
import re
import subprocess
import sys
import tempfile

SHOP = pathlib.Path(__file__).resolve().parents[1]
DIFF = SHOP.parents[1] / "docs" / "shop-before-after.diff"
NOW = ("tienda/settings.py", "tienda/urls.py", "tienda/tiempo_real.py", "gateway.toml")

BEFORE_LAYERS = """\
# redis-py 8 gives up a read after 5 s, which is as long as a consumer waits for its next message: an
# idle WebSocket would be closed (1011) every few seconds.
CHANNEL_LAYERS = {
    "default": {
        "BACKEND": "channels_redis.core.RedisChannelLayer",
        "CONFIG": {
            "hosts": [{"address": f"{REDIS}/0", "socket_timeout": None}],
            "capacity": 1500,
            "expiry": 10,
        },
    },
}

"""


def replaced(text, *pairs):
    """Every part must be there, or the diff would not say what it is to say."""
    for old, new in pairs:
        if old not in text:
            raise SystemExit(f"the shop has no {old!r} any more")
        text = text.replace(old, new)
    return text


def settings_before(text):
    start, end = text.index("# As it was with Daphne"), text.index("CELERY_BROKER_URL")
    return replaced(
        text[:start] + BEFORE_LAYERS + text[end:],
        ('# No "daphne", no "channels": the push connections are Groupcast\'s.\n', ""),
        ("INSTALLED_APPS = [\n", 'INSTALLED_APPS = [\n    "daphne",\n    "channels",\n'),
        ("WSGI_APPLICATION =", 'ASGI_APPLICATION = "tienda.asgi.application"\nWSGI_APPLICATION ='),
    )


def urls_before(text):
    text = re.sub(r"\nfrom tienda import tiempo_real.*\n", "", text)
    return replaced(text, ('    path("groupcast/", include("groupcast")),\n', ""))


def trees(folder):
    """`a` before, `b` now."""
    for name in NOW:
        (folder / "b" / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / "b" / name).write_text((SHOP / name).read_text())
    before = folder / "a" / "tienda"
    before.mkdir(parents=True)
    for name in ("asgi.py", "routing.py", "consumers.py"):
        text = (SHOP / "antes" / name).read_text()
        (before / name).write_text(text.replace("antes.", "tienda.").replace("ws-antes/", "ws/"))
    (before / "settings.py").write_text(settings_before((SHOP / "tienda/settings.py").read_text()))
    (before / "urls.py").write_text(urls_before((SHOP / "tienda/urls.py").read_text()))


def diff():
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        trees(folder)
        command = "git diff --no-index --no-color --no-prefix --no-ext-diff a b".split()
        text = subprocess.run(command, cwd=folder, text=True, capture_output=True).stdout
    return "".join(line for line in text.splitlines(True) if not line.startswith("index "))


if __name__ == "__main__":
    made = diff()
    if "--check" not in sys.argv:
        DIFF.write_text(made)
    elif DIFF.read_text() != made:
        sys.exit(f"{DIFF} is not up to date: run {__file__}")
