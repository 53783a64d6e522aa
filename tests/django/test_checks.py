"""`manage.py check` says what is missing."""

import re

import pytest
from celery import Celery
from django.core.checks import run_checks

import groupcast

LAYER = "channels_redis.core.RedisChannelLayer"


@pytest.fixture(autouse=True)
def without_celery(monkeypatch):
    """A site that has no Celery; tests of one with Celery make its app."""
    monkeypatch.setattr("celery._state.default_app", None)


@pytest.fixture
def celery(monkeypatch):
    """`celery(result back end)`: the app of the site."""

    def celery(backend):
        app = Celery("shop", broker="memory://", backend=backend, set_as_current=False)
        monkeypatch.setattr("celery._state.default_app", app)
        return app

    return celery


def messages(identifier=None):
    """What the checks say, or those with one id."""
    found = run_checks(tags=["groupcast"])
    return [each for each in found if identifier in (None, each.id.partition(".")[2])]


def test_says_nothing_about_a_complete_configuration():
    assert messages() == []


def test_each_message_has_an_id_of_its_own_and_a_hint(settings, tmp_path):
    settings.BASE_DIR = tmp_path
    settings.GROUPCAST = {"API": "x"}
    settings.MIDDLEWARE = []
    settings.CHANNEL_LAYERS = {"default": {"BACKEND": LAYER}}
    found = messages()
    identifiers = [each.id for each in found]
    assert len(identifiers) == len(set(identifiers)) == 5
    for each in found:
        assert re.fullmatch(r"groupcast\.[EW]\d{3}", each.id)
        assert each.hint, each


@pytest.mark.parametrize("given", [[], {"Api": "x"}])
def test_names_settings_of_another_shape(settings, given):
    settings.GROUPCAST = given
    [message] = messages()
    assert message.id == "groupcast.E001"


@pytest.mark.parametrize("address", ["127.0.0.1:8081", "ws://127.0.0.1:8081", "http://", ""])
def test_names_an_address_that_is_none(settings, address):
    settings.GROUPCAST = {**settings.GROUPCAST, "API": address}
    [message] = messages()
    assert message.id == "groupcast.E002"


def test_names_a_short_secret(settings):
    settings.GROUPCAST = {**settings.GROUPCAST, "SECRET": "short"}
    [message] = messages()
    assert message.id == "groupcast.E003"
    assert "5 bytes" in message.msg


def test_tells_a_forgotten_environment(settings, tmp_path, monkeypatch):
    settings.BASE_DIR = tmp_path
    settings.GROUPCAST = {}
    key, secret = messages()
    assert (key.id, secret.id) == ("groupcast.W001", "groupcast.W002")
    assert "GROUPCAST_API_SECRET" in key.hint
    assert str(tmp_path / "groupcast.env") in key.hint
    settings.GROUPCAST = {"KEYS": {"2": "s" * 32}, "KEY": "k"}
    assert messages() == [], "any signing secret will do"


def test_tells_urls_that_were_forgotten(settings):
    settings.ROOT_URLCONF = "django.contrib.auth.urls"
    [message] = messages()
    assert message.id == "groupcast.W003"
    assert "include" in message.hint


def test_tells_that_nobody_is_logged_in(settings):
    settings.MIDDLEWARE = [path for path in settings.MIDDLEWARE if "Authentication" not in path]
    [message] = messages()
    assert message.id == "groupcast.W004"
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, "shop.own.AuthenticationMiddleware"]
    assert messages() == []


@pytest.mark.parametrize(
    ("backend", "number"),
    [
        ("channels.layers.InMemoryChannelLayer", "W005"),
        ("channels_rabbitmq.core.RabbitmqChannelLayer", "W006"),
    ],
)
def test_tells_a_channel_layer_that_the_gateway_does_not_receive(settings, backend, number):
    settings.CHANNEL_LAYERS = {"default": {"BACKEND": backend}}
    [message] = messages()
    assert message.id == f"groupcast.{number}"
    assert "'default'" in message.msg


@pytest.mark.parametrize(
    ("config", "is_told"),
    [
        ({}, True),
        ({"channel_capacity": {"groupcast.*": 10000}}, False),
        ({"channel_capacity": {re.compile(r"groupcast\."): 10000}}, False),
        ({"channel_capacity": {"http.request": 200}}, True),
        ({"channel_capacity": {"groupcast.*": 100}}, True),
        ({"capacity": 5000}, False),
    ],
)
def test_tells_a_channel_capacity_that_was_forgotten(settings, config, is_told):
    settings.CHANNEL_LAYERS = {"default": {"BACKEND": LAYER, "CONFIG": config}}
    assert [each.id for each in messages()] == ["groupcast.W007"] * is_told


def test_a_layer_of_pubsub_has_no_capacity_to_forget(settings):
    backend = "channels_redis.pubsub.RedisPubSubChannelLayer"
    settings.CHANNEL_LAYERS = {"default": {"BACKEND": backend}}
    assert messages() == []


@pytest.mark.parametrize("backend", ["rpc://", "db+sqlite://", "cache+memory://"])
def test_tells_a_result_back_end_that_cannot_show_progress(celery, backend):
    app = celery(backend)
    [message] = messages()
    assert message.id == "groupcast.W008"
    assert backend.partition(":")[0] in message.msg
    assert "install(app)" in message.hint
    app.groupcast_progress = object()
    assert messages() == []


@pytest.mark.parametrize("backend", [None, "redis://127.0.0.1", "rediss://r", "sentinel://s"])
def test_says_nothing_about_result_back_ends_that_can(celery, backend):
    celery(backend)
    assert messages() == []
    assert not groupcast.celery.is_installed(object())
