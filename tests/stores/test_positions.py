"""Where a client begins, and what it gets if it is behind; on each store."""

from __future__ import annotations

import pytest

from pushserver_channels.exceptions import ChannelNotFound
from pushserver_channels.messages import START, MessageId

from .conftest import MakeSubject


async def test_position_before_the_newest_message(make: MakeSubject) -> None:
    subject = make()
    position = subject.store.position
    assert await position("a", 0) == MessageId(0, 0)
    assert await position("a", 3) == MessageId(0, 0)
    messages = [await subject.append("a", b"%d" % number) for number in range(5)]
    assert await position("a", 0) == messages[4].id
    assert await position("a", 1) == messages[3].id
    assert await position("a", 3) == messages[1].id
    assert await position("a", 6) == MessageId(0, 0)
    after = await position("a", 3)
    assert await subject.store.page("a", after, 10) == messages[2:]
    assert messages[2].gap_after(after) is None


async def test_no_gap_after_dropped_messages(make: MakeSubject) -> None:
    """A client that begins with the newest messages gets no gap."""
    subject = make(max_messages=2)
    messages = [await subject.append("a", b"%d" % number) for number in range(5)]
    after = await subject.store.position("a", 2)
    assert after == messages[2].id
    assert await subject.store.page("a", after, 10) == messages[3:]


async def test_position_on_a_missing_channel(make: MakeSubject) -> None:
    """A missing channel is created, or reported as not found."""
    subject = make()
    with pytest.raises(ChannelNotFound):
        await subject.store.position("a", 0, create=False)
    await subject.store.position("a", 0)
    assert (await subject.store.info("a")).messages == 0


async def test_page_has_a_maximum_size(make: MakeSubject) -> None:
    """The size of a page is bounded, except for stores in this process."""
    subject = make()
    messages = [await subject.append("a", b"a" * 100_000) for _ in range(8)]
    messages.append(await subject.append("a", b"a" * 1_000_000))
    messages.append(await subject.append("a", b"a"))
    after, got, sizes = START, [], []
    while page := await subject.store.page("a", after, 100):
        got += page
        after = page[-1].id
        sizes.append(len(page))
    assert got == messages
    assert sizes in ([10], [3, 3, 3, 1])
