"""Publish without HTTP: through the hub of this process, or into a shared store."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from concurrent import futures
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

from django.core.exceptions import SynchronousOnlyOperation

from pushserver.channel_urls import build_publisher_url, find_publisher
from pushserver.conf import PublisherLocation, get_settings
from pushserver.event_loops import find_running_loop
from pushserver.publishers import LookupFailed, Publication, PublishError, Receipt
from pushserver.publishers.base import why_not_started
from pushserver.publishers.connections import NoConnectionFree
from pushserver.publishers.deadline import Deadline
from pushserver.publishers.workers import NotStarted

from .exceptions import ChannelNotFound, MessageTooLarge, PushError, StoreUnavailable
from .hub import hubs
from .messages import ChannelInfo
from .positions import BEGINNING
from .protocol import check_event, check_header
from .receipts import Receipts, StoredReceipt
from .store_descriptions import describe_store
from .store_work import StoreWork
from .stores import Store

if TYPE_CHECKING:
    from .stores.redis.publishing import RedisPublishing


Result = TypeVar("Result")

#: The receipts of keys that this process published without a push server, into a store
#: that keeps none, by the name of the store and the channel.
_receipts = Receipts()


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
        loop = self._find_loop(publication)
        if loop is not None and loop is find_running_loop():
            raise SynchronousOnlyOperation(
                "The event loop of the push server would wait for itself: publish with"
                " 'await asend_update(...)' there."
            )
        with _converting_errors(publication):
            return _Publishing(publication).run_sync(loop, deadline)

    async def publish(self, publication: Publication) -> Receipt:
        """Publish a message, from any event loop.

        Raises :class:`pushserver.publishers.PublishError`.
        """
        loop = self._find_loop(publication)
        with _converting_errors(publication):
            publishing = _Publishing(publication)
            is_here = loop is not None and loop is asyncio.get_running_loop()
            if is_here and not publishing.settings.shared:
                # A store in this process answers at once, so there is no time limit.
                return await publishing.do_here()
            deadline = Deadline(get_settings().publisher_timeout)
            return await publishing.run(loop, deadline)

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
                _find_url(publication),
                "PUSH_SERVER['publisher'] is 'direct', but no push server runs in this"
                " process. Use 'auto', which then publishes over HTTP.",
                place="the push server of this process",
            )
        return loop


@contextmanager
def _converting_errors(publication: Publication) -> Iterator[None]:
    """Convert the exceptions of a ``with`` block to ``PublishError``."""
    status = None
    try:
        yield
        return
    except PushError as error:
        failure: Exception = error
        status = error.status
        reason = str(error)
        if type(error) is StoreUnavailable:  # Its subclasses give a reason.
            reason += " Does it run there? If not, correct PUSH_SERVER['store']."
    except (NotStarted, NoConnectionFree) as error:
        failure, reason = error, why_not_started()
    except (TimeoutError, asyncio.TimeoutError, futures.TimeoutError) as error:
        failure = error
        reason = (
            f"no answer within {get_settings().publisher_timeout:g} seconds"
            " (PUSH_SERVER['publisher_timeout']); it may have been published or not."
        )
    except futures.CancelledError as error:
        failure, reason = error, "the push server of this process has stopped."
    place = describe_store(get_settings().store[publication.location.store])
    raise PublishError(_find_url(publication), reason, status, place) from failure


def _check(publication: Publication) -> None:
    """Raise ``PushError`` if the location would refuse a message."""
    update, location = publication.update, publication.location
    if 0 < location.max_message_size < len(update.body):
        raise MessageTooLarge(location.max_message_size)
    check_header("Content-Type", update.content_type)
    check_header("Content-Encoding", update.content_encoding)
    if update.event is not None:
        check_event(update.event)


class _Publishing(StoreWork[Receipt]):
    """Publishes a message, and returns its receipt.

    Raises ``PushError`` if the publisher location would refuse the message.
    """

    def __init__(self, publication: Publication) -> None:
        _check(publication)
        self._update, self._location = publication.update, publication.location
        self._keep = publication.keep and self._location.store_messages
        self._key = publication.key
        store = get_settings().store[self._location.store]
        super().__init__(store, self._update.channel_id)

    async def do_here(self) -> Receipt:
        location = self._location
        delivered, info = await hubs.get(location.store).publish(
            self._update,
            keep=self._keep,
            create=location.create_on_post,
            key=self._key,
        )
        return _make_receipt(delivered, info)

    def do_in_redis(self, redis: RedisPublishing, deadline: Deadline) -> Receipt:
        location = self._location
        delivered, info = redis.append(
            self._update,
            deadline,
            keep=self._keep,
            create=location.create_on_post,
            key=self._key,
        )
        return _make_receipt(delivered, info)

    async def do_with(self, store: Store) -> Receipt:
        name, key = f"{self._location.store} {self._update.channel_id}", self._key
        known = None if key is None else _receipts.find(name, key)
        if known is None:
            appended = await store.append(
                self._update, keep=self._keep, create=self._location.create_on_post
            )
            known = StoredReceipt(appended.delivered, appended.info)
            if key is not None:
                _receipts.keep(name, key, known)
        return _make_receipt(*known)


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


def _find_url(publication: Publication) -> str | None:
    """Return the URL at which a message is published, None if there is none."""
    try:
        return build_publisher_url(publication.location, publication.update.channel_id)
    except ValueError:
        return None


def _make_receipt(delivered: bool, info: ChannelInfo) -> Receipt:
    return Receipt(
        201 if delivered else 202,
        {
            "messages": info.messages,
            "requested": info.requested,
            "subscribers": info.subscribers,
            "last_message_id": str(info.last_message_id),
        },
    )
