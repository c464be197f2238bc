"""Sending updates from Python, and the URLs of channels."""

from __future__ import annotations

import asyncio
import json
import logging
import re
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

#: What would end a header, or what proxies refuse in one.
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")

DEFAULT_ADDRESS = "127.0.0.1"
DEFAULT_PORT = 8001


def send_update(
    channel_id: object,
    data: Any,
    already_serialized: bool = False,
    ignore_errors: bool = False,
    *,
    content_type: str | None = None,
) -> Receipt | None:
    """Publish data to everybody who subscribes to a channel.

    Args:
        channel_id: The channel; what is no text becomes one by ``str()``.
        data: Anything that ``DjangoJSONEncoder`` writes.
        already_serialized: Whether data is a str or bytes to be published as it is.
        ignore_errors: Whether a failure to publish is logged instead of raised, as with
            the setting ``PUSH_SERVER_IGNORE_ERRORS``.
        content_type: The ``Content-Type`` of the message, JSON's if it is None. With
            one, data that is a str or bytes is published as it is; a str in UTF-8.

    Returns what happened, or None if publishing failed and errors are ignored.

    Raises:
        PublishError: The push server was not reached or refused the message.
        ValueError: The channel id has no URL, data holds a NaN, or content_type cannot
            stand in a header.
        TypeError: Data cannot be serialized, the channel id is None or bytes, or
            content_type is no str.
        SynchronousOnlyOperation: Called where an event loop runs: await
            :func:`asend_update` there.
    """
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return async_to_sync(asend_update)(
            channel_id,
            data,
            already_serialized,
            ignore_errors,
            content_type=content_type,
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
    *,
    content_type: str | None = None,
) -> Receipt | None:
    """Publish data on a channel: :func:`send_update` for async code."""
    url = publisher_url(channel_id)
    header = CONTENT_TYPE if content_type is None else _check_header(content_type)
    is_text = isinstance(data, str | bytes | bytearray | memoryview)
    if already_serialized or (content_type is not None and is_text):
        body = _as_bytes(data)
    else:
        body = _serialize(data)
    request = Request(url, data=body, method="POST")
    request.add_header("Content-Type", header)
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


def _check_header(content_type: str) -> str:
    """Return a ``Content-Type`` as it can be sent, or say why it cannot."""
    if not isinstance(content_type, str):
        raise TypeError(
            "content_type must be a str, as in 'text/html; charset=utf-8', not"
            f" {type(content_type).__name__}."
        )
    if _CONTROL.search(content_type):
        raise ValueError(f"content_type holds a control character: {content_type!r}.")
    header = content_type.strip(" ")  # Which is no part of a header's value.
    if not header:
        raise ValueError(
            "content_type is empty; leave it out for JSON, or write what data is, as in"
            " 'text/html; charset=utf-8'."
        )
    try:
        header.encode("latin-1")
    except UnicodeEncodeError:
        raise ValueError(
            f"content_type cannot stand in a header, which is Latin-1: {header!r}."
        ) from None
    return header


def _as_bytes(data: Any) -> bytes:
    if isinstance(data, str):
        return data.encode()
    if isinstance(data, bytes | bytearray | memoryview):
        return bytes(data)
    raise TypeError(
        "Data that is already serialized must be str or bytes, not"
        f" {type(data).__name__}."
    )
