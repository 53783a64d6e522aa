"""The two views that the gateway requests: the connect hook and calls."""

from __future__ import annotations

import json
from functools import partial, wraps
from typing import Any

from django.contrib.auth import get_user_model
from django.core.exceptions import PermissionDenied, ValidationError
from django.db import connections
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.urls import path
from django.utils.crypto import salted_hmac
from django.utils.functional import SimpleLazyObject
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_GET, require_POST

from groupcast._handlers import Answer, Connection, Handler, call_handlers, connect_handlers
from groupcast._signature import is_signed


def refusal(status: int, code: str, message: str) -> HttpResponse:
    """The answer that refuses; what the request did in the database is rolled back."""
    # The exception has become an answer, so the request's transaction would be committed.
    for database in connections.all():
        if database.settings_dict["ATOMIC_REQUESTS"] and database.in_atomic_block:
            database.set_rollback(True)
    return JsonResponse({"code": code, "message": message}, status=status)


def for_gateway(view: Handler) -> Handler:
    """Only signed requests reach the view; exceptions that refuse become answers."""

    @csrf_exempt
    @wraps(view)
    def guarded(request: HttpRequest) -> HttpResponse:
        if not is_signed(request):
            return refusal(401, "bad_signature", "the signature is missing, wrong or too old")
        try:
            answer: HttpResponse = view(request)
        except PermissionDenied as error:
            return refusal(403, "forbidden", str(error) or "not allowed")
        except Http404 as error:
            return refusal(404, "not_found", str(error) or "not found")
        except ValidationError as error:
            return refusal(400, "bad_request", " ".join(error.messages))
        return answer

    return guarded


@for_gateway
@require_GET
def connect_view(request: HttpRequest) -> HttpResponse:
    """Answers who is connecting, and which groups they join."""
    # One answer may serve many tabs, so only the path is known here, no connection.
    connection = Connection(request.headers.get("Groupcast-Path", ""))
    request.groupcast = connection  # type: ignore[attr-defined]
    answer: dict[str, Any] = {"groups": []}
    if request.user.is_authenticated:
        answer.update(sub=str(request.user.pk), session=session_name(request))
    if not connect_handlers and request.GET:  # a 200 would confirm them unchecked
        raise PermissionDenied("@groupcast.connect must decide about the route's parameters")
    returned = connect_handlers[0](request) if connect_handlers else None
    if isinstance(returned, HttpResponse):
        # Without a code the gateway takes these for a proxy's or a middleware's.
        code = {401: "unauthorized", 403: "forbidden"}.get(returned.status_code)
        return refusal(returned.status_code, code, "refused") if code else returned
    answer.update(returned if isinstance(returned, dict) else {"groups": list(returned or ())})
    if "sub" not in answer:
        return refusal(401, "unauthorized", "nobody is logged in")
    return JsonResponse({name: value for name, value in answer.items() if value is not None})


@for_gateway
@require_POST
def call_view(request: HttpRequest) -> HttpResponse:
    """Runs the function that is registered for a call."""
    body = json.loads(request.body)
    connection = Connection(
        path=body["path"],
        id=body["connection"],
        channel=body.get("channel") or "",
        **{name: body.get(name) for name in ("sub", "claims", "session")},
        idempotency_key=request.headers.get("Idempotency-Key"),
    )
    request.groupcast = connection  # type: ignore[attr-defined]
    request.user = SimpleLazyObject(partial(user_of, body["sub"]))  # type: ignore[assignment]
    handler, login = call_handlers.get(body["call"], (None, False))
    if handler is None:
        unknown = {"code": "not_found", "message": "no such call", "unregistered": True}
        return JsonResponse(unknown, status=404)
    if login and not request.user.is_authenticated:
        raise PermissionDenied("the user no longer exists, or is not active")
    returned = handler(request, body.get("data"))
    if isinstance(returned, HttpResponse):
        return returned
    answer = (returned if isinstance(returned, Answer) else Answer(returned))._asdict()
    answer = {name: value for name, value in answer.items() if value is not None and value != ()}
    return JsonResponse(answer) if answer else HttpResponse(status=204)


def user_of(sub: str) -> Any:
    """The active user with this primary key, or an AnonymousUser."""
    from django.contrib.auth.models import AnonymousUser  # once the apps are loaded, not before

    try:
        user = get_user_model()._default_manager.filter(pk=sub).first()
    except (ValueError, OverflowError, ValidationError):  # not a value of the primary key's type
        user = None
    return user if user is not None and user.is_active else AnonymousUser()


def session_name(request: HttpRequest) -> str | None:
    """How the gateway knows the request's session, if it has one."""
    # A digest of the key: the key itself would log anyone in.
    key = getattr(getattr(request, "session", None), "session_key", None)
    return salted_hmac("groupcast.session", key, algorithm="sha256").hexdigest() if key else None


urlpatterns = [path("connect", connect_view), path("call", call_view)]
