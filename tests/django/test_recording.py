"""What projects test with."""

import subprocess
import sys
from datetime import date

import pytest
from django.db import transaction
from django.test import TestCase

import groupcast
from conftest import HELPER

pytestmark = pytest.mark.django_db


def test_records_events_as_browsers_receive_them(groupcast_sent):
    groupcast.send("usuario_7", {"type": "x", "day": date(2026, 5, 1)})
    groupcast.send_user(7, {"type": "y"})
    groupcast.send_connection("k3f5a2bq-17", {"type": "z"})
    groupcast.send_many([(["a", "b"], {"type": "w"})])
    groupcast.disconnect("maría/7")
    assert groupcast_sent.to_group("usuario_7") == [{"type": "x", "day": "2026-05-01"}]
    assert groupcast_sent.to_user(7) == [{"type": "y"}]
    assert groupcast_sent.to_group("b") == [{"type": "w"}]
    assert groupcast_sent.sent[2] == ("connections", "k3f5a2bq-17", {"type": "z"})
    assert groupcast_sent.disconnected == ["maría/7"]
    assert groupcast.look(7) == {"connections": []}


def test_a_recording_can_wait_for_commits():
    with groupcast.RecordingLayer(on_commit=True) as layer:
        with pytest.raises(ZeroDivisionError), transaction.atomic():
            groupcast.send("a", {"type": "x"})
            1 / 0  # noqa: B018
        assert layer.sent == []


def test_recordings_nest(groupcast_sent):
    with groupcast.RecordingLayer() as inner:
        groupcast.send("a", {"type": "x"})
    groupcast.send("b", {"type": "y"})
    assert [name for _, name, _ in inner.sent] == ["a"]
    assert [name for _, name, _ in groupcast_sent.sent] == ["b"]


class ShopTest(groupcast.GroupcastTestMixin, TestCase):
    def test_a_sale_sends_an_event(self):
        self.client.get("/sale", secure=True)
        assert self.groupcast.to_group("seller_1") == [{"type": "sale", "amount": 5}]

    def test_each_test_starts_without_events(self):
        assert self.groupcast.sent == []


def test_can_be_imported_without_pytest_and_before_the_apps():
    code = "import sys; sys.modules['pytest'] = None; import groupcast"
    command = [sys.executable, "-B", "-W", "error", "-c", code]
    done = subprocess.run(command, cwd=HELPER, capture_output=True, check=False, env={})
    assert done.returncode == 0, done.stderr.decode()
