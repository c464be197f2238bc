"""The location that tells whether a process lives and is ready."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from pushserver_channels import health
from pushserver_channels.exceptions import StoreUnavailable
from pushserver_channels.health import Health
from pushserver_channels.hub import hubs
from tests.server.exchanges import Serve
from tests.waiting import until

pytestmark = pytest.mark.usefixtures("nothing_left")


async def test_a_healthy_process(monitored: Serve) -> None:
    """A process that is well answers 200, with JSON for those who may know more."""
    site = monitored()
    for asked in ("live", "ready"):
        answer = await site.ask("GET", f"/health/{asked}")
        assert answer.status == 200
        assert answer["content-type"] == "application/json"
        assert answer["cache-control"] == "no-cache"
        assert json.loads(answer.body) == {asked: True, "reasons": []}
        assert (await site.ask("HEAD", f"/health/{asked}")).status == 200
        other = await site.ask("GET", f"/health/{asked}", client=["10.0.0.1", 1])
        assert (other.status, other.body) == (200, b"")
    assert (await site.ask("GET", "/health")).status == 299
    assert (await site.ask("GET", "/health/other")).status == 299
    assert (await site.ask("POST", "/health/live")).status == 405


async def check_not_ready(site: Any, *reasons: str) -> None:
    answer = await site.ask("GET", "/health/ready")
    assert answer.status == 503
    assert json.loads(answer.body) == {"ready": False, "reasons": list(reasons)}
    other = await site.ask("GET", "/health/ready", client=["10.0.0.1", 1])
    assert (other.status, other.body) == (503, b"")
    assert (await site.ask("GET", "/health/live")).status == 200


async def test_a_store_that_fails(
    monitored: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process whose store fails or says nothing is not ready, but lives."""
    monkeypatch.setattr(health, "TIMEOUT", 0.05)
    site = monitored()
    store = hubs.get("default").store
    said = "The store 'default' has not answered in time."

    async def fail() -> None:
        raise StoreUnavailable

    monkeypatch.setattr(store, "check_health", fail)
    await check_not_ready(site, said)
    never = asyncio.get_running_loop().create_future()

    async def wait() -> None:
        await asyncio.shield(never)

    monkeypatch.setattr(store, "check_health", wait)
    await check_not_ready(site, said)

    async def break_down() -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(store, "check_health", break_down)
    await check_not_ready(site, said)


async def test_requests_share_the_answer_of_a_store(
    monitored: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Many requests at a time ask the store once."""
    site = monitored()
    asked, checking = [], []
    answering = asyncio.Event()

    async def answer() -> None:
        asked.append(1)
        await answering.wait()

    check_stores = Health.check_stores

    async def count(health: Health) -> dict[str, bool]:
        checking.append(1)
        return await check_stores(health)

    monkeypatch.setattr(hubs.get("default").store, "check_health", answer)
    monkeypatch.setattr(Health, "check_stores", count)
    asking = [site.exchange("GET", "/health/ready").start() for _ in range(50)]
    await until(lambda: len(checking) == 50)
    answering.set()
    assert {(await each.answer()).status for each in asking} == {200}
    assert len(asked) == 1


async def test_a_full_process(monitored: Serve) -> None:
    """A process that holds as much as it may is not ready."""
    site = monitored(max_held=1)
    held = await site.hold("/updates/a")
    await check_not_ready(
        site,
        "The process holds as many subscribers as PUSH_SERVER['max_held'] allows: 1.",
    )
    await site.post("a")
    await held.answer()
    assert (await site.ask("GET", "/health/ready")).status == 200


async def test_a_stopping_process(monitored: Serve) -> None:
    """A process that stops is not ready."""
    site = monitored()
    await site.post("a")
    await hubs.stop()
    await check_not_ready(site, "The server stops.")
