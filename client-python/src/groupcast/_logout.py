"""Logging out closes the connections of the session."""

from __future__ import annotations

import logging
from typing import Any

from asgiref.local import Local
from django.contrib.auth.signals import user_logged_out
from django.core.signals import request_finished
from django.http import HttpRequest

from groupcast._gateway import GroupcastError
from groupcast._sending import disconnect, sub_of
from groupcast._views import session_name

logged_out = Local()


def close_on_logout(sender: Any, request: HttpRequest, user: Any, **_: Any) -> None:
    """Closes the connections of the ended session, once the response is sent."""
    session = session_name(request)
    if user is not None and session is not None:
        logged_out.sessions = [*getattr(logged_out, "sessions", ()), (sub_of(user), session)]


def close_logged_out(sender: Any, **_: Any) -> None:
    """Closes what `close_on_logout` noted in this request."""
    # Not at once: until the response is sent, the browser has its cookie and could reconnect.
    sessions, logged_out.sessions = getattr(logged_out, "sessions", ()), ()
    for sub, session in sessions:
        try:
            disconnect(sub, session=session)
        except GroupcastError:
            logging.getLogger("groupcast").exception("user %s logged out, but is connected", sub)


user_logged_out.connect(close_on_logout, dispatch_uid="groupcast")
request_finished.connect(close_logged_out, dispatch_uid="groupcast")
