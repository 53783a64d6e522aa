"""What browsers of the shop may do: one handler for each thing that the tests show."""

from datetime import date
from decimal import Decimal

from django.contrib.auth.models import Group
from django.core.exceptions import PermissionDenied, ValidationError
from django.http import Http404, JsonResponse

import groupcast


@groupcast.connect
def rooms(request):
    """The room that the route names; number 13 is closed."""
    room = request.GET.get("room")
    if room == "13":
        raise PermissionDenied("closed")
    return [f"room_{room}"] if room else None


@groupcast.call("who")
def who(request, data):
    return {"user": request.user.get_username(), "data": data, **request.groupcast._asdict()}


@groupcast.call("is_logged_in", login=False)
def is_logged_in(request, data):
    return request.user.is_authenticated


@groupcast.call("nothing")
def nothing(request, data):
    return None


@groupcast.call("rich")
def rich(request, data):
    return {"day": date(2026, 5, 1), "amount": Decimal("9.50")}


@groupcast.call("enter")
def enter(request, data):
    room = f"room_{data['room']}"
    groupcast.send(room, {"type": "entered"}, exclude=[request.groupcast.id])
    return groupcast.Answer({"room": room}, join=[room], leave=["lobby"])


@groupcast.call("eject")
def eject(request, data):
    return groupcast.Answer(close=4403)


@groupcast.call("refuse")
def refuse(request, data):
    """Leaves something behind, then refuses in one way or another."""
    Group.objects.create(name="left behind")
    if data == "conflict":
        return JsonResponse({"code": "already_read", "message": "read before"}, status=409)
    raise {
        "denied": PermissionDenied("not yours"),
        "missing": Http404("no such order"),
        "invalid": ValidationError("a room is needed"),
        "broken": RuntimeError("a mistake of the shop's"),
    }[data]
