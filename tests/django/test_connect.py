"""The connect hook: Django's own session identifies who connects."""

import pytest
from django.contrib.auth.decorators import login_required
from django.core.exceptions import PermissionDenied
from django.http import HttpResponse

import groupcast
from conftest import HANDLERS

HOOK = "/groupcast/connect"


@pytest.fixture(autouse=True)
def handler():
    """Registers a handler for one test; without, there is none."""
    before = HANDLERS.connect_handlers[:]
    HANDLERS.connect_handlers.clear()
    yield groupcast.connect
    HANDLERS.connect_handlers[:] = before


def test_identifies_a_user_by_the_session_cookie(ask, client, user):
    client.force_login(user)
    answer = ask("GET", HOOK)
    assert answer.status_code == 200
    identity = answer.json()
    assert (identity["sub"], identity["groups"]) == (str(user.pk), [])
    assert client.session.session_key not in answer.content.decode(), "the key is a password"
    assert ask("GET", HOOK).json()["session"] == identity["session"], "the name is stable"
    client.logout()
    client.force_login(user)
    assert ask("GET", HOOK).json()["session"] != identity["session"]


def test_answers_401_without_a_redirect_when_not_logged_in(ask, db):
    answer = ask("GET", HOOK)
    assert (answer.status_code, answer.json()["code"]) == (401, "unauthorized")


def test_a_deactivated_user_counts_as_not_logged_in(ask, client, user):
    client.force_login(user)
    user.is_active = False
    user.save()
    assert ask("GET", HOOK).status_code == 401


def test_the_handler_receives_user_parameters_and_path(ask, client, user, handler):
    seen = {}

    @handler
    def groups(request):
        seen.update(path=request.groupcast.path, room=request.GET["room"], user=request.user)
        return ["room_3"]

    client.force_login(user)
    answer = ask("GET", f"{HOOK}?room=3", ws_path="/ws/chat/3/")
    assert answer.json()["groups"] == ["room_3"]
    assert seen == {"room": "3", "user": user, "path": "/ws/chat/3/"}


def test_does_not_confirm_parameters_without_a_handler(ask, client, user, handler):
    client.force_login(user)
    assert ask("GET", f"{HOOK}?room=3", ws_path="/ws/chat/3/").status_code == 403
    handler(lambda request: None)
    assert ask("GET", f"{HOOK}?room=3", ws_path="/ws/chat/3/").status_code == 200


def test_a_dict_is_returned_unchanged(ask, client, user, handler):
    handler(lambda request: {"claims": {"tenant": "norte"}, "expires_in": 60, "welcome": None})
    client.force_login(user)
    identity = ask("GET", HOOK).json()
    assert identity.pop("session")
    expected = {"sub": str(user.pk), "groups": [], "claims": {"tenant": "norte"}, "expires_in": 60}
    assert identity == expected, "None is left out"


def test_admits_a_visitor_with_a_sub_from_the_handler(ask, handler):
    handler(lambda request: {"sub": "visitor-1", "groups": ["news"]})
    assert ask("GET", HOOK).json() == {"sub": "visitor-1", "groups": ["news"]}


def test_groups_without_a_sub_admit_no_visitor(ask, handler):
    handler(lambda request: ["news"])
    assert ask("GET", HOOK).status_code == 401


def test_a_handler_refuses_by_exception_or_response(ask, client, user, handler):
    client.force_login(user)

    @handler
    def not_here(request):
        raise PermissionDenied("not in this room")

    answer = ask("GET", HOOK)
    assert (answer.status_code, answer.json()["message"]) == (403, "not in this room")
    handler(lambda request: HttpResponse(status=401))
    assert ask("GET", HOOK).status_code == 401


def test_login_required_around_a_handler_redirects(ask, handler):
    handler(login_required(lambda request: None))
    assert ask("GET", HOOK).status_code == 302, "the gateway logs what that means"


def test_the_headers_of_the_gateway_satisfy_production_settings(ask, client, user):
    client.force_login(user)
    assert client.cookies["sessionid"]["secure"]
    assert ask("GET", HOOK).status_code == 200
    assert ask("GET", HOOK, **{"X-Forwarded-Proto": "http"}).status_code == 301
    assert ask("GET", HOOK, Host="other.example").status_code == 400
    assert ask("POST", HOOK, b"").status_code == 405
