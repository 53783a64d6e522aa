"""`{% groupcast_progress task %}`: a task's progress bar on a page without npm."""

from __future__ import annotations

from typing import Any

from django import template
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from groupcast._configuration import setting
from groupcast._tasks import task_group, ticket

register = template.Library()


@register.simple_tag(takes_context=True)
def groupcast_progress(
    context: template.Context, task: Any, label: str = "", nonce: str = ""
) -> SafeString:
    """The element that shows a task's progress, and the script that brings it to life.

    `task` is an AsyncResult, a GroupResult or an id. `label` names the bar for those who do not see
    it. `nonce` is that of a Content-Security-Policy. Raises TypeError for what is no task.
    """
    user = getattr(context.get("request"), "user", context.get("user"))
    attributes = {
        "group": task_group(task),
        "ticket": ticket(task, user),
        "path": setting("PATH"),
        "label": label,
    }
    return format_html(
        '<script type="module" src="{}progress.js"{}></script>'
        "<groupcast-progress{}></groupcast-progress>",
        setting("CLIENT"),
        format_html(' nonce="{}"', nonce) if nonce else "",
        format_html_join("", ' {}="{}"', ((name, at) for name, at in attributes.items() if at)),
    )
