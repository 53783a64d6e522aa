"""Run by `groupcast init django` in the folder of manage.py, with the project's own Python.

It prints what the gateway must know of the project: one line of JSON after a mark, since settings
may print, too. It changes nothing, and connects to nothing.
"""

import importlib
import importlib.util
import json
import os
import re
import sys
from urllib.parse import urlsplit

MARK = "groupcast init: "
CAPACITY = 100  # channels_redis' default
MAILBOX = "groupcast.groupcast.c0"


def found():
    """What there is, or the reason why it cannot be told."""
    sys.path.insert(0, os.getcwd())
    try:
        import django
        from django.conf import settings

        debug = settings.DEBUG
    except Exception as error:
        return {"problem": f"{type(error).__name__}: {error}"}
    spec = importlib.util.find_spec("groupcast")
    hosts = [host for host in settings.ALLOWED_HOSTS if "*" not in host and host[:1] != "."]
    forwarded = getattr(settings, "SECURE_PROXY_SSL_HEADER", None)
    result = {
        "django": django.get_version(),
        "is_package": bool(spec and spec.submodule_search_locations),
        "host": hosts[0] if hosts and not debug else "",
        "forwarded_proto": forwarded[1] if forwarded and "PROTO" in forwarded[0] else "",
        "layer": layer(settings),
        "celery": celery(),
    }
    try:
        result["routes"], result["patterns"] = routes(settings)
    except Exception as error:
        result["routing_problem"] = f"{type(error).__name__}: {error}"
    return result


def layer(settings):
    """The default channel layer, in the gateway's words."""
    configured = getattr(settings, "CHANNEL_LAYERS", {}).get("default")
    if not configured:
        return None
    backend, config = str(configured["BACKEND"]), configured.get("CONFIG", {})
    name = {"RedisChannelLayer": "core", "RedisPubSubChannelLayer": "pubsub"}
    keys = [
        key.decode() if isinstance(key, bytes) else key
        for key in config.get("symmetric_encryption_keys") or ()
    ]
    return {
        "backend": backend,
        "receive": name.get(backend.rsplit(".", 1)[-1]),
        "url": address((config.get("hosts") or ["redis://localhost:6379"])[0]),
        "hosts": len(config.get("hosts") or [1]),
        "prefix": config.get("prefix", "asgi"),
        "expiry": config.get("expiry", 60),
        "group_expiry": config.get("group_expiry", 86400),
        "serializer": config.get("serializer_format", "msgpack"),
        "random_prefix_length": config.get("random_prefix_length", 12),
        "capacity": capacity(config),
        "keys": keys,
    }


def address(host):
    """A host of channels_redis as a URL; None for what has none."""
    if isinstance(host, (tuple, list)):
        return f"redis://{host[0]}:{host[1]}"
    if isinstance(host, dict):
        if "address" in host:
            return address(host["address"])
        if "sentinels" in host:
            return None
        password = f":{host['password']}@" if host.get("password") else ""
        name, port = host.get("host", "localhost"), host.get("port", 6379)
        return f"redis://{password}{name}:{port}/{host.get('db', 0)}"
    return str(host)


def capacity(config):
    """Messages that Channels keeps for the gateway: of channel_capacity, else the layer's."""
    from fnmatch import fnmatchcase

    for pattern, size in dict(config.get("channel_capacity") or {}).items():
        if pattern.match(MAILBOX) if hasattr(pattern, "match") else fnmatchcase(MAILBOX, pattern):
            return size
    return config.get("capacity", CAPACITY)


def celery():
    """Broker and result back end; None where the project has no app."""
    module = sys.modules.get("celery")
    app = getattr(getattr(module, "_state", None), "default_app", None)
    if app is None:
        return None
    broker, results = app.conf.broker_url, str(app.conf.result_backend or "")
    if isinstance(broker, (list, tuple)):
        broker = next(iter(broker), "")
    broker = str(broker or "amqp://guest:guest@127.0.0.1:5672//").split(";")[0]
    options = app.conf.result_backend_transport_options or {}
    prefix = (app.conf.broker_transport_options or {}).get("global_keyprefix", "")
    database = urlsplit(broker).path.strip("/") or "0"
    return {
        "broker": broker,
        "event_channels": f"{prefix}/{database}.celeryev/*" if prefix else "",
        "results": results,
        "key_prefix": options.get("global_keyprefix", ""),
        "is_installed": getattr(app, "groupcast_progress", None) is not None,
    }


def routes(settings):
    """The paths of routing.py: those that the gateway can express, and other patterns."""
    application = getattr(settings, "ASGI_APPLICATION", None)
    if not application:
        return [], []
    import django

    django.setup()
    module, _, name = application.rpartition(".")
    try:
        application = getattr(importlib.import_module(module), name)
    except ModuleNotFoundError as error:
        if error.name in ("channels", "daphne"):  # gone already
            return [], []
        raise
    paths, patterns = {}, {}
    for written, path, consumer in walk(websocket_of(application)):
        shape = re.sub(r"\{\w+\}", "{}", path or "")
        if path is not None and is_plain(path):
            paths.setdefault(shape, (path, consumer))
        else:
            patterns.setdefault(written, consumer)
    # The first match counts in both, and the gateway refuses what an earlier path covers.
    return sorted(paths.values(), key=lambda path: path[0].count("{")), list(patterns.items())


def websocket_of(application):
    """What a ProtocolTypeRouter does with WebSockets."""
    return getattr(application, "application_mapping", {}).get("websocket")


def walk(application, written="", path="/"):
    """Each route below middleware and routers: as written, as a path, its consumer's name."""
    while application is not None and not hasattr(application, "routes"):
        below = getattr(application, "inner", None)
        application = below or getattr(application, "application", None)
    for route in getattr(application, "routes", ()):
        is_route = type(route.pattern).__name__ == "RoutePattern"
        text = str(route.pattern)
        piece = of_route(text) if is_route else of_expression(text)
        whole = None if path is None or piece is None else path + piece.lstrip("/")
        if hasattr(route.callback, "routes"):
            yield from walk(route.callback, written + text, whole)
        else:
            consumer = getattr(route.callback, "consumer_class", route.callback)
            yield written + text, whole, getattr(consumer, "__name__", "")


def of_route(text):
    """A pattern of path(); None where a parameter may span segments."""
    return None if "<path:" in text else re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", text)


def of_expression(text):
    """A pattern of re_path(), which has more than parameters; then `is_plain` finds that."""
    group = r"\(\?P<(\w+)>(?:[^()\[\]]|\[[^\]]*\])*\)"
    text = re.sub(group, r"{\1}", text.replace("/?$", "/"))
    return re.sub(r"\\([-._/])", r"\1", text).replace("^", "").rstrip("$")


def is_plain(path):
    """Whether the gateway can express it: a parameter is a whole segment."""
    segments = [part for part in path.split("/") if "{" in part]
    whole = all(re.fullmatch(r"\{\w+\}", part) for part in segments)
    return whole and "{sub}" not in path and not re.search(r"[][()*+?|\\<>$]|//", path)


if __name__ == "__main__":
    print("\n" + MARK + json.dumps(found()))
