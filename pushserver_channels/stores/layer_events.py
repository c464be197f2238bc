"""The events that stores over a channel layer send to each other."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pushserver_channels.messages import Message, MessageId

from .fields import unpack_fields


class EventCounts:
    """The numbers of the last events that were received from each process.

    Processes number their events, so that others notice that they missed one.
    """

    def __init__(self) -> None:
        self._counts: dict[str, int] = {}

    def take(self, sender: str, number: int) -> tuple[bool, bool]:
        """Take the number of an event.

        Returns whether the event was received before, as a layer that was unavailable
        may send it again, and whether events before it were missed.
        """
        last = self._counts.get(sender, number - 1)
        self._counts[sender] = max(number, last)
        return number == last, number > last + 1


def read_message(event: Mapping[str, Any]) -> Message:
    """Return the message of an event, in which layers allow only plain types.

    The previous release expects a list of exactly four items, so newer fields are
    outside of this list.
    """
    message_id, body, content_type, previous, *_ = event["message"]
    return Message(
        MessageId(*message_id),
        body,
        content_type,
        None if previous is None else MessageId(*previous),
        **unpack_fields(event.get("fields", "")),
    )
