from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pushserver_channels.messages import START, ChannelInfo, Message, MessageId

IDS = st.builds(MessageId, st.integers(0, 2**33), st.integers(0, 2**40))


def message(previous: MessageId | None) -> Message:
    return Message(MessageId(1000, 5), b"body", None, previous)


def test_id_as_text() -> None:
    """An id is written time:tag."""
    assert str(MessageId(1_795_350_764, 1)) == "1795350764:1"


@given(IDS, IDS)
def test_order_of_ids(one: MessageId, other: MessageId) -> None:
    """Ids are ordered by time, and inside a second by tag as a number."""
    by_time = (one.time > other.time) - (one.time < other.time)
    by_tag = (one.tag > other.tag) - (one.tag < other.tag)
    assert (one > other) - (one < other) == (by_time or by_tag)


@given(IDS)
def test_start_is_before_every_id(any_id: MessageId) -> None:
    """START is before every message id."""
    assert any_id > START


@pytest.mark.parametrize(
    ("last_seen", "previous", "gap"),
    [
        # Nothing was missed: the client has the previous message.
        (MessageId(1000, 4), MessageId(1000, 4), None),
        (MessageId(999, 0), MessageId(999, 0), None),
        # Messages were missed: the gap is the newest one.
        (MessageId(1000, 3), MessageId(1000, 4), MessageId(1000, 4)),
        (MessageId(999, 9), MessageId(1000, 4), MessageId(1000, 4)),
        (MessageId(1000, 9), MessageId(1000, 10), MessageId(1000, 10)),
        (MessageId(1, 0), MessageId(1000, 4), MessageId(1000, 4)),
        # A date without a tag is before its second.
        (MessageId(1000, -1), MessageId(1000, 4), MessageId(1000, 4)),
        (MessageId(1000, -1), MessageId(999, 9), None),
        # The first message of a channel has none before it.
        (MessageId(999, 9), None, None),
        # The channel never gave this id, so what came after it is unknown.
        (MessageId(2000, 0), MessageId(1000, 4), MessageId(1000, 4)),
        (MessageId(1000, 5), MessageId(1000, 4), MessageId(1000, 4)),
        (MessageId(1000, 3), MessageId(1000, 1), MessageId(1000, 1)),
        (MessageId(999, 1), MessageId(998, 4), MessageId(998, 4)),
        (MessageId(2000, 0), None, None),
        (MessageId(999, 0), MessageId(998, 4), MessageId(998, 4)),
        # A date without a tag is a time: the client wants what is published from then.
        (MessageId(999, -1), MessageId(998, 4), None),
        (MessageId(2000, -1), MessageId(1000, 4), None),
        # A client that starts has missed nothing.
        (START, MessageId(1000, 4), None),
        (MessageId(0, 0), MessageId(1000, 4), None),
        (MessageId(0, -1), MessageId(1000, 4), None),
    ],
)
def test_gaps(
    last_seen: MessageId, previous: MessageId | None, gap: MessageId | None
) -> None:
    """A gap is the newest message that a client with a last message has missed."""
    assert message(previous).gap_after(last_seen) == gap


def test_messages_and_infos_are_immutable() -> None:
    """Messages and channel info are immutable."""
    info = ChannelInfo(messages=0, requested=-1, last_message_id=MessageId(0, 0))
    with pytest.raises(AttributeError):
        message(None).body = b"other"  # type: ignore[misc]
    with pytest.raises(AttributeError):
        info.subscribers = 1  # type: ignore[misc]


def test_info_from_a_store_has_no_subscribers() -> None:
    """The channel info from a store has no subscribers."""
    info = ChannelInfo(messages=0, requested=-1, last_message_id=MessageId(0, 0))
    assert info.subscribers == 0
