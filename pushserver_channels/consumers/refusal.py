"""What refuses a transport that a location does not allow."""

from __future__ import annotations

from pushserver_channels.exceptions import NotAcceptable
from pushserver_channels.types import Scope

from .base import Answer
from .event_source import accepts_events
from .subscriber import SubscriberConsumer


class RefusedPollConsumer(SubscriberConsumer):
    """Answers a poll with 406."""

    asked = "polls"

    async def get(self) -> Answer:
        """Refuse it, and say what there is."""
        await self.discard_body()
        raise NotAcceptable(self.asked, ", ".join(self.location.allowed))


class RefusedEventSourceConsumer(RefusedPollConsumer):
    """Answers who asks for server-sent events with 406."""

    asked = "server-sent events"

    @classmethod
    def accepts(cls, scope: Scope) -> bool:
        return accepts_events(scope)
