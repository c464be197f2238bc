"""The base class of the consumers that answer subscribers."""

from __future__ import annotations

import asyncio
from abc import abstractmethod
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import ClassVar

from pushserver.access.permissions import Permission
from pushserver.conf import Location, SubscriberLocation
from pushserver_channels.access import Decider, Guard
from pushserver_channels.access.guard import Decision
from pushserver_channels.client_connection import find_connection
from pushserver_channels.cors import CrossOrigin
from pushserver_channels.counters import TransportCounts, counters
from pushserver_channels.exceptions import (
    AuthorizationUnavailable,
    BodyTooLarge,
    ClientDisconnected,
    PushError,
    ServerStopping,
    TooManyHeld,
    find_reason,
)
from pushserver_channels.held import HeldLimits
from pushserver_channels.hub import Hub, Observer
from pushserver_channels.log_details import describe_request
from pushserver_channels.messages import Message, MessageId
from pushserver_channels.presence import find_presence_of
from pushserver_channels.presence.state import PresenceReads
from pushserver_channels.protocol import (
    Headers,
    build_message_headers,
    build_message_id,
)
from pushserver_channels.push_location import build_push_location
from pushserver_channels.stores import Store

from .base import (
    NO_CACHE,
    Answer,
    ChooseHeaders,
    MakeConsumer,
    PushConsumer,
    Site,
    is_disconnect,
)
from .bodies import MAX_SUBSCRIBER_BODY

#: After these the connection is closed on every server.
OVER_LIMIT = (BodyTooLarge, TooManyHeld)


def find_end(error: BaseException) -> str:
    """Return the word in metrics for the error that ended a request."""
    if isinstance(error, asyncio.CancelledError):
        return "stopping"
    return "client" if is_disconnect(error) else find_reason(error)


def find_reads(hub: Hub, location: SubscriberLocation) -> Store | PresenceReads:
    """Return what reads the channels of a location.

    Args:
        hub: The hub of its store.
        location: The location.
    """
    if not location.presence:
        return hub.store
    return find_presence_of(hub, location.store).reads


