"""Publish messages through the hub of this process, or into a shared store."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from concurrent import futures
from contextlib import contextmanager
from typing import TYPE_CHECKING

from pushserver.channel_urls import build_publisher_url
from pushserver.conf import get_settings
from pushserver.presence.names import is_presence_channel
from pushserver.publishers import Publication, PublishError, Receipt
from pushserver.publishers.base import why_not_started
from pushserver.publishers.connections import NoConnectionFree
from pushserver.publishers.deadline import Deadline
from pushserver.publishers.workers import NotStarted

from .exceptions import (
    MessageTooLarge,
    PresenceChannel,
    PushError,
    StoreUnavailable,
)
from .hub import hubs
from .messages import ChannelInfo
from .protocol import check_event, check_header
from .receipts import Receipts, StoredReceipt
from .store_descriptions import describe_store
from .store_work import StoreWork
from .stores import Entry, Store

if TYPE_CHECKING:
    from .stores.redis.publishing import RedisPublishing

#: What is raised if a message cannot be published.
FAILURES = (
    PushError,
    NotStarted,
    NoConnectionFree,
    TimeoutError,
    asyncio.TimeoutError,
    futures.TimeoutError,
    futures.CancelledError,
)

#: Messages that are published, in a store of this process, before its event loop runs
#: other tasks.
BATCH = 100

#: The receipts of keys that this process published without a push server, into a store
#: that keeps none, by the name of the store and the channel.
_receipts = Receipts()


@contextmanager
def converting_errors(publication: Publication) -> Iterator[None]:
    """Convert the exceptions of a ``with`` block to ``PublishError``."""
    try:
        yield
    except FAILURES as error:
        raise convert(error, publication) from error


def convert(error: Exception, publication: Publication) -> PublishError:
    """Return the ``PublishError`` for one of :data:`FAILURES`."""
    status = None
    if isinstance(error, PushError):
        status = error.status
        reason = str(error)
        if type(error) is StoreUnavailable:  # Its subclasses give a reason.
            reason += " Does it run there? If not, correct PUSH_SERVER['store']."
    elif isinstance(error, NotStarted | NoConnectionFree):
        reason = why_not_started()
    elif isinstance(error, futures.CancelledError):
        reason = "the push server of this process has stopped."
    else:
        reason = (
            f"no answer within {get_settings().publisher_timeout:g} seconds"
            " (PUSH_SERVER['publisher_timeout']); it may have been published or not."
        )
    return fail(publication, reason, status, error)


def fail(
    publication: Publication,
    reason: str,
    status: int | None = None,
    cause: Exception | None = None,
) -> PublishError:
    """Return the error of a message that was not published, with a reason."""
    place = describe_store(get_settings().store[publication.location.store])
    failure = PublishError(find_url(publication), reason, status, place)
    failure.__cause__ = cause
    return failure


def find_url(publication: Publication) -> str | None:
    """Return the URL at which a message is published, None if there is none."""
    try:
        return build_publisher_url(publication.location, publication.update.channel_id)
    except ValueError:
        return None


def _check(publication: Publication) -> None:
    """Raise ``PushError`` if the location would refuse a message."""
    update, location = publication.update, publication.location
    if is_presence_channel(update.channel_id):
        settings = get_settings()
        if location.store in settings.presence_stores:
            raise PresenceChannel
    if 0 < location.max_message_size < len(update.body):
        raise MessageTooLarge(location.max_message_size)
    check_header("Content-Type", update.content_type)
    check_header("Content-Encoding", update.content_encoding)
    if update.event is not None:
        check_event(update.event)


class Publishing(StoreWork[Receipt]):
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

    @property
    def entry(self) -> Entry:
        """The message as it is appended in Redis."""
        create = self._location.create_on_post
        return Entry(self._update, self._keep, create, self._key)

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
        async def append() -> StoredReceipt:
            appended = await store.append(
                self._update, keep=self._keep, create=self._location.create_on_post
            )
            return appended.delivered, appended.info

        if self._key is None:
            return _make_receipt(*await append())
        name = f"{self._location.store} {self._update.channel_id}"
        return _make_receipt(*await _receipts.publish_once(name, self._key, append))


class PublishingSeveral(StoreWork[list[Receipt | PublishError]]):
    """Publishes several messages at one location.

    Returns the receipt of each, or its error. Those of a channel are published in their
    order.
    """

    def __init__(self, publications: Sequence[Publication]) -> None:
        # One key, so they wait for no others, and no others wait for them.
        store = publications[0].location.store
        super().__init__(get_settings().store[store], object())
        self._publications = publications

    async def do_here(self) -> list[Receipt | PublishError]:
        if self.settings.shared:
            # All are sent at once, in this order.
            return await asyncio.gather(*map(self._publish_here, self._publications))
        outcomes = []
        for number, each in enumerate(self._publications, 1):
            outcomes.append(await self._publish_here(each))
            if number % BATCH == 0:
                await asyncio.sleep(0)
        return outcomes

    async def _publish_here(self, publication: Publication) -> Receipt | PublishError:
        try:
            return await Publishing(publication).do_here()
        except FAILURES as error:
            return convert(error, publication)

    def do_in_redis(
        self, redis: RedisPublishing, deadline: Deadline
    ) -> list[Receipt | PublishError]:
        outcomes: list[Receipt | PublishError | None] = []
        entries: list[Entry] = []
        for each in self._publications:
            try:
                entries.append(Publishing(each).entry)
            except PushError as error:
                outcomes.append(convert(error, each))
            else:
                outcomes.append(None)
        results = iter(redis.append_several(entries, deadline))
        return [
            _read_result(next(results), publication) if outcome is None else outcome
            for publication, outcome in zip(self._publications, outcomes, strict=True)
        ]

    async def do_with(self, store: Store) -> list[Receipt | PublishError]:
        outcomes: list[Receipt | PublishError] = []
        for each in self._publications:
            try:
                outcomes.append(await Publishing(each).do_with(store))
            except FAILURES as error:
                outcomes.append(convert(error, each))
        return outcomes


def _read_result(
    result: tuple[bool, ChannelInfo] | Exception, publication: Publication
) -> Receipt | PublishError:
    """Return the receipt of a message that was appended in Redis, or its error."""
    if isinstance(result, Exception):
        return convert(result, publication)
    return _make_receipt(*result)


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
