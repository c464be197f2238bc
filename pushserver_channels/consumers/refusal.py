"""Consumers that refuse a transport that a location does not allow."""

from __future__ import annotations

from pushserver_channels.counters import counters
from pushserver_channels.exceptions import NotAcceptable
from pushserver_channels.types import Scope

from .base import Answer
from .event_source import accepts_events
from .subscriber import SubscriberConsumer


class RefusedPollConsumer(SubscriberConsumer):
    """Answers a poll with 406."""

    holds = False
    asked = "polls"

    async def get(self) -> Answer:
        """Refuse the request, and name the allowed transports."""
        await self.discard_body()
        raise NotAcceptable(self.asked, ", ".join(self.location.allowed))


class RefusedEventSourceConsumer(RefusedPollConsumer):
    """Answers a request for server-sent events with 406."""

    asked = "server-sent events"
    counts = counters.transports["eventsource"]

    @classmethod
    def accepts(cls, scope: Scope) -> bool:
        return accepts_events(scope)
