"""Publish without HTTP: through the hub of this process, or into a shared store."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from concurrent import futures
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from django.core.exceptions import SynchronousOnlyOperation

from pushserver.channel_urls import find_publisher
from pushserver.conf import PublisherLocation, get_settings
from pushserver.event_loops import find_running_loop
from pushserver.publishers import LookupFailed, Publication, PublishError, Receipt
from pushserver.publishers.connections import NoConnectionFree
from pushserver.publishers.deadline import Deadline
from pushserver.publishers.parts import WHY_SKIPPED, are_unavailable, divide
from pushserver.publishers.workers import NotStarted

from .exceptions import ChannelNotFound, PushError
from .hub import hubs
from .messages import ChannelInfo
from .positions import BEGINNING
from .publications import (
    FAILURES,
    Publishing,
    PublishingSeveral,
    convert,
    converting_errors,
    fail,
    find_url,
)
from .store_descriptions import describe_store
from .store_work import StoreWork
from .stores import Store

if TYPE_CHECKING:
    from .stores.redis.publishing import RedisPublishing


class DirectPublisher:
    """Publishes with the settings of a publisher location, without HTTP."""

    def is_available(self, location: PublisherLocation) -> bool:
        """Return whether a message that is published here reaches the subscribers.

        It does if processes share the store, or if the push server runs in this
        process. If a publisher_host is set, that must be this server, because a site
        that has push locations may use nginx as its push server.
        """
        settings = get_settings()
        if settings.store[location.store].shared:
            return True
        if settings.publisher_host is not None:
            return hubs.serves_at(settings.publisher_host)
        return hubs.loop is not None

    def publish_sync(self, publication: Publication) -> Receipt:
        """Publish a message from sync code.

        Raises :class:`pushserver.publishers.PublishError`, and
        ``SynchronousOnlyOperation`` on the event loop of the push server.
        """
        deadline = Deadline(get_settings().publisher_timeout)
        loop = self._find_other_loop(publication)
        with converting_errors(publication):
            return Publishing(publication).run_sync(loop, deadline)

    async def publish(self, publication: Publication) -> Receipt:
        """Publish a message, from any event loop.

        Raises :class:`pushserver.publishers.PublishError`.
        """
        loop = self._find_loop(publication)
        with converting_errors(publication):
            publishing = Publishing(publication)
            if _is_immediate(publishing, loop):
                return await publishing.do_here()
            deadline = Deadline(get_settings().publisher_timeout)
            return await publishing.run(loop, deadline)

    def publish_several_sync(
        self, publications: Sequence[Publication]
    ) -> list[Receipt | PublishError]:
        """Publish messages at one location from sync code.

        ``publisher_timeout`` limits each part of them: see
        :mod:`pushserver.publishers.parts`. Raises ``SynchronousOnlyOperation`` on the
        event loop of the push server.
        """
        outcomes: list[Receipt | PublishError] = []
        for part in divide(publications):
            deadline = Deadline(get_settings().publisher_timeout)
            try:
                loop = self._find_other_loop(part[0])
                some = PublishingSeveral(part).run_sync(loop, deadline)
            except (PublishError, *FAILURES) as error:
                some = _fail_all(part, error)
            outcomes += some
            if are_unavailable(some):
                break
        return outcomes + _skip(publications[len(outcomes) :])

    async def publish_several(
        self, publications: Sequence[Publication]
    ) -> list[Receipt | PublishError]:
        """Publish messages at one location, from any event loop."""
        outcomes: list[Receipt | PublishError] = []
        for part in divide(publications):
            publishing = PublishingSeveral(part)
            try:
                loop = self._find_loop(part[0])
                if _is_immediate(publishing, loop):
                    some = await publishing.do_here()
                else:
                    deadline = Deadline(get_settings().publisher_timeout)
                    some = await publishing.run(loop, deadline)
            except (PublishError, *FAILURES) as error:
                some = _fail_all(part, error)
            outcomes += some
            if are_unavailable(some):
                break
        return outcomes + _skip(publications[len(outcomes) :])

    def find_last_ids_sync(self, channel_ids: Sequence[str]) -> list[str]:
        """Return the ids of the last messages, from sync code.

        Raises :class:`pushserver.publishers.LookupFailed`.
        """
        deadline = Deadline(get_settings().publisher_timeout)
        with _converting_lookup_errors() as location:
            return _Lookup(channel_ids, location).run_sync(hubs.loop, deadline)

    async def find_last_ids(self, channel_ids: Sequence[str]) -> list[str]:
        """Return the ids of the last messages, from any event loop.

        Raises :class:`pushserver.publishers.LookupFailed`.
        """
        deadline = Deadline(get_settings().publisher_timeout)
        with _converting_lookup_errors() as location:
            return await _Lookup(channel_ids, location).run(hubs.loop, deadline)

    def _find_loop(self, publication: Publication) -> asyncio.AbstractEventLoop | None:
        """Return the push server's event loop, None to publish into a shared store.

        Raises ``PublishError`` if neither is possible.
        """
        loop = hubs.loop
        if loop is None and not self.is_available(publication.location):
            raise PublishError(
                find_url(publication),
                "PUSH_SERVER['publisher'] is 'direct', but no push server runs in this"
                " process. Use 'auto', which then publishes over HTTP.",
                place="the push server of this process",
            )
        return loop

    def _find_other_loop(
        self, publication: Publication
    ) -> asyncio.AbstractEventLoop | None:
        """Return the push server's event loop, on which this code must not run.

        Raises as :meth:`_find_loop` does, and ``SynchronousOnlyOperation``.
        """
        loop = self._find_loop(publication)
        if loop is not None and loop is find_running_loop():
            raise SynchronousOnlyOperation(
                "The event loop of the push server would wait for itself: publish with"
                " 'await asend_update(...)' there."
            )
        return loop


def _is_immediate(work: StoreWork[Any], loop: asyncio.AbstractEventLoop | None) -> bool:
    """Return whether work is done here and at once, so that it needs no time limit."""
    is_here = loop is not None and loop is asyncio.get_running_loop()
    return is_here and not work.settings.shared


def _fail_all(
    publications: Sequence[Publication], error: Exception
) -> list[Receipt | PublishError]:
    """Return an error for each of some messages, which have failed together."""
    if isinstance(error, PublishError):
        return [
            PublishError(find_url(each), error.reason, error.status, error.place)
            for each in publications
        ]
    return [convert(error, each) for each in publications]


def _skip(publications: Sequence[Publication]) -> list[Receipt | PublishError]:
    """Return an error for each message that is not sent after others have failed."""
    return [fail(each, WHY_SKIPPED) for each in publications]


class _Lookup(StoreWork[list[str]]):
    """Looks up the id of the last message of each channel."""

    def __init__(self, channel_ids: Sequence[str], location: PublisherLocation) -> None:
        super().__init__(get_settings().store[location.store], object())
        self._channel_ids = channel_ids
        self._store = location.store

    async def do_here(self) -> list[str]:
        return await _find_last_ids(hubs.get(self._store).info, self._channel_ids)

    def do_in_redis(self, redis: RedisPublishing, deadline: Deadline) -> list[str]:
        ids = (redis.find_last_id(each, deadline) for each in self._channel_ids)
        return [str(BEGINNING if each is None else each) for each in ids]

    async def do_with(self, store: Store) -> list[str]:
        return await _find_last_ids(store.info, self._channel_ids)


async def _find_last_ids(
    read_info: Callable[[str], Awaitable[ChannelInfo]], channel_ids: Sequence[str]
) -> list[str]:
    async def find(channel_id: str) -> str:
        try:
            return str((await read_info(channel_id)).last_message_id)
        except ChannelNotFound:
            return str(BEGINNING)

    return await asyncio.gather(*map(find, channel_ids))


@contextmanager
def _converting_lookup_errors() -> Iterator[PublisherLocation]:
    """Give the publisher location; convert exceptions to ``LookupFailed``."""
    location = find_publisher()
    try:
        yield location
        return
    except PushError as error:
        failure: Exception = error
        reason = str(error)
    except (
        NotStarted,
        NoConnectionFree,
        TimeoutError,
        asyncio.TimeoutError,
        futures.TimeoutError,
    ) as late:
        failure, reason = late, "no answer in time."
    except futures.CancelledError as error:
        failure, reason = error, "the push server of this process has stopped."
    place = describe_store(get_settings().store[location.store])
    raise LookupFailed(place, reason) from failure
