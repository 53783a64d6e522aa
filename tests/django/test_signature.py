"""Only what the gateway signed, and lately, reaches a view."""

import time

import pytest
from django.core.exceptions import ImproperlyConfigured

import groupcast

TARGET = "/groupcast/connect?sala=a%20b&x=%C3%B1"


def test_signs_the_example_of_the_spanish_documentation():
    body = (
        b'{"call":"marcar_leida","data":{"id":31},"connection":"k3f5a2bq-17","sub":"7","claims":{},'
        b'"session":null,"path":"/ws/notificaciones/"}'
    )
    signature = groupcast.sign(
        "POST", "/groupcast/call", body, "/ws/notificaciones/", at=1767225600
    )
    expected = "a2bf3a415d8758590a66a3021cc83f21c321da8ad21493238e415705ddfd1c86"
    assert signature == f"t=1767225600,kid=1,v1={expected}"


@pytest.mark.parametrize(
    "change",
    [
        "",
        "t=1,kid=1,v1=0",
        "nonsense",
        "t=,kid=,v1=",
        "t=²,kid=1,v1=x",
        "t=99999999999999999999,kid=1,v1=x",
        "t=-1,kid=1,v1=x",
        "t=1e3,kid=1,v1=x",
        "t=1,t=2,kid=1",
    ],
)
def test_refuses_a_malformed_signature(ask, change):
    answer = ask("GET", TARGET, signature=change.encode().decode("latin-1"))
    assert (answer.status_code, answer.json()["code"]) == (401, "bad_signature")


def test_a_signature_covers_method_target_path_body_and_key(ask, user, client):
    client.force_login(user)
    body = b'{"call":"nothing"}'
    good = ("POST", "/groupcast/call", body, "/ws/")
    for changed in [
        ("GET", "/groupcast/call", body, "/ws/"),
        ("POST", "/groupcast/call?x=1", body, "/ws/"),
        ("POST", "/groupcast/call", body + b" ", "/ws/"),
        ("POST", "/groupcast/call", body, "/ws/other/"),
    ]:
        answer = ask(*good[:3], ws_path=good[3], signature=groupcast.sign(*changed))
        assert answer.status_code == 401, changed
    of_another_key = groupcast.sign(*good).replace("kid=1", "kid=2")
    assert ask(*good[:3], signature=of_another_key).status_code == 401


@pytest.mark.parametrize(("off", "status"), [(-290, 200), (290, 200), (-310, 401), (310, 401)])
def test_a_signature_is_valid_for_five_minutes(ask, client, user, off, status):
    client.force_login(user)
    signature = groupcast.sign("GET", TARGET, ws_path="/ws/", at=int(time.time()) + off)
    assert ask("GET", TARGET, signature=signature).status_code == status


def test_refuses_an_unsigned_request_before_any_work(client, user):
    client.force_login(user)
    for url in ("/groupcast/connect", "/groupcast/call"):
        assert client.get(url, secure=True).status_code == 401
        assert client.post(url, {"call": "nothing"}, secure=True).status_code == 401


def test_accepts_both_keys_during_a_rotation(ask, client, user, settings):
    client.force_login(user)
    old = settings.GROUPCAST
    settings.GROUPCAST = {**old, "SECRET": "", "KEYS": {"2": "n" * 32, "1": old["SECRET"]}}
    for kid in ("1", "2"):
        signature = groupcast.sign("GET", TARGET, ws_path="/ws/", kid=kid)
        assert ask("GET", TARGET, signature=signature).status_code == 200


def test_the_signature_covers_the_target_as_sent(ask, client, user):
    client.force_login(user)
    # Django decodes the path; gunicorn and uWSGI pass it on as it was sent.
    sent = "/groupcast/connect?sala=%7e"
    signature = groupcast.sign("GET", sent, ws_path="/ws/")
    extra = {"RAW_URI": sent}
    request = client.get(
        "/groupcast/connect?sala=~",
        secure=True,
        HTTP_GROUPCAST_SIGNATURE=signature,
        HTTP_GROUPCAST_PATH="/ws/",
        **extra,
    )
    assert request.status_code == 200


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (None, "must be a dict"),
        ({"URL": "http://127.0.0.1:8081"}, "has 'URL'; it can have API, KEY"),
        ({"KEY": "k"}, "has no SECRET"),
        ({"SECRET": "short"}, "key '1' has 5 bytes; 32 are needed"),
        ({"SECRET": "s" * 32, "KEYS": {"2": "x"}}, "key '2' has 1 bytes"),
    ],
)
def test_names_the_wrong_setting(settings, given, words):
    settings.GROUPCAST = given
    with pytest.raises(ImproperlyConfigured, match=words):
        groupcast.sign("GET", "/")
