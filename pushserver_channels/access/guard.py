"""Decide who may listen to the channels of a location. Source: streams, section 6."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Protocol

from pushserver.access.bearer import find_tokens
from pushserver.access.permissions import Permission
from pushserver.access.tokens import InvalidToken, read_token
from pushserver.conf import PushServerSettings, SubscriberLocation
from pushserver.presence.names import find_subject
from pushserver_channels.exceptions import (
    AccessDenied,
    GrantExpired,
    PushError,
    Unauthorized,
)
from pushserver_channels.memoize import memoize
from pushserver_channels.protocol import fold_headers
from pushserver_channels.types import Scope

from .authorizer import Authorizer
from .leases import Leases
from .revocations import Revocations

#: What was decided about a channel.
Decision = Permission | PushError


class Decider(Protocol):
    """Decides who may listen to the channels of a request."""

    async def decide(
        self, scope: Scope, headers: Mapping[bytes, bytes], channel_ids: Sequence[str]
    ) -> list[Decision]: ...

    def has_revoked(
        self, decisions: Iterable[Decision], channel_ids: Iterable[str]
    ) -> bool: ...


class Guard(Decider):
    """Decides who may listen to the channels of one location.

    Args:
        location: The location.
        settings: The settings in ``PUSH_SERVER``.
        revocations: The revocations for the store of the location.

    Attributes:
        find_subject: Returns the channel on whose right the right to a channel depends:
            for a presence channel, the one of which it tells.
        leases: Ends the requests and streams whose right to listen has ended.
    """

    def __init__(
        self,
        location: SubscriberLocation,
        settings: PushServerSettings,
        revocations: Revocations,
    ) -> None:
        self._store = location.store
        self._is_signed = bool(location.signed)
        self._authorizer = None
        if location.authorize is not None:
            self._authorizer = Authorizer(location.authorize, settings, revocations)
        self._read_token = memoize(max_size=4096)(read_token)
        self._revocations = revocations
        self.find_subject = find_subject if location.presence else _find_itself
        self.leases = Leases(
            self._ask_again, settings.reauthorize, revocations, self.find_subject
        )

    async def decide(
        self, scope: Scope, headers: Mapping[bytes, bytes], channel_ids: Sequence[str]
    ) -> list[Decision]:
        """Return a permission or an error for each channel.

        Channels are not looked up, so the answer does not tell whether one exists.

        Args:
            scope: The ASGI scope of the request.
            headers: The headers of the request, by name.
            channel_ids: The channels.

        Raises :class:`~pushserver_channels.exceptions.PushError` if all are refused, or
        it could not be found out.
        """
        await self._revocations.start()
        # By the ids in the URL: a token may name the presence channel itself.
        found: dict[str, Decision | None] = {}
        has_token = False
        if self._is_signed:
            authorization = headers.get(b"authorization", b"").decode("latin-1")
            query = scope.get("query_string", b"").decode("latin-1")
            for token in find_tokens(authorization, query):
                has_token = True
                found.update(self._read(token, channel_ids))
        missing = [each for each in dict.fromkeys(channel_ids) if each not in found]
        if missing and self._authorizer is not None:
            subjects = {each: self.find_subject(each) for each in missing}
            asked = list(dict.fromkeys(subjects.values()))
            answers = await self._authorizer.ask(scope, headers, asked)
            found.update({each: answers[of] for each, of in subjects.items()})
            found.update(self._find_ended(found))
        # Of a bad token and a denial the client is told of what it can mend.
        needs_token = self._is_signed and (has_token or self._authorizer is None)
        decisions = [
            found.get(each)
            or (Unauthorized(is_invalid=has_token) if needs_token else AccessDenied())
            for each in channel_ids
        ]
        errors = [each for each in decisions if isinstance(each, PushError)]
        if len(errors) == len(decisions):
            raise errors[0]
        return decisions

    def has_revoked(
        self, decisions: Iterable[Decision], channel_ids: Iterable[str]
    ) -> bool:
        """Return whether a permission was revoked since :meth:`decide` returned it."""
        return any(
            isinstance(decision, Permission)
            and self._revocations.refuses(decision, self.find_subject(channel_id))
            for decision, channel_id in zip(decisions, channel_ids, strict=True)
        )

    def _read(self, token: str, channel_ids: Iterable[str]) -> dict[str, Permission]:
        """Return the permission of a token for each of its channels."""
        try:
            content = self._read_token(token)
        except InvalidToken:
            return {}
        if content.store != self._store or content.permission.until <= time.time():
            return {}
        return {
            each: content.permission
            for each in channel_ids
            if not content.channel_ids.isdisjoint((each, self.find_subject(each)))
            and not self._revocations.refuses(
                content.permission, self.find_subject(each)
            )
        }

    def _find_ended(self, found: Mapping[str, Decision | None]) -> dict[str, Decision]:
        """Return an error for each permission that has ended, or was revoked since."""
        errors: dict[str, Decision] = {}
        for channel_id, decision in found.items():
            if isinstance(decision, Permission):
                subject = self.find_subject(channel_id)
                if self._revocations.refuses(decision, subject):
                    errors[channel_id] = AccessDenied()
                elif decision.until <= time.time():
                    errors[channel_id] = GrantExpired()
        return errors

    async def _ask_again(self, scope: Scope, channel_id: str) -> Permission | None:
        """Return the permission of a subscriber that listens, None if it has ended."""
        assert self._authorizer is not None, "Only what it granted is asked again."
        headers = fold_headers(scope["headers"])
        subject = self.find_subject(channel_id)
        return (await self._authorizer.ask(scope, headers, [subject]))[subject]


def _find_itself(channel_id: str) -> str:
    """Return the channel, whose right depends on no other one."""
    return channel_id


def make_guards(
    settings: PushServerSettings,
) -> Callable[[SubscriberLocation], Guard | None]:
    """Return a function that returns the guard of a location, None if it has none.

    Args:
        settings: The settings in ``PUSH_SERVER``.
    """
    revocations: dict[str, Revocations] = {}
    guards: dict[int, Guard] = {}
    for location in settings.locations:
        if isinstance(location, SubscriberLocation) and location.is_guarded:
            of_store = revocations.setdefault(
                location.store, Revocations(location.store, settings.token_max_age)
            )
            guards[id(location)] = Guard(location, settings, of_store)
    return lambda location: guards.get(id(location))
