"""Interval polling: requests that are answered at once."""

from __future__ import annotations

from .base import Answer
from .positions import find_start_position
from .subscriber import SubscriberConsumer


class IntervalPollConsumer(SubscriberConsumer):
    """Answers at once, with 304 if there is no message yet."""

    holds = False

    async def get(self) -> Answer:
        """Return an answer with the next message, or 304."""
        await self.discard_body()
        hub, create = self.find_hub(), self.location.create_on_get
        start = find_start_position(
            self.headers, self.scope.get("query_string", b""), self.location
        )
        seen = (
            await hub.store.position(self.channel_id, start, create=create)
            if isinstance(start, int)
            else start
        )
        message = await hub.next(self.channel_id, seen, create=create)
        self.accept()
        return self.build_message(message, seen, 304)
