"""Where the helper finds its settings and secrets."""

import os

import pytest
from django.core.exceptions import ImproperlyConfigured

import groupcast
from conftest import CONFIGURATION

setting = CONFIGURATION.setting


@pytest.fixture(autouse=True)
def project(settings, tmp_path, monkeypatch):
    """A project without settings.GROUPCAST, in a folder of its own."""
    settings.BASE_DIR = tmp_path
    del settings.GROUPCAST
    for name in ("GROUPCAST_API_SECRET", "GROUPCAST_BACKEND_SECRET"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def test_a_missing_secret_is_told_with_all_places_where_it_could_be(project):
    with pytest.raises(ImproperlyConfigured) as raised:
        groupcast.send("a", {"type": "x"}, on_commit=False)
    for part in ("KEY", "GROUPCAST_API_SECRET", str(project / "groupcast.env")):
        assert part in str(raised.value)
    with pytest.raises(ImproperlyConfigured, match="GROUPCAST_BACKEND_SECRET"):
        groupcast.sign("GET", "/")


def test_reads_secrets_from_groupcast_env(project):
    path = project / "groupcast.env"
    path.write_text(
        "# mine\n\nGROUPCAST_API_SECRET=from=file\nexport GROUPCAST_BACKEND_SECRET='b'\n"
    )
    assert (setting("KEY"), setting("SECRET")) == ("from=file", "b")
    path.write_text("GROUPCAST_API_SECRET=renewed\n")
    os.utime(path, (1, 1))
    assert setting("KEY") == "renewed", "a changed file is read again"


def test_settings_come_before_the_environment_and_that_before_the_file(
    project, settings, monkeypatch
):
    project.joinpath("groupcast.env").write_text("GROUPCAST_API_SECRET=file\n")
    monkeypatch.setenv("GROUPCAST_API_SECRET", "environment")
    assert setting("KEY") == "environment"
    settings.GROUPCAST = {"KEY": "settings"}
    assert setting("KEY") == "settings"


def test_another_file_can_be_named(project, settings):
    project.joinpath("other.env").write_text("GROUPCAST_API_SECRET=other\n")
    settings.GROUPCAST = {"ENV_FILE": project / "other.env"}
    assert setting("KEY") == "other"


def test_a_file_that_cannot_be_read_is_told(project):
    project.joinpath("groupcast.env").write_bytes(b"\xff\xfe")
    with pytest.raises(ImproperlyConfigured, match="groupcast.env cannot be read"):
        setting("KEY")


@pytest.mark.parametrize("given", [[], "x", None, {"Api": 1}, {1: 2}])
def test_refuses_settings_of_another_shape(settings, given):
    settings.GROUPCAST = given
    with pytest.raises(ImproperlyConfigured, match="settings.GROUPCAST"):
        setting("API")