class SubscriberConsumer(PushConsumer):
    """Answers a subscriber's request with the next message. Source: protocol, 3.1.

    Args:
        location: The location.
        choose_headers: Returns the headers of every answer, given the request's
            ``Origin``.
        observers: Notified of the subscribers that start and stop waiting.
        guard: Decides who may listen, None if everybody may.
        limits: Counts what subscribers hold.
        watched: Whether a disconnect must be noticed as soon as the request is held.
        channel_id: The channel id in the URL.
        fault: Why the channel id is invalid, None if it is valid.
    """

    location: SubscriberLocation
    observers: Sequence[Observer]
    guard: Decider | None
    #: What the guard has decided about each channel, empty if everybody may listen.
    decisions: Sequence[Decision] = ()
    #: Whether a GET may be held, and counts until it has ended.
    holds: ClassVar[bool] = True
    #: Counts the requests and the messages that are sent.
    counts: ClassVar[TransportCounts] = counters.transports["poll"]
    #: Whether the request was accepted, and is counted so.
    is_accepted = False
    #: The client for which the request counts, None if it does not count.
    counts_for: str | None = None
    methods = {"GET": "get", "OPTIONS": "options"}
    answers_cancellation = True

    @classmethod
    def prepare(cls, location: Location, site: Site) -> MakeConsumer:
        assert isinstance(location, SubscriberLocation), "Only these have subscribers."
        headers = CrossOrigin.of(location, site.headers).headers
        observers, guard = site.find_observers(location), site.find_guard(location)
        limits = site.limits
        return partial(cls, location, headers, observers, guard, limits, True)

    def __init__(
        self,
        location: SubscriberLocation,
        choose_headers: ChooseHeaders,
        observers: Sequence[Observer],
        guard: Guard | None,
        limits: HeldLimits,
        watched: bool,
        channel_id: str,
        fault: str | None,
    ) -> None:
        self.location = location
        self.choose_headers = choose_headers
        self.observers = observers
        self.guard = guard
        self.limits = limits
        self.watched = watched
        self.channel_id = channel_id
        self.channel_ids: Sequence[str] = (channel_id,)
        self.fault = fault

    def build_common_headers(self) -> Headers:
        headers = super().build_common_headers()
        if self.location.separator is None:
            return headers
        root_path = self.scope.get("root_path") or ""
        return [*headers, *build_push_location(self.location, root_path)]

    def find_handler(self, name: str) -> Callable[[], Awaitable[Answer | None]]:
        if name == "get":
            if self.holds:
                # Before anything is spent on the request.
                self.counts_for = self.limits.admit(self.scope, self.headers)
                self.counts.held += 1
            if self.guard is not None:
                return self.get_if_allowed
        return super().find_handler(name)

    def release(self) -> None:
        """Stop counting the request."""
        client = self.counts_for
        if client is not None:
            self.counts_for = None
            self.counts.held -= 1
            self.limits.release(client)

    def describe(self, reason: str) -> dict[str, str]:
        transport, client = self.counts.transport, self.counts_for
        return describe_request(self.scope, self.channel_ids, transport, reason, client)

    def accept(self) -> None:
        """Count the request as accepted."""
        self.is_accepted = True
        self.counts.accepted += 1

    async def fail(self, error: BaseException) -> None:
        if self.is_accepted:
            counters.disconnects[find_end(error)] += 1
        elif isinstance(error, Exception) and not isinstance(error, ClientDisconnected):
            self.counts.refused[find_reason(error)] += 1
        await super().fail(error)

    async def get_if_allowed(self) -> Answer | None:
        """Answer with the next message if the client may listen."""
        assert self.guard is not None, "By find_handler()."
        await self.discard_body()  # If it is too long, the site need not be asked.
        self.decisions = await self.guard.decide(
            self.scope, self.headers, self.channel_ids
        )
        answer = await self.get()
        if answer is not None and self.guard.has_revoked(
            self.decisions, self.channel_ids
        ):
            # While the store was asked. The client asks again, and is told.
            raise AuthorizationUnavailable
        return answer

    def max_ignored_body(self) -> int:
        return MAX_SUBSCRIBER_BODY

    async def begin_close(self, error: PushError) -> Headers:
        if isinstance(error, OVER_LIMIT) and self.scope["http_version"][0] == "1":
            # Daphne closes it by a header of the request only. An idle connection keeps
            # a file open, and a client over a limit may have no more of them.
            find_connection(self.base_send).close_after_answer()
        return await super().begin_close(error)

    def find_reads(self, hub: Hub) -> Store | PresenceReads:
        """Return what reads the messages of the channels."""
        return find_reads(hub, self.location)

    def find_permission(self, index: int) -> Permission | None:
        """Return the right to listen to a channel, None if none is needed."""
        if not self.decisions:
            return None
        decision = self.decisions[index]
        return None if isinstance(decision, PushError) else decision

    @abstractmethod
    def get(self) -> Awaitable[Answer | None]:
        """Return an awaitable of the answer with the next message.

        It gives None if :meth:`answer_held` returns the answer.
        """

    def build_message(
        self, message: Message | None, seen: MessageId, otherwise: int
    ) -> Answer:
        """Return an answer with a message, or without one.

        Args:
            message: The message, None if there is none.
            seen: The id that the client sent, which an answer without a message
                repeats.
            otherwise: The status of an answer without a message.
        """
        if message is None:
            return self.build_answer(otherwise, [NO_CACHE, *build_message_id(seen)])
        message_id, body, content_type, previous, content_encoding, *_ = message
        size = len(body)
        counts = self.counts
        counts.deliveries += 1
        counts.sent_bytes += size
        headers = build_message_headers(
            message_id,
            content_type,
            content_encoding,
            size,
            self.location.inline,
            message.exclude,
        )
        if previous != seen and previous is not None:
            gap = message.gap_after(seen)
            if gap is not None:
                counters.gaps += 1
                headers = [*headers, (b"push-gap", str(gap).encode())]
        return self.build_answer(200, headers, body)

    async def send_error(self, error: PushError) -> None:
        await super().send_error(error)
        if isinstance(error, ServerStopping):
            # The process may exit once the last request has ended.
            for observer in self.observers:
                await observer.drain_before_exit()
