"""Render templates whose HTML is sent as an update."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from asgiref.sync import sync_to_async
from django.core.exceptions import SynchronousOnlyOperation
from django.http import HttpRequest
from django.template.loader import render_to_string

from .event_loops import runs_in_event_loop

HTML = "text/html; charset=utf-8"

#: The name of a template, or names of which the first that exists is used.
TemplateName = str | Sequence[str]


def render_html(
    template: TemplateName,
    context: dict[str, Any] | None,
    request: HttpRequest | None,
) -> str:
    """Return a template as text. Raises as :func:`~pushserver.updates.render_update`"""
    if runs_in_event_loop():
        raise SynchronousOnlyOperation(
            "render_update() was called in an async function, where its template and"
            " its message would block the event loop. Write 'await"
            " arender_update(...)' instead."
        )
    text: str = render_to_string(template, context, request)
    return text


async def arender_html(
    template: TemplateName,
    context: dict[str, Any] | None,
    request: HttpRequest | None,
) -> str:
    """Return a template as text, rendered in a thread: it may query the database."""
    return await sync_to_async(render_html)(template, context, request)
