"""Refuse presence channels where their location has no presence.

Source: streams, section 7.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from pushserver.access.permissions import Permission
from pushserver.presence.names import is_presence_channel
from pushserver_channels.exceptions import NoPresence
from pushserver_channels.types import Scope

from .guard import Decider, Decision

_EVERYBODY = Permission()


class ReservedChannels(Decider):
    """Refuses the presence channels of a request, and has the others decided.

    So of several channels a client still has the others.

    Args:
        others: Decides about the other channels, None if everybody may listen.
    """

    def __init__(self, others: Decider | None) -> None:
        self._others = others

    async def decide(
        self, scope: Scope, headers: Mapping[bytes, bytes], channel_ids: Sequence[str]
    ) -> list[Decision]:
        """Return the decision about each channel, as :meth:`Guard.decide` does."""
        others = [each for each in channel_ids if not is_presence_channel(each)]
        if not others:
            raise NoPresence
        decided: Sequence[Decision] = [_EVERYBODY] * len(others)
        if self._others is not None:
            decided = await self._others.decide(scope, headers, others)
        rest = iter(decided)
        return [
            NoPresence() if is_presence_channel(each) else next(rest)
            for each in channel_ids
        ]

    def has_revoked(
        self, decisions: Iterable[Decision], channel_ids: Iterable[str]
    ) -> bool:
        """Return whether a permission was revoked, as :meth:`Guard.has_revoked`."""
        return self._others is not None and self._others.has_revoked(
            decisions, channel_ids
        )
