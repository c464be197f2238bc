"""What visitors may cause at a store that has a limit. Source: streams, section 7."""

from __future__ import annotations

import pytest

from pushserver_channels.hub import hubs
from pushserver_channels.presence.registry import find_presence
from tests.server.streams import leave
from tests.waiting import until

from .visitors import Serving, come, visitor, watch


async def test_publishers_are_not_refused_because_of_visitors(
    serve: Serving, caplog: pytest.LogCaptureFixture
) -> None:
    """The channels that tell of visitors do not count for max_channels."""
    site = serve({"max_channels": 2}, create_on_get=True)
    visitors = [await come(site, f"room{n}", "anna") for n in range(5)]
    store = hubs.get("default").store
    await until(lambda: find_presence("default").presence.changes.are_told)
    await until(lambda: store.count_kept() == (10, 5))
    assert (await site.post("news")).status == 202
    assert (await site.post("other")).status == 202
    assert (await site.post("third")).status == 503
    watching = await watch(site, "room0")
    await watching.until_here("anna")
    await watching.end()
    await leave(*visitors)
    assert not caplog.records


@pytest.mark.parametrize("creates", [False, True])
async def test_a_hidden_page_of_no_channel(serve: Serving, creates: bool) -> None:
    """Who could not listen to a channel, as there is none, is not kept there."""
    site = serve(create_on_get=creates)
    answer = await site.ask("POST", "/updates/room,a?hidden=1", visitor("anna"))
    assert answer.status == 204
    assert len(find_presence("default").presence.changes.channel_ids) == 2 * creates
    await site.post("room")
    answer = await site.ask("POST", "/updates/room,a?hidden=1", visitor("anna"))
    assert answer.status == 204
    assert "room" in find_presence("default").presence.changes.channel_ids
