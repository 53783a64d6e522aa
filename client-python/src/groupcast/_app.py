"""The Django app."""

from __future__ import annotations

from pathlib import Path

from django.apps import AppConfig
from django.core import checks

from groupcast._checks import CHECKS


class GroupcastConfig(AppConfig):
    """In INSTALLED_APPS "groupcast"; of the one file, "groupcast.GroupcastConfig"."""

    name = "groupcast"
    verbose_name = "Groupcast"
    # A folder that does not exist. The one file lies beside manage.py, and by default Django would
    # take templates/ and static/ there for the app's.
    path = str(Path(__file__).resolve().with_suffix(""))

    def ready(self) -> None:
        """Registers what `manage.py check` says."""
        for check in CHECKS:
            checks.register(check, "groupcast")
