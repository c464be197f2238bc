"""End what is held, before the server stops."""

from __future__ import annotations

import json

import pytest

from pushserver_channels.hub import hubs
from tests.server import rules
from tests.server.exchanges import Serve, until_held
from tests.server.streams import EVENTS, open_socket, open_stream, until_live

pytestmark = pytest.mark.usefixtures("nothing_left")


async def test_all_transports_end_as_after_their_time(monitored: Serve) -> None:
    """Polls are answered as after timeout, and streams end as after their duration."""
    site = monitored(subscriber={"separator": ","}, drain=0.2)
    polls = [await site.hold("/updates/a") for _ in range(3)]
    several = site.exchange("GET", "/updates/a,b").start()
    batch = site.exchange("GET", "/updates/a?batch=1", [EVENTS]).start()
    stream = await open_stream(site, "/updates/a")
    socket = await open_socket(site, "/updates/c", subprotocols=["ws+meta.pushserver"])
    await until_held("a", 6)
    await until_live("c")
    await hubs.draining.end_held()
    for poll in (*polls, several):
        assert (await poll.answer()).status == 304
    answer = await batch.answer()
    assert (answer.status, b"push-" in answer.body) == (200, False)
    await stream.until_ended()
    assert "push-" not in stream.text
    assert await socket.until_closed() == 4408
    ready = await site.ask("GET", "/health/ready")
    assert ready.status == 503
    assert json.loads(ready.body)["reasons"] == [
        "The process is draining: it ends what it holds."
    ]
    assert (await site.ask("GET", "/health/live")).status == 200


async def test_requests_are_served_while_it_drains(monitored: Serve) -> None:
    """A process that drains answers new requests as before."""
    site = monitored(drain=0.1)
    await site.post("a")
    await hubs.draining.end_held()
    held = await site.hold("/updates/b")
    assert (await site.post("b")).status == 201
    assert (await held.answer()).body == b"news"


async def test_revocations_are_read_on(monitored: Serve) -> None:
    """The push server's own subscription to revocations does not end."""
    path = f"{rules.__name__}.may_listen"
    site = monitored(subscriber={"authorize": path}, drain=0.1)
    held = site.exchange("GET", "/updates/7-x", [(b"x-user", b"7")]).start()
    await until_held("7-x")
    waiting = {channel_id for hub in hubs for channel_id in hub.waiting}
    assert waiting == {"7-x", "revocations"}
    held_here = [each for hub in hubs for each in hub.list_held()]
    assert [each.channel_id for each in held_here] == ["7-x"]
    await hubs.draining.end_held()
    assert (await held.answer()).status == 304
    await hubs.stop()


@pytest.mark.parametrize(("version", "closes"), [("1.1", True), ("2", False)])
async def test_connections_end_with_the_answers_of_a_drain(
    monitored: Serve, version: str, closes: bool
) -> None:
    """A proxy keeps no connection on which it could send a message too late."""
    site = monitored(drain=0.1)
    answers = []
    for _ in range(2):
        for method, path in (("POST", "/send-update/a"), ("GET", "/updates/a")):
            answers.append(await site.ask(method, path, http_version=version))
        await hubs.draining.end_held()
    wanted = [None, None, *(["close"] * 2 if closes else [None] * 2)]
    assert [each["connection"] for each in answers] == wanted
