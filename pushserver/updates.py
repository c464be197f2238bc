"""Sending updates from Python, and the URLs of channels."""

from __future__ import annotations

import asyncio
import json
import logging
from math import inf
from typing import Any
from urllib.request import Request

from asgiref.sync import async_to_sync
from django.conf import settings
from django.core.exceptions import SynchronousOnlyOperation
from django.core.serializers.json import DjangoJSONEncoder

from . import signals
from .conf import Location, PublisherLocation, SubscriberLocation, get_settings
from .paths import build_path
from .publishers import PublishError, Receipt, get_publisher

logger = logging.getLogger(__name__)

CONTENT_TYPE = "application/json; charset=utf-8"
DEFAULT_ADDRESS = "127.0.0.1"
DEFAULT_PORT = 8001


def send_update(
    channel_id: object,
    data: Any,
    already_serialized: bool = False,
    ignore_errors: bool = False,
) -> Receipt | None:
    """Publish data to everybody who subscribes to a channel.

    Args:
        channel_id: The channel; what is no text becomes one by ``str()``.
        data: Anything that ``DjangoJSONEncoder`` writes.
        already_serialized: Whether data is a str or bytes to be published as it is.
        ignore_errors: Whether a failure to publish is logged instead of raised, as with
            the setting ``PUSH_SERVER_IGNORE_ERRORS``.

    Returns what happened, or None if publishing failed and errors are ignored.

    Raises:
        PublishError: The push server was not reached or refused the message.
        ValueError: The channel id has no URL, or data holds a NaN.
        TypeError: Data cannot be serialized, or the channel id is None or bytes.
        SynchronousOnlyOperation: Called where an event loop runs: await
            :func:`asend_update` there.
    """
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return async_to_sync(asend_update)(
            channel_id, data, already_serialized, ignore_errors
        )
    raise SynchronousOnlyOperation(
        "send_update() was called in an async function, where it would block the event"
        " loop. Write 'await asend_update(...)' instead."
    )


async def asend_update(
    channel_id: object,
    data: Any,
    already_serialized: bool = False,
    ignore_errors: bool = False,
) -> Receipt | None:
    """Publish data on a channel: :func:`send_update` for async code."""
    url = publisher_url(channel_id)
    body = _as_bytes(data) if already_serialized else _serialize(data)
    request = Request(url, data=body, method="POST")
    request.add_header("Content-Type", CONTENT_TYPE)
    request.add_header("Accept", "application/json")
    update = {
        "sender": send_update,
        "channel_id": channel_id,
        "data": data,
        "already_serialized": already_serialized,
        "request": request,
    }
    await signals.pre_send_update.asend(**update)
    try:
        receipt = await get_publisher().publish(str(channel_id), request)
    except Exception as error:
        await signals.post_send_update.asend(**update, response=error)
        if isinstance(error, PublishError) and (
            ignore_errors or getattr(settings, "PUSH_SERVER_IGNORE_ERRORS", False)
        ):
            logger.warning("%s", error)
            return None
        raise
    await signals.post_send_update.asend(**update, response=receipt)
    return receipt


def publisher_url(channel_id: object) -> str:
    """Return the URL at which messages for a channel are published.

    Raises ``ValueError`` if there is no publisher location or it cannot match the id.
    """
    host = get_settings().publisher_host
    base = host.url if host else _own_url()
    return base + _location_path(PublisherLocation, "publisher", channel_id)


def subscriber_url(channel_id: object) -> str:
    """Return the URL at which a page subscribes to a channel.

    Without a ``subscriber_host`` it is a path, for the host that the page is from.
    Raises ``ValueError`` if there is no subscriber location or it cannot match the id.
    """
    host = get_settings().subscriber_host
    base = host.url if host else ""
    return base + _location_path(SubscriberLocation, "subscriber", channel_id)


def _location_path(kind: type[Location], name: str, channel_id: object) -> str:
    location = get_settings().first_location(kind)
    if location is None:
        raise ValueError(f"PUSH_SERVER['locations'] has no {name} location.")
    if channel_id is None or isinstance(channel_id, bytes | bytearray | memoryview):
        raise TypeError(f"A channel id is a text, not {channel_id!r}.")
    channel = str(channel_id)
    limit = location.max_channel_id_length or inf
    if not 0 < len(channel) <= limit:
        raise ValueError(
            f"A channel id has from 1 to {limit} characters; this one has"
            f" {len(channel)}."
        )
    return build_path(location.url, channel)


def _own_url() -> str:
    """Return where ``runpushserver`` of this machine listens."""
    conf = get_settings()
    address = conf.address or DEFAULT_ADDRESS
    if address in ("0.0.0.0", "::"):
        address = DEFAULT_ADDRESS  # It listens everywhere; one cannot connect there.
    if ":" in address:
        address = f"[{address}]"
    return f"http://{address}:{conf.port or DEFAULT_PORT}"


def _serialize(data: Any) -> bytes:
    # A NaN is no JSON: browsers would fail to parse the update and lose it.
    return json.dumps(data, cls=DjangoJSONEncoder, allow_nan=False).encode()


def _as_bytes(data: Any) -> bytes:
    if isinstance(data, str):
        return data.encode()
    if isinstance(data, bytes | bytearray | memoryview):
        return bytes(data)
    raise TypeError(
        "Data that is already serialized must be str or bytes, not"
        f" {type(data).__name__}."
    )
