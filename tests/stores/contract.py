"""What the contract tests of the stores share."""

from __future__ import annotations

import pytest

from pushserver_channels.messages import START, MessageId

from .conftest import LIMITED, Subject

FUTURE = MessageId(2**40, 0)


#: The stores with tags that count from 0 in each second; over a layer they do not.
counting = pytest.mark.parametrize("make", ["memory", "redis"], indirect=True)


#: The stores that can limit the number of channels.
limited = pytest.mark.parametrize("make", LIMITED, indirect=True)


async def kept(subject: Subject, channel_id: str = "a") -> list[bytes]:
    """Return the bodies that a subscriber reads one after the other."""
    bodies, after = [], START
    while (message := await subject.store.next(channel_id, after)) is not None:
        assert message.id > after
        bodies.append(message.body)
        after = message.id
    return bodies
