"""Interval polling: requests that are answered at once."""

from __future__ import annotations

from pushserver_channels.protocol import parse_message_id

from .base import Answer
from .subscriber import SubscriberConsumer


class IntervalPollConsumer(SubscriberConsumer):
    """Answers at once, with 304 if there is no message yet."""

    async def get(self) -> Answer:
        """Return an answer with the next message, or 304."""
        await self.discard_body()
        seen = parse_message_id(self.headers)
        message = await self.find_hub().next(
            self.channel_id, seen, create=self.location.create_on_get
        )
        return self.build_message(message, seen, 304)
