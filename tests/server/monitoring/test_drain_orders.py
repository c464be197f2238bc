"""Orders to drain and to serve again, which do not stop the server."""

from __future__ import annotations

import asyncio
import json
import logging
import socket
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.test import override_settings

from pushserver.draining import DrainError, adrain
from pushserver_channels.drains import DrainOrders
from pushserver_channels.hub import hubs
from pushserver_channels.process_names import is_meant, name_process
from tests.server.exchanges import Serve

REDIS = {"type": "redis", "url": "redis://127.0.0.1:1/0"}


def order(process: str | None, drains: bool = True) -> bytes:
    return json.dumps({"process": process, "drains": drains}).encode()


@pytest.mark.usefixtures("nothing_left")
async def test_later_requests_end_until_it_is_undone(monitored: Serve) -> None:
    """What comes to a draining process is served and ended, until it is undone."""
    site = monitored(drain=0.05)
    orders = DrainOrders("default")
    first = await site.hold("/updates/a")
    orders.apply(order(name_process()))
    assert (await first.answer()).status == 304
    assert (await site.ask("GET", "/health/ready")).status == 503
    assert (await (await site.hold("/updates/a")).answer()).status == 304
    orders.apply(order(socket.gethostname()))  # Once more, which changes nothing.
    orders.apply(order(None, drains=False))
    assert (await site.ask("GET", "/health/ready")).status == 200
    held = await site.hold("/updates/a")
    await site.post("a")
    assert (await held.answer()).status == 200


@pytest.mark.usefixtures("nothing_left")
async def test_a_process_that_is_about_to_stop_does_not_serve_again(
    monitored: Serve,
) -> None:
    """After SIGTERM a drain cannot be undone."""
    site = monitored(drain=0.05)
    held = await site.hold("/updates/a")
    await hubs.draining.end_held()
    DrainOrders("default").apply(order(None, drains=False))
    assert (await held.answer()).status == 304
    assert (await site.ask("GET", "/health/ready")).status == 503


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"{}", b'{"process": null}', b"[" * 100_000, b"\xff"]
)
async def test_a_malformed_order_is_logged(
    body: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    """What is no order changes nothing."""
    hubs.serve()
    DrainOrders("default").apply(body)
    assert not hubs.draining.is_active
    assert [each.levelno for each in caplog.records] == [logging.ERROR]


def test_for_whom_an_order_is() -> None:
    """An order is for a process, for those of a machine, or for all."""
    assert is_meant("web1:4711", None)
    assert is_meant("web1:4711", "web1")
    assert is_meant("web1:4711", "web1:4711")
    assert not is_meant("web1:4711", "web1:471")
    assert not is_meant("web1:4711", "web")
    assert not is_meant("web1:4711", "4711")


@pytest.mark.parametrize(
    ("conf", "reason"),
    [
        ({"store": REDIS}, r"\['drain'\] is not set"),
        ({"drain": 10}, "share no store"),
        ({"store": REDIS, "drain": 10}, "Redis at redis://127.0.0.1:1/0"),
    ],
)
async def test_why_nobody_was_told(conf: dict[str, Any], reason: str) -> None:
    """The command says what is missing."""
    with override_settings(PUSH_SERVER=conf):
        with pytest.raises(DrainError, match=reason):
            await adrain(None)
        with pytest.raises(CommandError, match=reason):
            await asyncio.to_thread(call_command, "pushserver_drain")
