"""POSTs with an idempotency key, at two processes that share a store."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
from django.conf import LazySettings

from pushserver.updates import send_update
from tests import http
from tests.servers import ServerProcess, daphne, wait_until_held
from tests.valkey import Valkey

from .conftest import COMPLAINTS, settings_on

JSON = {"Accept": "application/json"}


@pytest.fixture(scope="module")
def conf() -> Iterator[dict[str, Any]]:
    """The settings of servers that share a store in Redis."""
    with Valkey() as store:
        yield settings_on(store)


@pytest.fixture(scope="module")
def servers(conf: dict[str, Any]) -> Iterator[tuple[ServerProcess, ServerProcess]]:
    """Two processes that share a store."""
    with daphne(conf) as one, daphne(conf) as other:
        yield one, other
        for server in (one, other):
            said = server.log()
            assert not any(complaint in said for complaint in COMPLAINTS), said


def post(server: ServerProcess, channel_id: str, key: str) -> httpx.Response:
    """Publish a message with a key."""
    url = f"{server.url}/send-update/{channel_id}"
    return http.post(url, content=b"news", headers={**JSON, "Idempotency-Key": key})


def test_other_process_answers_alike(
    servers: tuple[ServerProcess, ServerProcess],
    conf: dict[str, Any],
    settings: LazySettings,
    channel_id: str,
) -> None:
    """All processes give the same answer, whichever has the subscribers."""
    one, other = servers
    settings.PUSH_SERVER = conf
    with ThreadPoolExecutor(3) as threads:
        url = f"{one.url}/updates/{channel_id}"
        held = [threads.submit(http.get, url, timeout=30) for _ in range(3)]
        wait_until_held(f"{one.url}/send-update/{channel_id}", 3)
        first = post(one, channel_id, "order-7")
        assert [each.result(30).content for each in held] == [b"news"] * 3
    assert first.status_code == 201
    assert first.json()["subscribers"] == 3
    for server in (one, other, one):
        again = post(server, channel_id, "order-7")
        assert (again.status_code, again.content) == (201, first.content)
        assert again.headers["Idempotency-Key"] == "order-7"
    receipt = send_update(channel_id, 1, idempotency_key="order-7")
    assert receipt is not None
    assert (receipt.status, receipt.info) == (201, first.json())
    assert post(other, channel_id, "order-8").json()["messages"] == 2


async def test_posts_at_both_processes_at_once(
    servers: tuple[ServerProcess, ServerProcess], channel_id: str
) -> None:
    """Of many POSTs with one key that arrive at once, one is published."""
    posts = (
        asyncio.to_thread(post, servers[number % 2], channel_id, "order-7")
        for number in range(20)
    )
    answers = await asyncio.gather(*posts)
    assert len({each.content for each in answers}) == 1
    assert answers[0].json()["messages"] == 1
