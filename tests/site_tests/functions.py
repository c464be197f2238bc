"""The tests of the site, as pytest runs them, with its fixtures and a browser."""

from __future__ import annotations

import shutil
import urllib.request
from typing import Any

import pytest
from django.contrib.auth.models import Group
from playwright.async_api import async_playwright

from pushserver.test import assertNothingPushed, assertPushed
from pushserver.updates import asend_update, send_update


def test_sent(sent_updates: Any) -> None:
    assert sent_updates == []
    send_update("news", [1])
    assert [(each.channel_id, each.data) for each in sent_updates] == [("news", [1])]


def test_sent_again() -> None:
    assertNothingPushed()


def test_database_in_memory(push_live_server: str, sent_updates: Any) -> None:
    Group.objects.create(name="made by the test")
    with urllib.request.urlopen(f"{push_live_server}/groups/one") as answer:
        assert answer.status == 200
    assert Group.objects.count() == 2
    assert len(sent_updates) == 1


@pytest.mark.asyncio
async def test_page(push_live_server: str) -> None:
    """A page in Chromium hears what the test publishes."""
    chromium = shutil.which("chromium")
    async with async_playwright() as playwright:
        options: dict[str, Any] = {
            "executable_path": chromium,
            "args": ["--no-sandbox"],
        }
        browser = await playwright.chromium.launch(**options)
        page = await browser.new_page()
        await page.goto(f"{push_live_server}/login/anna")
        await page.evaluate(
            """() => new Promise((done) => {
                const source = new EventSource("/updates/anna");
                window.heard = new Promise((hear) => {
                    source.onmessage = ({ data }) => hear(data);
                });
                source.onopen = done;
            })"""
        )
        await asend_update("anna", {"text": "hello"})
        assert await page.evaluate("heard") == '{"text": "hello"}'
        await browser.close()
    assertPushed("anna", {"text": "hello"}, count=1)
