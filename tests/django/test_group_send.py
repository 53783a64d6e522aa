"""The recorder sees what Channels' `group_send` sends."""

import asyncio
from datetime import date

import pytest
from asgiref.sync import async_to_sync
from channels.layers import InMemoryChannelLayer, channel_layers, get_channel_layer

import groupcast

# Nothing listens there: what reached Redis would be an error.
CONFIG = {"hosts": ["redis://127.0.0.1:1"]}
LAYERS = [
    {"BACKEND": "channels.layers.InMemoryChannelLayer"},
    {"BACKEND": "channels_redis.core.RedisChannelLayer", "CONFIG": CONFIG},
    {"BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer", "CONFIG": CONFIG},
]


@pytest.fixture(params=LAYERS, ids=["memory", "core", "pubsub"])
def layer(request, settings):
    """Each channel layer, before the recorder is asked for."""
    settings.CHANNEL_LAYERS = {"default": request.param}
    channel_layers.backends.clear()
    return get_channel_layer()


def group_send(group, message):
    async_to_sync(get_channel_layer().group_send)(group, message)


def test_records_what_group_send_sends(layer, groupcast_recorder):
    message = {"type": "image.processed", "image_id": 42}
    group_send("user_7", message)
    message["image_id"] = 43
    groupcast.send("user_7", {"type": "x"}, on_commit=False)
    assert groupcast_recorder.to_group("user_7") == [
        {"type": "image.processed", "image_id": 42},
        {"type": "x"},
    ]


def test_what_channels_refuses_is_refused(layer, groupcast_recorder):
    with pytest.raises(TypeError, match="Group name"):
        group_send("no group", {"type": "x"})
    with pytest.raises(AssertionError):
        group_send("user_7", "x")
    if not isinstance(layer, InMemoryChannelLayer):
        with pytest.raises(TypeError, match="date"):
            group_send("user_7", {"type": "x", "day": date(2026, 5, 1)})
    assert groupcast_recorder.sent == []


def test_everything_is_as_before_when_the_recording_has_ended(layer):
    before = dict(vars(type(layer)))
    with groupcast.RecordingLayer() as outer:
        with groupcast.RecordingLayer() as inner:
            group_send("a", {"type": "x"})
        group_send("b", {"type": "y"})
    assert dict(vars(type(layer))) == before
    assert (inner.to_group("a"), inner.to_group("b")) == ([{"type": "x"}], [])
    assert (outer.to_group("a"), outer.to_group("b")) == ([], [{"type": "y"}])


def test_consumers_under_test_still_receive_from_a_layer_in_memory(settings, groupcast_recorder):
    settings.CHANNEL_LAYERS = {"default": LAYERS[0]}
    channel_layers.backends.clear()

    async def exchange():
        layer = get_channel_layer()
        channel = await layer.new_channel()
        await layer.group_add("user_7", channel)
        await layer.group_send("user_7", {"type": "x"})
        return await layer.receive(channel)

    assert asyncio.run(exchange()) == {"type": "x"}
    assert groupcast_recorder.to_group("user_7") == [{"type": "x"}]


def test_a_project_without_channels_is_recorded_too(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "channels.layers", None)
    monkeypatch.setitem(__import__("sys").modules, "channels", None)
    with groupcast.RecordingLayer() as recorder:
        groupcast.send("a", {"type": "x"}, on_commit=False)
    assert recorder.to_group("a") == [{"type": "x"}]
