"""Send updates from Python code, and build the URLs of channels."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Any

from django.core.exceptions import SynchronousOnlyOperation
from django.http import HttpRequest

from .access.grants import build_user_channel
from .channel_urls import publisher_url, subscriber_url
from .event_loops import runs_in_event_loop
from .positions import aposition, position
from .publishers import Receipt
from .rendering import HTML, TemplateName, arender_html, render_html
from .sending import Options, asend, prepare, send
from .sending_several import asend_several, prepare_several, send_several
from .transactions import call_after_commit, check_alias, waits_for_commit

__all__ = [
    "aposition",
    "arender_update",
    "asend_update",
    "asend_updates",
    "position",
    "publisher_url",
    "render_update",
    "send_update",
    "send_updates",
    "subscriber_url",
    "user_channel",
]


def send_update(
    channel_id: object,
    data: Any,
    already_serialized: bool = False,
    ignore_errors: bool = False,
    *,
    content_type: str | None = None,
    event: str | None = None,
    location: str | None = None,
    keep: bool = True,
    expires: float | None = None,
    idempotency_key: str | None = None,
    exclude: str | HttpRequest | None = None,
    on_commit: bool | None = None,
    using: str | None = None,
) -> Receipt | None:
    """Publish data to all subscribers of a channel.

    Args:
        channel_id: The channel; it is converted by ``str()`` if it is no string.
        data: Anything that ``DjangoJSONEncoder`` can serialize.
        already_serialized: Whether data is a str or bytes to be published as it is.
        ignore_errors: Whether a failure to publish is logged instead of raised, as with
            the setting ``PUSH_SERVER_IGNORE_ERRORS``.
        content_type: The ``Content-Type`` of the message, None for that of JSON. If it
            is set, data that is a str or bytes is published as it is, a str in UTF-8.
        event: The name of the event that ``EventSource`` dispatches, None for none.
        location: The name of a publisher location, whose store keeps the message; None
            for the first one.
        keep: Whether the message is kept for subscribers that come later. False
            delivers it only to those that wait now.
        expires: Seconds after which the message expires, None for the store's limit.
            A fraction is rounded up.
        idempotency_key: From 1 to 255 visible ASCII characters. If an update of the
            channel had the same key within the last five minutes, nothing is published,
            and its receipt is returned. The data are not compared.
        exclude: The page that is not to hear of the update, because its own action
            caused it: ``updates.clientId`` of the page, or its request, whose header
            ``Push-Client`` names it.
        on_commit: Whether the update waits for the commit, if it is sent in an atomic
            block, and is not sent after a rollback. None is the setting ``on_commit``,
            which defaults to False.
        using: The alias of the database that has to commit, None for the default one.

    Returns a receipt. Returns None if publishing failed and errors are ignored, and if
    the update waits for a commit. Then an error of publishing is raised after it, at
    the end of the atomic block.

    Raises:
        PublishError: The push server was not reached or refused the message.
        ValueError: There is no such location, the channel id has no URL there, data
            contains a NaN, content_type is not valid in a header, event is not allowed
            as a name, expires is not more than 0, idempotency_key is no key, exclude is
            no id, or no database has the alias.
        TypeError: Data cannot be serialized, the channel id is None or bytes, or
            content_type, event or idempotency_key is no str, or expires is no number.
            Both say which part of data it is, as ``data['items'][3]['price']``.
        SynchronousOnlyOperation: Called in an event loop. Await :func:`asend_update`
            there.
    """
    if runs_in_event_loop():
        raise SynchronousOnlyOperation(
            "send_update() was called in an async function, where it would block the"
            " event loop. Write 'await asend_update(...)' instead."
        )
    later = waits_for_commit(on_commit, using)
    options = Options(
        send_update,
        already_serialized,
        content_type,
        event,
        location,
        keep,
        expires,
        idempotency_key,
        exclude,
        later,
    )
    sending = prepare(channel_id, data, options)
    if later:
        call_after_commit(partial(send, sending, ignore_errors), using)
        return None
    return send(sending, ignore_errors)


async def asend_update(
    channel_id: object,
    data: Any,
    already_serialized: bool = False,
    ignore_errors: bool = False,
    *,
    content_type: str | None = None,
    event: str | None = None,
    location: str | None = None,
    keep: bool = True,
    expires: float | None = None,
    idempotency_key: str | None = None,
    exclude: str | HttpRequest | None = None,
    on_commit: bool | None = None,
    using: str | None = None,
) -> Receipt | None:
    """Publish data on a channel: :func:`send_update` for async code.

    Concurrent calls for one channel publish in the order of the calls. Django has no
    transactions in async code, so the update never waits for a commit: ``on_commit`` is
    only there for the same arguments. Within ``sync_to_async`` use ``send_update``.
    """
    check_alias(using)
    options = Options(
        send_update,
        already_serialized,
        content_type,
        event,
        location,
        keep,
        expires,
        idempotency_key,
        exclude,
    )
    return await asend(prepare(channel_id, data, options), ignore_errors)


def send_updates(
    updates: Iterable[tuple[object, Any]],
    already_serialized: bool = False,
    ignore_errors: bool = False,
    *,
    content_type: str | None = None,
    event: str | None = None,
    location: str | None = None,
    keep: bool = True,
    expires: float | None = None,
    idempotency_key: str | None = None,
    exclude: str | HttpRequest | None = None,
    on_commit: bool | None = None,
    using: str | None = None,
) -> list[Receipt | None] | None:
    """Publish many updates with one call, which is faster than one after the other.

    The updates of a channel are published in their order.

    Args:
        updates: Pairs of a channel and data, as of :func:`send_update`. All are checked
            before one is published.
        already_serialized: As of :func:`send_update`, for all of them; likewise the
            other arguments.
        ignore_errors: Whether failures are logged instead of raised.
        content_type: The ``Content-Type`` of the messages.
        event: The name of their events.
        location: The name of a publisher location.
        keep: Whether the messages are kept for subscribers that come later.
        expires: Seconds after which they expire.
        idempotency_key: The same call with the same key publishes nothing. Each update
            has this key, a dot, and its number.
        exclude: The page that is not to hear of them.
        on_commit: Whether all of them wait for the commit.
        using: The alias of the database that has to commit.

    Returns the receipts in the order of the updates, with None for each that failed if
    errors are ignored. Returns None if the updates wait for a commit.

    Raises:
        UpdatesFailed: Some were not published. It is a ``PublishError`` with the
            receipts of the others, and says which ones failed.
        ValueError: As of :func:`send_update`; it says which update is wrong.
        TypeError: As of :func:`send_update`, or an update is no pair.
        SynchronousOnlyOperation: Called in an event loop. Await :func:`asend_updates`
            there.
    """
    if runs_in_event_loop():
        raise SynchronousOnlyOperation(
            "send_updates() was called in an async function, where it would block the"
            " event loop. Write 'await asend_updates(...)' instead."
        )
    later = waits_for_commit(on_commit, using)
    options = Options(
        send_update,
        already_serialized,
        content_type,
        event,
        location,
        keep,
        expires,
        idempotency_key,
        exclude,
        later,
    )
    sendings = prepare_several(updates, options)
    if later:
        call_after_commit(partial(send_several, sendings, ignore_errors), using)
        return None
    return send_several(sendings, ignore_errors)


async def asend_updates(
    updates: Iterable[tuple[object, Any]],
    already_serialized: bool = False,
    ignore_errors: bool = False,
    *,
    content_type: str | None = None,
    event: str | None = None,
    location: str | None = None,
    keep: bool = True,
    expires: float | None = None,
    idempotency_key: str | None = None,
    exclude: str | HttpRequest | None = None,
    on_commit: bool | None = None,
    using: str | None = None,
) -> list[Receipt | None]:
    """Publish many updates: :func:`send_updates` for async code.

    They never wait for a commit, as with :func:`asend_update`. Other calls that run at
    the same time may publish between them.
    """
    check_alias(using)
    options = Options(
        send_update,
        already_serialized,
        content_type,
        event,
        location,
        keep,
        expires,
        idempotency_key,
        exclude,
    )
    return await asend_several(prepare_several(updates, options), ignore_errors)


def render_update(
    channel_id: object,
    template: TemplateName,
    context: dict[str, Any] | None = None,
    *,
    request: HttpRequest | None = None,
    content_type: str = HTML,
    **options: Any,
) -> Receipt | None:
    """Render a template at once, and publish the text.

    All subscribers get the same text. So it must have nothing that only the user of the
    request may see, and no ``{% csrf_token %}``.

    Args:
        channel_id: The channel.
        template: The name of a template, or names of which the first that exists is
            used.
        context: The context of the template.
        request: A request for the context processors, None to render without them.
        content_type: The ``Content-Type`` of the message.
        options: Other arguments of :func:`send_update`, such as ``event``.

    Returns and raises as :func:`send_update` does. Also raises what loading and
    rendering the template raises, such as ``TemplateDoesNotExist``.
    """
    text = render_html(template, context, request)
    return send_update(channel_id, text, content_type=content_type, **options)


async def arender_update(
    channel_id: object,
    template: TemplateName,
    context: dict[str, Any] | None = None,
    *,
    request: HttpRequest | None = None,
    content_type: str = HTML,
    **options: Any,
) -> Receipt | None:
    """Render a template, and publish the text: :func:`render_update` for async code.

    The template is rendered in a thread, so it may query the database.
    """
    text = await arender_html(template, context, request)
    return await asend_update(channel_id, text, content_type=content_type, **options)


def user_channel(user: object) -> str:
    """Return the id of a user's own channel: stable, and impossible to guess.

    It depends on ``SECRET_KEY``, so it changes when that does.

    Args:
        user: A user object or a key.

    Raises ``ValueError`` for an anonymous user.
    """
    return build_user_channel(user)
