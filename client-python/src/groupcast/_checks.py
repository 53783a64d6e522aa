"""What `manage.py check` says about Groupcast: what is missing, and what to do."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from fnmatch import fnmatchcase
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.core import checks
from django.core.exceptions import ImproperlyConfigured
from django.urls import URLPattern, URLResolver, get_resolver

from groupcast._configuration import (
    VARIABLES,
    env_file,
    given_settings,
    setting,
    signing_secrets,
)
from groupcast._views import call_view, connect_view
from groupcast.celery import is_installed

# A mailbox of the gateway; `[channels] prefix` may change the first word.
MAILBOX = "groupcast.groupcast.c0"
DEFAULT_CAPACITY = 100  # messages that channels_redis keeps by default; others it drops
RECEIVED = ("RedisChannelLayer", "RedisPubSubChannelLayer")  # classes that the gateway understands
# What the helper's views use of a request.
MIDDLEWARE = (
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
)


def check_settings(app_configs: Any, **_: Any) -> list[checks.CheckMessage]:
    """E001 unknown settings, E002 address, E003 short secret, W001 no KEY, W002 no SECRET."""
    try:
        given_settings()
    except ImproperlyConfigured as error:
        return [checks.Error(str(error), id="groupcast.E001")]
    return [*check_address(), *check_secrets()]


def check_address() -> Iterator[checks.CheckMessage]:
    """Whether API is the address of something."""
    address = str(setting("API"))
    parts = urlsplit(address)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        yield checks.Error(
            f"settings.GROUPCAST['API'] is {address!r}, which is no URL.",
            hint="It is the gateway's listen.api, such as http://127.0.0.1:8081.",
            id="groupcast.E002",
        )


def check_secrets() -> Iterator[checks.CheckMessage]:
    """Whether both secrets are there, and long enough."""
    for name, number in (("KEY", "W001"), ("SECRET", "W002")):
        try:
            is_given = bool(setting(name) or (name == "SECRET" and setting("KEYS")))
            problem = f"Groupcast has no {name}."
        except ImproperlyConfigured as error:
            is_given, problem = False, f"Groupcast has no {name}: {error}."
        if not is_given:
            yield checks.Warning(
                problem,
                hint=f"Set the variable {VARIABLES[name]}, or put the groupcast.env that "
                f"`groupcast init django` wrote where it is looked for: {env_file()}.",
                id=f"groupcast.{number}",
            )
        elif name == "SECRET":
            try:
                signing_secrets()
            except ImproperlyConfigured as error:
                yield checks.Error(str(error), id="groupcast.E003")


def check_site(app_configs: Any, **_: Any) -> Iterator[checks.CheckMessage]:
    """W003 the helper's URLs, W004 sessions and login."""
    if getattr(settings, "ROOT_URLCONF", None) and not {connect_view, call_view} <= set(
        views(get_resolver().url_patterns)
    ):
        yield checks.Warning(
            "The gateway cannot ask this site who connects: no URL leads to Groupcast's views.",
            hint='Add path("groupcast/", include("groupcast")) to the URLs of the site.',
            id="groupcast.W003",
        )
    installed = list(getattr(settings, "MIDDLEWARE", ()))
    if missing := [path for path in MIDDLEWARE if path.rsplit(".", 1)[1] not in ends(installed)]:
        yield checks.Warning(
            f"The connect hook knows nobody: MIDDLEWARE has no {missing[0]}.",
            hint="Sessions and login of Django tell the gateway who connects.",
            id="groupcast.W004",
        )


def views(patterns: Any) -> Iterator[Any]:
    """All views of URL patterns."""
    for each in patterns:
        if isinstance(each, URLResolver):
            yield from views(each.url_patterns)
        elif isinstance(each, URLPattern):
            yield each.callback


def ends(paths: list[str]) -> set[str]:
    """The last words of dotted paths: a site may have a subclass, or a module of its own."""
    return {path.rsplit(".", 1)[-1] for path in paths}


def check_channel_layers(app_configs: Any, **_: Any) -> Iterator[checks.CheckMessage]:
    """W005 a layer in memory, W006 another that is not received, W007 its capacity forgotten."""
    for alias, layer in getattr(settings, "CHANNEL_LAYERS", {}).items():
        backend = str(layer.get("BACKEND", ""))
        name = backend.rsplit(".", 1)[-1]
        where = f"CHANNEL_LAYERS[{alias!r}]"
        if name == "InMemoryChannelLayer":
            yield checks.Warning(
                f"{where} is in memory, so what group_send sends does not reach the gateway.",
                hint="Use channels_redis, or groupcast.send in place of group_send.",
                id="groupcast.W005",
            )
        elif name not in RECEIVED:
            yield checks.Warning(
                f"{where} is {backend}, which the gateway does not receive.",
                hint="It receives channels_redis.core and channels_redis.pubsub.",
                id="groupcast.W006",
            )
        elif name == "RedisChannelLayer" and not has_capacity(layer.get("CONFIG", {})):
            yield checks.Warning(
                f"{where} has no channel_capacity for the gateway: when more than "
                f"{DEFAULT_CAPACITY} messages wait, Channels drops group_send's without a word.",
                hint='Add to its CONFIG: "channel_capacity": {"groupcast.*": 10000}.',
                id="groupcast.W007",
            )


def has_capacity(config: Any) -> bool:
    """Whether a layer's configuration gives the gateway's mailboxes more than the default."""
    patterns = config.get("channel_capacity", {})
    for pattern, capacity in dict(patterns).items():
        matches = pattern.match if hasattr(pattern, "match") else None
        if matches(MAILBOX) if matches else fnmatchcase(MAILBOX, str(pattern)):
            return bool(capacity > DEFAULT_CAPACITY)
    return bool(config.get("capacity", DEFAULT_CAPACITY) > DEFAULT_CAPACITY)


def check_celery(app_configs: Any, **_: Any) -> Iterator[checks.CheckMessage]:
    """W008 a result back end whose progress nobody else can follow."""
    # A site that has Celery has imported it with its own package by now.
    celery = sys.modules.get("celery")
    app = getattr(getattr(celery, "_state", None), "default_app", None)
    backend = str(app.conf.result_backend or "") if app is not None else ""
    scheme = backend.partition(":")[0]
    if not backend or scheme == "disabled" or scheme.startswith(("redis", "sentinel")):
        return
    if not is_installed(app):
        yield checks.Warning(
            f"Celery's result back end is {scheme}, so Groupcast can show no progress of tasks.",
            hint="Use a Redis result back end. Or, with Redis or RabbitMQ as the broker, give the "
            "gateway its address as events of [celery], write groupcast.celery.install(app) into "
            "the site's celery.py and start workers with -E.",
            id="groupcast.W008",
        )


CHECKS = (check_settings, check_site, check_channel_layers, check_celery)
