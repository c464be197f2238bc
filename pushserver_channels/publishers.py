"""Publishing without HTTP: into the hub of this process, or the shared store."""

from __future__ import annotations

import asyncio
from urllib.request import Request

from pushserver.channel_urls import find_location, publisher_url
from pushserver.conf import PublisherLocation, get_settings
from pushserver.publishers import PublishError, Receipt, Update

from .exceptions import MessageTooLarge, PushError, StoreUnavailable
from .hub import hubs
from .messages import ChannelInfo
from .places import describe_store
from .protocol import check_header
from .stores import make_store


class DirectPublisher:
    """Publishes as a POST to the first publisher location would."""

    def is_available(self) -> bool:
        """Return whether what is published here reaches the subscribers.

        It does where the store is shared, or where the server runs in this process. If
        a publisher_host is named, though, that must be this server: a site behind an
        nginx that is the push server may well have push locations of its own.
        """
        settings = get_settings()
        location = settings.first_location(PublisherLocation)
        if location is not None and settings.store[location.store].shared:
            return True
        if settings.publisher_host is not None:
            return hubs.serves_at(settings.publisher_host)
        return hubs.loop is not None

    async def publish(self, update: Update, request: Request | None = None) -> Receipt:
        """Publish a message, from any event loop.

        Raises :class:`pushserver.publishers.PublishError`.
        """
        loop = hubs.loop
        if loop is None and not self.is_available():
            raise PublishError(
                _find_url(update.channel_id),
                "PUSH_SERVER['publisher'] is 'direct', but no push server runs in this"
                " process. Use 'auto', which then publishes over HTTP.",
                place="the push server of this process",
            )
        publishing = self._publish(update)
        try:
            if loop is None or loop is asyncio.get_running_loop():
                return await publishing
            # The hub belongs to the loop that serves; this one is a thread's own.
            return await asyncio.wrap_future(
                asyncio.run_coroutine_threadsafe(publishing, loop)
            )
        except PushError as error:
            store = find_location(PublisherLocation, "publisher").store
            place = describe_store(get_settings().store[store])
            reason = str(error)
            if type(error) is StoreUnavailable:  # The others say more themselves.
                reason += " Does it run there? If not, correct PUSH_SERVER['store']."
            url = _find_url(update.channel_id)
            raise PublishError(url, reason, error.status, place) from error

    async def _publish(self, update: Update) -> Receipt:
        location = find_location(PublisherLocation, "publisher")
        if 0 < location.max_message_size < len(update.body):
            raise MessageTooLarge(location.max_message_size)
        check_header("Content-Type", update.content_type)
        check_header("Content-Encoding", update.content_encoding)
        publish = _append if hubs.loop is None else hubs.get(location.store).publish
        delivered, info = await publish(
            update, keep=location.store_messages, create=location.create_on_post
        )
        return Receipt(201 if delivered else 202, _as_dict(info))


async def _append(update: Update, **options: bool) -> tuple[bool, ChannelInfo]:
    """Publish from a process without a push server, straight to the shared store.

    Each time over a connection of its own: a sync caller's event loop lasts no longer.
    """
    location = find_location(PublisherLocation, "publisher")
    store = make_store(get_settings().store[location.store])
    try:
        appended = await store.append(update, **options)
    finally:
        await store.aclose()
    return appended.delivered, appended.info


def _find_url(channel_id: str) -> str | None:
    """Return the URL at which a channel is published, None if it has none."""
    try:
        return publisher_url(channel_id)
    except ValueError:
        return None


def _as_dict(info: ChannelInfo) -> dict[str, object]:
    return {
        "messages": info.messages,
        "requested": info.requested,
        "subscribers": info.subscribers,
        "last_message_id": str(info.last_message_id),
    }
