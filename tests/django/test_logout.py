"""A logout closes the user's connections once the response is on its way."""

import pytest

from conftest import LOGOUT

pytestmark = pytest.mark.django_db


def test_a_logout_closes_after_the_session_was_deleted(client, user, groupcast_sent, monkeypatch):
    client.force_login(user)
    calls = []

    def disconnect(*args, **kwargs):
        calls.append((args, kwargs, client.session))

    monkeypatch.setattr(LOGOUT, "disconnect", disconnect)
    client.post("/logout", secure=True)
    [(args, kwargs, session)] = calls
    assert (args, list(kwargs)) == ((str(user.pk),), ["session"])
    assert "_auth_user_id" not in session


def test_a_logout_closes_only_its_session_and_only_once(client, user, groupcast_sent):
    client.force_login(user)
    client.post("/logout", secure=True)
    client.get("/", secure=True)
    client.post("/logout", secure=True)
    assert groupcast_sent.disconnected == [str(user.pk)]


def test_an_unreachable_gateway_does_not_prevent_a_logout(client, user, caplog):
    client.force_login(user)
    assert client.post("/logout", secure=True).status_code == 302
    assert f"user {user.pk} logged out, but is connected" in caplog.text


def test_a_real_gateway_accepts_the_request(client, user, gateway, caplog):
    client.force_login(user)
    client.post("/logout", secure=True)
    assert not caplog.records
