"""Publishing without HTTP: into the hub of this process."""

from __future__ import annotations

import asyncio
from urllib.request import Request

from pushserver.conf import PublisherLocation, get_settings
from pushserver.publishers import PublishError, Receipt

from .exceptions import MessageTooLarge, PushError
from .hubs import hubs
from .messages import ChannelInfo


class DirectPublisher:
    """Publishes as a POST to the first publisher location would."""

    def is_available(self) -> bool:
        """Return whether what is published here reaches the subscribers.

        That the server could run in this process is not enough: behind an nginx that is
        the push server itself, no push client ever asks this one.
        """
        return hubs.in_use

    async def publish(self, channel_id: str, request: Request) -> Receipt:
        """Publish the body of a request on a channel, from any event loop.

        Raises :class:`pushserver.publishers.PublishError`.
        """
        loop = hubs.loop
        if loop is None:
            raise PublishError(
                request.full_url,
                "PUSH_SERVER['publisher'] is 'direct', but no push server runs in this"
                " process. Use 'auto', which then publishes over HTTP.",
            )
        publishing = self._publish(channel_id, request)
        try:
            if loop is asyncio.get_running_loop():
                return await publishing
            # The hub belongs to the loop that serves; this one is a thread's own.
            return await asyncio.wrap_future(
                asyncio.run_coroutine_threadsafe(publishing, loop)
            )
        except PushError as error:
            raise PublishError(request.full_url, str(error), error.status) from error

    async def _publish(self, channel_id: str, request: Request) -> Receipt:
        location = get_settings().first_location(PublisherLocation)
        assert location is not None, "publisher_url() has found one"
        body = request.data
        assert isinstance(body, bytes), "asend_update() has made it"
        if len(body) > location.max_message_size:
            raise MessageTooLarge(location.max_message_size)
        content_type = request.get_header("Content-type")
        delivered, info = await hubs.get(location.store).publish(
            channel_id,
            body,
            content_type.encode("latin-1") if content_type else None,
            keep=location.store_messages,
            create=location.create_on_post,
        )
        return Receipt(201 if delivered else 202, _as_dict(info))


def _as_dict(info: ChannelInfo) -> dict[str, object]:
    return {
        "messages": info.messages,
        "requested": info.requested,
        "subscribers": info.subscribers,
        "last_message_id": str(info.last_message_id),
    }
