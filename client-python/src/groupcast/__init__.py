"""Groupcast for Django: who may connect, what browsers may call, and events to browsers.

It needs Django 4.2 or newer; `groupcast.celery` needs Celery alone.

    # settings.py
    INSTALLED_APPS = [..., "groupcast"]
    GROUPCAST = {
        "API": "http://127.0.0.1:8081",                    # the gateway's listen.api
        "KEY": os.environ["GROUPCAST_API_SECRET"],         # the secret of an [[api.key]]
        "SECRET": os.environ["GROUPCAST_BACKEND_SECRET"],  # that of the [[backend.key]] "1"
    }
    # KEY and SECRET may be left out: they are read from these variables, or from groupcast.env in
    # BASE_DIR, which `groupcast init django` writes.

    # urls.py; importing your handlers registers them
    from shop import realtime
    urlpatterns = [..., path("groupcast/", include("groupcast"))]

    # shop/realtime.py
    @groupcast.connect
    def groups(request):
        return [f"seller_{request.user.pk}"] if request.user.is_staff else []

    @groupcast.call("mark_read")
    def mark_read(request, data):
        request.user.notices.filter(pk=data["id"]).update(read=True)

    # anywhere: views, signals, Celery tasks, management commands
    groupcast.send("user_7", {"type": "image_ready", "id": 42})
"""

from importlib.util import find_spec as _find_spec
from typing import TYPE_CHECKING as _TYPE_CHECKING

from groupcast import celery as celery

if _find_spec("django"):
    from groupcast._app import GroupcastConfig as GroupcastConfig
    from groupcast._gateway import GroupcastError as GroupcastError
    from groupcast._handlers import Answer as Answer
    from groupcast._handlers import Connection as Connection
    from groupcast._handlers import call as call
    from groupcast._handlers import connect as connect
    from groupcast._logout import close_on_logout as close_on_logout
    from groupcast._recording import GroupcastTestMixin as GroupcastTestMixin
    from groupcast._recording import RecordingLayer as RecordingLayer
    from groupcast._sending import Event as Event
    from groupcast._sending import adisconnect as adisconnect
    from groupcast._sending import alook as alook
    from groupcast._sending import asend as asend
    from groupcast._sending import asend_connection as asend_connection
    from groupcast._sending import asend_many as asend_many
    from groupcast._sending import asend_user as asend_user
    from groupcast._sending import disconnect as disconnect
    from groupcast._sending import look as look
    from groupcast._sending import send as send
    from groupcast._sending import send_connection as send_connection
    from groupcast._sending import send_many as send_many
    from groupcast._sending import send_user as send_user
    from groupcast._signature import sign as sign
    from groupcast._tasks import afollow as afollow
    from groupcast._tasks import follow as follow
    from groupcast._tasks import task_group as task_group
    from groupcast._tasks import ticket as ticket
    from groupcast._views import urlpatterns as urlpatterns

if not _TYPE_CHECKING:

    def __getattr__(name: str) -> object:
        """What there is only on demand, and the reason for what is missing."""
        if name == "groupcast_sent":  # for a conftest.py from before there was a plugin
            from groupcast.pytest_plugin import groupcast_sent

            return groupcast_sent
        hint = "" if _find_spec("django") else ": Django is missing"
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}{hint}")
