"""Sending from asynchronous code."""

import asyncio

import pytest
from asgiref.sync import async_to_sync, sync_to_async
from django.db import transaction

import groupcast

pytestmark = pytest.mark.django_db(transaction=True)


def test_the_asynchronous_functions_do_what_their_namesakes_do(groupcast_recorder):
    async def everything():
        await groupcast.asend("usuario_7", {"type": "x"})
        await groupcast.asend_user(7, {"type": "y"})
        await groupcast.asend_connection("k3f5a2bq-17", {"type": "z"})
        await groupcast.asend_many([(["a", "b"], {"type": "w"})])
        await groupcast.asend_many([])
        await groupcast.adisconnect(7)
        return await groupcast.alook(7)

    assert asyncio.run(everything()) == {"connections": []}
    assert groupcast_recorder.sent == [
        ("groups", "usuario_7", {"type": "x"}),
        ("users", "7", {"type": "y"}),
        ("connections", "k3f5a2bq-17", {"type": "z"}),
        ("groups", "a", {"type": "w"}),
        ("groups", "b", {"type": "w"}),
    ]
    assert groupcast_recorder.disconnected == ["7"]


def test_an_asynchronous_send_waits_for_the_commit_of_the_code_that_called_it():
    with groupcast.RecordingLayer(on_commit=True) as recorder:
        with transaction.atomic():
            async_to_sync(groupcast.asend)("a", {"type": "kept"})
            assert recorder.sent == []
        assert recorder.to_group("a") == [{"type": "kept"}]
        with pytest.raises(ZeroDivisionError), transaction.atomic():
            async_to_sync(groupcast.asend)("a", {"type": "lost"})
            1 / 0  # noqa: B018
        assert recorder.to_group("a") == [{"type": "kept"}]


def test_a_slow_gateway_holds_up_neither_the_event_loop_nor_other_synchronous_code(script):
    # A 503 makes the request wait for a second.
    script((503, {"Retry-After": "1"}, b""), (202, {}, b""))

    async def both():
        sending = asyncio.create_task(groupcast.asend("a", {"type": "x"}, on_commit=False))
        for _ in range(20):
            await asyncio.sleep(0)
            await sync_to_async(int)("7")
        return sending, sending.done()

    async def main():
        sending, was_done = await both()
        await sending
        return was_done

    assert asyncio.run(main()) is False


def test_an_error_of_an_asynchronous_send_is_raised(script):
    script((403, {}, b""))
    with pytest.raises(groupcast.GroupcastError) as raised:
        asyncio.run(groupcast.asend("a", {"type": "x"}))
    assert raised.value.status == 403


def test_what_is_no_event_is_refused_before_it_is_awaited():
    with pytest.raises(TypeError, match="string 'type'"):
        asyncio.run(groupcast.asend("a", {"kind": "x"}))
