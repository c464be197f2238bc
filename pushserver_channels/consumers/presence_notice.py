"""The notice of a page that it is hidden. Source: streams, section 7."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from functools import partial

from pushserver.conf import Location, SubscriberLocation
from pushserver_channels.access import Guard
from pushserver_channels.cors import CrossOrigin
from pushserver_channels.exceptions import ChannelNotFound, StoreUnavailable
from pushserver_channels.held import HeldLimits
from pushserver_channels.hub import Observer
from pushserver_channels.presence import LocationPresence
from pushserver_channels.presence.observer import says_hidden
from pushserver_channels.types import Scope

from .base import Answer, ChooseHeaders, MakeConsumer, Site
from .subscriber import SubscriberConsumer


class PresenceNoticeConsumer(SubscriberConsumer):
    """Answers a POST to a subscriber's URL with ``hidden=1`` in its query.

    Args:
        presence: Notes who is on the channels.
        location: As of :class:`SubscriberConsumer`, as are the others.
    """

    holds = False
    methods = {"POST": "get"}

    @classmethod
    def accepts(cls, scope: Scope) -> bool:
        return (
            scope["type"] == "http"
            and scope["method"] == "POST"
            and says_hidden(scope.get("query_string", b""))
        )

    @classmethod
    def prepare(cls, location: Location, site: Site) -> MakeConsumer:
        assert isinstance(location, SubscriberLocation), "By conf.locations."
        headers = CrossOrigin.of(location, site.headers).headers
        presence = site.find_presence(location)
        assert presence is not None, "By conf.locations."
        guard, limits = site.find_guard(location), site.limits
        return partial(cls, presence, location, headers, (), guard, limits)

    def __init__(
        self,
        presence: LocationPresence,
        location: SubscriberLocation,
        choose_headers: ChooseHeaders,
        observers: Sequence[Observer],
        guard: Guard | None,
        limits: HeldLimits,
        channel_id: str | tuple[str, ...],
        fault: str | None,
    ) -> None:
        several = channel_id if isinstance(channel_id, tuple) else (channel_id,)
        super().__init__(
            location,
            choose_headers,
            observers,
            guard,
            limits,
            False,
            several[0] if several else "",
            fault,
        )
        self.channel_ids = several
        self._presence = presence

    async def get(self) -> Answer:
        """Keep the subscriber on the channels for a while.

        On a channel that does not exist nobody is, so there is nobody to keep.
        """
        await self.discard_body()
        store, create = self.find_hub().store, self.location.create_on_get
        for index, channel_id in enumerate(self.channel_ids):
            permission = self.find_permission(index)
            if self.decisions and permission is None:
                continue
            with suppress(StoreUnavailable):  # As who is held stays meanwhile.
                try:
                    await store.position(channel_id, 0, create=create)
                except ChannelNotFound:
                    continue
            self._presence.keep(channel_id, permission)
        return self.build_answer(204, [])
