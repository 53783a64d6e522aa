"""Calls: what a browser asks, as its connection's user."""

import pytest
from django.contrib.auth.models import Group

import groupcast
from conftest import HANDLERS


def test_a_handler_receives_user_data_and_connection(call, user):
    answer = call("who", {"id": 31}, sub=str(user.pk), headers={"Idempotency-Key": "k-1"})
    assert answer.status_code == 200
    assert answer.json()["result"] == {
        "user": "ana",
        "data": {"id": 31},
        "id": "k3f5a2bq-17",
        "path": "/ws/",
        "channel": "groupcast.groupcast.c5!k3f5a2bq-17",
        "sub": str(user.pk),
        "claims": {"tenant": "norte"},
        "session": None,
        "idempotency_key": "k-1",
    }


def test_optional_members_may_be_missing(ask, user):
    body = {"call": "who", "connection": "k3f5a2bq-17", "sub": str(user.pk), "path": "/ws/"}
    result = ask("POST", "/groupcast/call", body).json()["result"]
    assert (result["data"], result["channel"], result["claims"]) == (None, "", None)


@pytest.mark.parametrize("sub", ["999", "visitor-1", "", "7" * 300])
def test_refuses_an_unknown_user_where_a_login_is_required(call, user, sub):
    answer = call("nothing", sub=sub)
    assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")
    assert call("is_logged_in", sub=sub).json() == {"result": False}


def test_refuses_a_deactivated_user(call, user):
    assert call("nothing", sub=str(user.pk)).status_code == 204
    user.is_active = False
    user.save()
    assert call("nothing", sub=str(user.pk)).status_code == 403


def test_results_are_whatever_django_can_serialize(call, user):
    answer = call("rich", sub=str(user.pk))
    assert answer.json() == {"result": {"day": "2026-05-01", "amount": "9.50"}}


def test_false_and_zero_are_results(call, user):
    assert call("is_logged_in", sub=str(user.pk)).json() == {"result": True}
    assert call("is_logged_in", sub="999").json() == {"result": False}


def test_an_answer_changes_memberships(call, user, groupcast_sent):
    answer = call("enter", {"room": 3}, sub=str(user.pk))
    assert answer.json() == {"result": {"room": "room_3"}, "join": ["room_3"], "leave": ["lobby"]}
    assert groupcast_sent.to_group("room_3") == [{"type": "entered"}]


def test_an_answer_can_close_the_connection(call, user):
    assert call("eject", sub=str(user.pk)).json() == {"close": 4403}


@pytest.mark.parametrize(
    ("way", "status", "code", "message"),
    [
        ("denied", 403, "forbidden", "not yours"),
        ("missing", 404, "not_found", "no such order"),
        ("invalid", 400, "bad_request", "a room is needed"),
    ],
)
def test_a_refusal_passes_its_message_on_and_rolls_back(call, user, way, status, code, message):
    answer = call("refuse", way, sub=str(user.pk))
    assert (answer.status_code, answer.json()) == (status, {"code": code, "message": message})
    assert not Group.objects.exists(), "the transaction of the request is rolled back"


def test_a_custom_response_is_passed_on(call, user):
    answer = call("refuse", "conflict", sub=str(user.pk))
    assert (answer.status_code, answer.json()["code"]) == (409, "already_read")


def test_an_exception_is_logged_and_its_text_is_not_sent(call, user, client):
    client.raise_request_exception = False
    answer = call("refuse", "broken", sub=str(user.pk))
    assert answer.status_code == 500
    assert b"mistake" not in answer.content
    assert not Group.objects.exists()


def test_an_unknown_call_is_404(call, user):
    answer = call("fly", sub=str(user.pk))
    assert (answer.status_code, answer.json()) == (
        404,
        {"code": "not_found", "message": "no such call", "unregistered": True},
    )


def test_ignores_the_cookie_of_a_call(call, client, user, django_user_model):
    client.force_login(django_user_model.objects.create_user("eva"))
    assert call("who", sub=str(user.pk)).json()["result"]["user"] == "ana"


def test_a_handler_can_be_called_as_a_function_in_tests(user):
    @groupcast.call("twice")
    def twice(request, data):
        return 2 * data

    assert twice(None, 4) == 8
    del HANDLERS.call_handlers["twice"]
