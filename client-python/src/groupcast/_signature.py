"""Signatures of the gateway's requests."""

from __future__ import annotations

import hmac
import time
from typing import Any

from django.http import HttpRequest
from django.utils.encoding import escape_uri_path

from groupcast._configuration import signing_secrets

SIGNATURE_WINDOW = 300  # seconds for which a signature is valid: clocks differ, requests wait


def sign(method: str, target: str, body: bytes = b"", ws_path: str = "", **given: Any) -> str:
    """The `Groupcast-Signature` of a request, for tests of your handlers.

    `target` is path and query as sent, `ws_path` the header `Groupcast-Path`. `kid` selects another
    key than the first, `at` another time than now, in seconds since 1970.
    """
    secrets = signing_secrets()
    kid, at = given.get("kid", next(iter(secrets))), given.get("at", int(time.time()))
    signed = "\n".join((str(at), method, target, ws_path, "")).encode() + body
    return f"t={at},kid={kid},v1={hmac.new(secrets[kid], signed, 'sha256').hexdigest()}"


def is_signed(request: HttpRequest) -> bool:
    """Whether the gateway signed this request, within the window."""
    given = request.headers.get("Groupcast-Signature", "")
    parts = {name: value for name, _, value in (part.partition("=") for part in given.split(","))}
    at, kid = parts.get("t", ""), parts.get("kid", "")
    if not (at.isascii() and at.isdigit() and len(at) < 13) or kid not in signing_secrets():
        return False
    # The target as sent, where the server has it (gunicorn, uWSGI): Django has it decoded.
    query = request.META.get("QUERY_STRING", "")
    rebuilt = escape_uri_path(request.path) + (f"?{query}" if query else "")
    target = request.META.get("RAW_URI") or request.META.get("REQUEST_URI") or rebuilt
    ws_path = request.headers.get("Groupcast-Path", "")
    expected = sign(request.method or "", target, request.body, ws_path, kid=kid, at=int(at))
    is_fresh = abs(time.time() - int(at)) <= SIGNATURE_WINDOW
    return hmac.compare_digest(given.encode(), expected.encode()) and is_fresh
