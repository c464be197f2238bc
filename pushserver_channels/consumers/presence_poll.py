"""Long polling at a location with presence. Source: streams, section 7."""

from __future__ import annotations

from pushserver.presence.names import is_presence_channel
from pushserver_channels.messages import Message
from pushserver_channels.presence.state import BEFORE_STATE, misses_changes

from .base import Answer
from .long_poll import LongPollConsumer


class PresencePollConsumer(LongPollConsumer):
    """Holds the request until there is a message."""

    def build_next(self, message: Message | None) -> Answer:
        """Return the answer with the next message, or without one.

        If messages of a presence channel were missed while the request was held, the
        answer has the position at which the client is given the state.
        """
        if (
            message is not None
            and is_presence_channel(self.channel_id)
            and misses_changes(message, self.seen)
        ):
            return self.build_message(None, BEFORE_STATE, self.location.timeout_status)
        return super().build_next(message)
