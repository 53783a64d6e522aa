"""Who may watch a Celery task."""

import asyncio
import base64
import gc
import json
import re
from html import unescape
from types import SimpleNamespace

import celery
import pytest
import redis
from django.contrib.auth.models import AnonymousUser
from django.core import signing
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.template import engines

import groupcast
from conftest import HANDLERS
from servers import free_port

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


# Celery closes some of its connections when Python ends.
LEAVES_SOCKETS = pytest.mark.filterwarnings("ignore::ResourceWarning")


@pytest.fixture
def pictures(broker):
    """A task of an app whose broker and result back end are a Redis, and no worker."""
    app = celery.Celery("pictures", broker=broker, backend=broker, set_as_current=False)
    app.conf.task_default_queue = "nobody"  # workers of other tests would take them

    @app.task(name="pictures.resize")
    def resize(*_):
        """Never runs."""

    yield resize
    app.close()
    gc.collect()  # results unsubscribe when they go, which needs the Redis


def counted(broker, result):
    """The tasks that the gateway counts for a result."""
    with redis.Redis.from_url(broker) as client:
        stored = client.get(f"celery-taskset-meta-{result.id}")
    return stored and [child[0][0] for child in json.loads(stored)["result"][1]]


@LEAVES_SOCKETS
def test_the_tasks_of_a_group_are_stored_to_be_counted(broker, pictures):
    result = celery.group([pictures.si(n) for n in range(3)], app=pictures.app).apply_async()
    assert groupcast.task_group(result) == f"task.{result.id}"
    assert counted(broker, result) == [child.id for child in result]


@LEAVES_SOCKETS
def test_a_chord_counts_the_tasks_of_its_header(broker, pictures):
    header = [pictures.si(n) for n in range(3)]
    result = celery.chord(header, app=pictures.app)(pictures.si())
    groupcast.ticket(result, 7)
    assert counted(broker, result) == [child.id for child in result.parent]
    assert counted(broker, result.parent) is None, "Celery would collect its results otherwise"


@LEAVES_SOCKETS
def test_a_chain_counts_its_steps(broker, pictures):
    result = celery.chain(pictures.si(1), pictures.si(2), pictures.si(3)).apply_async()
    groupcast.follow(result, 7)
    assert counted(broker, result) == [result.id, result.parent.id, result.parent.parent.id]


@LEAVES_SOCKETS
def test_a_single_task_stores_nothing(broker, pictures):
    result = pictures.delay()
    assert groupcast.task_group(result) == f"task.{result.id}"
    assert counted(broker, result) is None


@LEAVES_SOCKETS
def test_without_redis_for_results_the_tasks_of_a_group_go_as_a_worker_event(broker):
    app = celery.Celery("rpc", broker=broker, backend="rpc://", set_as_current=False)
    children = [(("a", None), None), (("b", None), None)]
    tree = (("g", None), children)
    group = SimpleNamespace(id="g", app=app, results=children, as_tuple=lambda: tree)
    with redis.Redis.from_url(broker) as client, client.pubsub() as subscriber:
        subscriber.psubscribe("*celeryev/task.set")
        assert subscriber.get_message(timeout=20)["type"] == "psubscribe"
        assert groupcast.task_group(group) == "task.g"
        envelope = json.loads(subscriber.get_message(timeout=20)["data"])
    event = json.loads(base64.b64decode(envelope["body"]))
    assert (event["type"], event["uuid"]) == ("task-set", "g")
    expected = {"result": [["g", None], [[["a", None], None], [["b", None], None]]]}
    assert event["set"] == {**expected, "has_last": False}
    app.close()


def test_a_result_back_end_that_is_away_costs_the_count_alone(caplog):
    app = celery.Celery("away", backend=f"redis://127.0.0.1:{free_port()}", set_as_current=False)
    group = SimpleNamespace(id="g", app=app, results=[], as_tuple=lambda: (("g", None), []))
    assert groupcast.task_group(group) == "task.g"
    assert "not counted" in caplog.text
