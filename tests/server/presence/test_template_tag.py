"""``{% presence_count %}``."""

from __future__ import annotations

import asyncio

import pytest
from django.template import Context, Template

from tests.server.streams import leave

from .visitors import Serving, come, watch


def render(tag: str) -> str:
    text: str = Template("{% load pushserver %}" + tag).render(Context({"id": "room"}))
    return text


async def test_a_template_shows_how_many_are_there(serve: Serving) -> None:
    site = serve()
    watching = await watch(site, "room")
    visitors = [await come(site, "room", "anna"), await come(site, "room", None)]
    await watching.until_here("anna", others=1)
    assert await asyncio.to_thread(render, "{% presence_count id %}") == "2"
    assert await asyncio.to_thread(render, '{% presence_count "other" %}') == "0"
    # In an async view it cannot be found out without waiting.
    assert render("{% presence_count id %}") == ""
    await leave(*visitors)
    await watching.end()


def test_a_page_does_not_fail_without_a_push_server(
    serve: Serving, caplog: pytest.LogCaptureFixture
) -> None:
    serve()
    assert render("[{% presence_count id %}]") == "[]"
    assert "room" in caplog.text
