"""Who may watch a Celery task."""

import asyncio
import re
from html import unescape
from types import SimpleNamespace

import pytest
from django.contrib.auth.models import AnonymousUser
from django.core import signing
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.template import engines

import groupcast
from conftest import HANDLERS

pytestmark = pytest.mark.django_db

ID = "6f1c2c0e-5f0a-4b0e-9f6e-4d1f4a1f0b11"
TASK = SimpleNamespace(id=ID)


def test_follow_makes_the_users_connections_members_of_the_tasks_group(groupcast_recorder, user):
    groupcast.follow(TASK, user)
    groupcast.follow(ID, "maría/7")
    asyncio.run(groupcast.afollow(TASK, 8))
    assert groupcast_recorder.joined == [
        (f"task.{ID}", f"user:{user.pk}"),
        (f"task.{ID}", "user:maría/7"),
        (f"task.{ID}", "user:8"),
    ]


@pytest.mark.django_db(transaction=True)
def test_follow_waits_for_the_commit():
    with groupcast.RecordingLayer(on_commit=True) as recorder:
        with transaction.atomic():
            groupcast.follow(TASK, 7)
            assert recorder.joined == []
        assert recorder.joined == [(f"task.{ID}", "user:7")]
        with pytest.raises(ZeroDivisionError), transaction.atomic():
            groupcast.follow(TASK, 8)
            1 / 0  # noqa: B018
        assert len(recorder.joined) == 1


def test_a_gateway_accepts_it(gateway):
    groupcast.follow(TASK, 7, on_commit=False)
    with pytest.raises(groupcast.GroupcastError) as raised:
        groupcast.follow("with space", 7, on_commit=False)
    assert raised.value.status == 422


def test_the_prefix_of_groups_can_be_changed(settings):
    settings.GROUPCAST = {**settings.GROUPCAST, "TASKS": "tarea."}
    assert groupcast.task_group(TASK) == f"tarea.{ID}"


@pytest.mark.parametrize("task", [None, "", 7, SimpleNamespace(id=None)])
def test_refuses_what_is_no_task(task):
    with pytest.raises(TypeError, match="AsyncResult"):
        groupcast.follow(task, 7)


def test_a_ticket_lets_its_user_watch(call, user):
    answer = call("groupcast.watch", {"ticket": groupcast.ticket(TASK, user)}, sub=str(user.pk))
    assert (answer.status_code, answer.json()) == (200, {"join": [f"task.{ID}"]})


def test_a_ticket_of_a_page_without_login_lets_whoever_has_it_watch(call):
    for nobody in (None, AnonymousUser()):
        answer = call("groupcast.watch", {"ticket": groupcast.ticket(TASK, nobody)}, sub="visitor")
        assert answer.json() == {"join": [f"task.{ID}"]}


def test_a_ticket_serves_nobody_else(call, user, django_user_model):
    ticket = groupcast.ticket(TASK, user)
    other = django_user_model.objects.create_user("eva")
    assert call("groupcast.watch", {"ticket": ticket}, sub=str(other.pk)).status_code == 403
    user.is_active = False
    user.save()
    assert call("groupcast.watch", {"ticket": ticket}, sub=str(user.pk)).status_code == 403


def test_knowing_the_id_is_not_enough(call, user):
    forged = signing.dumps([f"task.{ID}", str(user.pk)], salt="another")
    for ticket in (ID, f"task.{ID}", forged, groupcast.ticket(TASK, user) + "x"):
        answer = call("groupcast.watch", {"ticket": ticket}, sub=str(user.pk))
        assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")


@pytest.mark.parametrize("data", [None, [], "x", {}, {"ticket": None}, {"ticket": 7}])
def test_refuses_a_call_without_a_ticket(call, data):
    assert call("groupcast.watch", data).status_code == 400


def test_a_ticket_ends(call, monkeypatch):
    ticket = groupcast.ticket(TASK, 7)
    later = signing.time.time() + 86_500
    monkeypatch.setattr(signing.time, "time", lambda: later)
    # Called, not requested: the signature of a request would be of another time, too.
    watch, _ = HANDLERS.call_handlers["groupcast.watch"]
    with pytest.raises(PermissionDenied, match="too old"):
        watch(None, {"ticket": ticket})


def rendered(source, **context):
    """What a template gives, and the attributes of its progress element."""
    text = engines["django"].from_string("{% load groupcast %}" + source).render(context)
    [attributes] = re.findall(r"<groupcast-progress([^>]*)></groupcast-progress>", text)
    found = re.findall(r' ([a-z]+)="([^"]*)"', attributes)
    return text, {name: unescape(value) for name, value in found}


def test_the_tag_gives_the_element_and_its_script(call, user, rf):
    request = rf.get("/")
    request.user = user
    text, attributes = rendered("{% groupcast_progress task %}", task=TASK, request=request)
    assert '<script type="module" src="/client/v1/progress.js"></script>' in text
    assert attributes.keys() == {"group", "ticket", "path"}
    assert (attributes["group"], attributes["path"]) == (f"task.{ID}", "/ws/")
    answer = call("groupcast.watch", {"ticket": attributes["ticket"]}, sub=str(user.pk))
    assert answer.json() == {"join": [f"task.{ID}"]}


def test_the_tag_escapes_and_takes_options(settings):
    settings.GROUPCAST = {**settings.GROUPCAST, "CLIENT": "https://rt.example/c/", "PATH": "/live/"}
    source = '{% groupcast_progress task label=label nonce="n-1" %}'
    text, attributes = rendered(source, task="a", label='"><script>')
    assert 'src="https://rt.example/c/progress.js" nonce="n-1"' in text
    assert (attributes["label"], attributes["path"]) == ('"><script>', "/live/")
    assert text.count("<script") == 1
