"""The helper as it is installed: wheel, source distribution, and the one file."""

import os
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from pathlib import Path

import pytest

from conftest import BINARY, ROOT

PYTHON = ROOT / "client-python"
SETTINGS = """
INSTALLED_APPS += ["groupcast"]
"""
URLS = """
from django.urls import include
urlpatterns += [path("groupcast/", include("groupcast"))]
"""
TEST = """
import groupcast

def test_records(groupcast_recorder):
    groupcast.send("user_7", {"type": "x"}, on_commit=False)
    assert groupcast_recorder.to_group("user_7") == [{"type": "x"}]
"""


def run(*command, **options):
    """stdout and stderr of a command that succeeds."""
    ours = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    options.setdefault("env", ours)
    merged = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    done = subprocess.run([str(part) for part in command], check=False, **merged, **options)
    assert done.returncode == 0, done.stdout
    return done.stdout


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """The folder with wheel and source distribution."""
    folder = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "hatchling", "build", "--directory", folder, cwd=PYTHON)
    return folder


def test_the_one_file_is_what_the_package_gives():
    run(sys.executable, PYTHON / "single.py", "--check")


def test_wheel_and_source_distribution_have_code_types_and_licences(built):
    [wheel], [source] = built.glob("*.whl"), built.glob("*.tar.gz")
    modules = {path.name for path in (PYTHON / "src/groupcast").rglob("*.py")} | {"py.typed"}
    licences = {"LICENSE-APACHE", "LICENSE-MIT"}
    packed = {Path(name).name for name in zipfile.ZipFile(wheel).namelist()}
    assert modules | licences <= packed
    with tarfile.open(source) as archive:
        # A link to the repository's licences would lead nowhere.
        files = {Path(member.name).name for member in archive if member.isfile()}
    assert modules | licences | {"README.md"} <= files


def test_a_new_project_uses_the_installed_wheel_and_what_init_writes(built, tmp_path):
    environment, site = tmp_path / "venv", tmp_path / "site"
    run(sys.executable, "-m", "venv", "--without-pip", environment)
    python = environment / "bin/python"
    pip = [sys.executable, "-m", "pip", "--python", python]
    run(*pip, "install", "--quiet", "--no-index", "--no-deps", *built.glob("*.whl"))
    # Django and pytest are this environment's, so that nothing is downloaded.
    [packages] = environment.glob("lib/python*/site-packages")
    packages.joinpath("shared.pth").write_text(sysconfig.get_path("purelib"))

    site.mkdir()
    run(python, "-m", "django", "startproject", "shop", site, cwd=tmp_path)
    with site.joinpath("shop/settings.py").open("a") as settings:
        settings.write(SETTINGS)
    with site.joinpath("shop/urls.py").open("a") as urls:
        urls.write(URLS)
    ours = {name: value for name, value in os.environ.items() if not name.startswith("GROUPCAST_")}
    printed = run(BINARY, "init", "django", "--python", python, cwd=site, env=ours)
    assert '"groupcast"]' in printed, printed
    assert {path.name for path in site.glob("g*")} == {"gateway.toml", "groupcast.env"}
    assert "/groupcast/connect" in run(BINARY, "check", cwd=site, env=ours)
    site.joinpath("test_shop.py").write_text(TEST)
    assert "no issues" in run(python, "-W", "error", "manage.py", "check", cwd=site)
    settings = ["--ds=shop.settings", "-p", "no:cacheprovider", "--rootdir", site]
    assert "1 passed" in run(python, "-m", "pytest", *settings, site, cwd=site)
