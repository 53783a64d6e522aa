"""The helper's settings: settings.GROUPCAST, then the environment, then groupcast.env."""

from __future__ import annotations

import os
from functools import lru_cache
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

DEFAULTS: dict[str, Any] = {
    "API": "http://127.0.0.1:8081",  # the gateway's listen.api
    "KEY": "",  # the secret of an API key of the gateway
    "SECRET": "",  # the secret of its signing key with the id "1"
    "KEYS": {},  # further signing secrets by key id, for a change of keys
    "TIMEOUT": 5.0,  # seconds that one send may take, retries included
    "ENV_FILE": "",  # of the secrets; by default groupcast.env in BASE_DIR
    "PATH": "/ws/",  # the WebSocket that progress bars open
    "CLIENT": "/client/v1/",  # where browsers load the gateway's client from
    "TASKS": "task.",  # prefix of the group of a Celery task
}
# Where a secret is that settings.GROUPCAST does not have, in the environment or in groupcast.env.
VARIABLES = {"KEY": "GROUPCAST_API_SECRET", "SECRET": "GROUPCAST_BACKEND_SECRET"}
MIN_SECRET = 32  # bytes of the shortest signing secret: as many as SHA-256 gives


def given_settings() -> dict[str, Any]:
    """settings.GROUPCAST; empty if there is none. Raises ImproperlyConfigured."""
    given = getattr(settings, "GROUPCAST", {})
    if not isinstance(given, dict):
        raise ImproperlyConfigured(f"settings.GROUPCAST is {given!r:.80}; it must be a dict")
    if unknown := sorted(set(given) - set(DEFAULTS), key=str):
        known = ", ".join(DEFAULTS)
        raise ImproperlyConfigured(f"settings.GROUPCAST has {unknown[0]!r}; it can have {known}")
    return given


def env_file() -> Path:
    """Where groupcast.env is expected."""
    folder = getattr(settings, "BASE_DIR", ".")
    return Path(given_settings().get("ENV_FILE") or Path(folder) / "groupcast.env")


@lru_cache(maxsize=8)
def read_env_file(path: Path, changed: int) -> dict[str, str]:
    """The variables of a file with lines NAME=value. `changed` is its time, for the cache."""
    variables = {}
    for line in path.read_text("utf-8").splitlines():
        name, equals, value = line.strip().partition("=")
        if equals and not name.startswith("#"):
            variables[name.replace("export ", "", 1).strip()] = value.strip().strip("'\"")
    return variables


def variable(name: str) -> str:
    """A variable of the environment or of groupcast.env; "" where neither has it.

    Raises ImproperlyConfigured for a groupcast.env that exists and cannot be read.
    """
    if name in os.environ:
        return os.environ[name]
    path = env_file()
    try:
        return read_env_file(path, path.stat().st_mtime_ns).get(name, "")
    except FileNotFoundError:
        return ""
    except (OSError, UnicodeDecodeError) as error:
        raise ImproperlyConfigured(f"{path} cannot be read: {error}") from error


def setting(name: str) -> Any:
    """One of DEFAULTS, as configured. Raises ImproperlyConfigured, also for an absent KEY."""
    value = given_settings().get(name, DEFAULTS[name])
    if not value and name in VARIABLES:
        value = variable(VARIABLES[name])
    if name == "KEY" and not value:
        missing = f"settings.GROUPCAST has no KEY, and {VARIABLES['KEY']} is set neither in the "
        raise ImproperlyConfigured(f"{missing}environment nor in {env_file()}")
    return value


def signing_secrets() -> dict[str, bytes]:
    """The signing secrets by key id. Raises ImproperlyConfigured if there is none, or a short one.

    The first signs; each is accepted.
    """
    named = {"1": setting("SECRET"), **setting("KEYS")}
    found = {kid: str(secret).encode() for kid, secret in named.items() if secret}
    if not found:
        missing = f"settings.GROUPCAST has no SECRET, and {VARIABLES['SECRET']} is set neither in "
        raise ImproperlyConfigured(f"{missing}the environment nor in {env_file()}")
    for kid, secret in found.items():
        if len(secret) < MIN_SECRET:
            short = f"the secret of key {kid!r} has {len(secret)} bytes; {MIN_SECRET} are needed"
            raise ImproperlyConfigured(f"settings.GROUPCAST: {short}")
    return found
