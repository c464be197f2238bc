"""Send many messages with one call."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from .publishers import PublishError, Receipt, UpdatesFailed, get_publisher
from .sending import Options, Sending, is_ignored, prepare


def prepare_several(
    updates: Iterable[tuple[object, Any]], options: Options
) -> list[Sending]:
    """Return messages that can be sent, or an error that says which one is wrong.

    Args:
        updates: Pairs of a channel and data.
        options: How they are sent. Each gets the idempotency key with its number.
    """
    sendings = []
    key = options.idempotency_key
    for index, update in enumerate(updates):
        if not isinstance(update, tuple | list) or len(update) != 2:
            raise TypeError(
                f"updates[{index}] is a {type(update).__name__}, not a pair of a"
                " channel id and data, as in [('news', {'id': 5})]."
            )
        channel_id, data = update
        if isinstance(key, str):
            options = options._replace(idempotency_key=f"{key}.{index}" if key else "")
        try:
            sendings.append(prepare(channel_id, data, options))
        except TypeError as error:
            raise TypeError(f"updates[{index}]: {error}") from error
        except ValueError as error:
            raise ValueError(f"updates[{index}]: {error}") from error
    return sendings


def send_several(
    sendings: Sequence[Sending], ignore_errors: bool
) -> list[Receipt | None]:
    """Publish messages, and return their receipts, None for ignored errors.

    The first signal of all is sent before they are published, and the second one after
    that. Raises :class:`UpdatesFailed`.
    """
    for each in sendings:
        each.announce()
    try:
        outcomes = _publish(sendings)
    except Exception as error:
        for each in sendings:
            each.report(error)
        raise
    for each, outcome in zip(sendings, outcomes, strict=True):
        each.report(outcome)
    return _read_receipts(sendings, outcomes, ignore_errors)


async def asend_several(
    sendings: Sequence[Sending], ignore_errors: bool
) -> list[Receipt | None]:
    """Publish messages from async code, as :func:`send_several` does."""
    for each in sendings:
        await each.aannounce()
    try:
        outcomes = await _apublish(sendings)
    except Exception as error:
        for each in sendings:
            await each.areport(error)
        raise
    for each, outcome in zip(sendings, outcomes, strict=True):
        await each.areport(outcome)
    return _read_receipts(sendings, outcomes, ignore_errors)


def _publish(sendings: Sequence[Sending]) -> list[Receipt | PublishError]:
    publications = [each.publication for each in sendings]
    if not publications:
        return []
    publisher = get_publisher(publications[0].location)
    return publisher.publish_several_sync(publications)


async def _apublish(sendings: Sequence[Sending]) -> list[Receipt | PublishError]:
    publications = [each.publication for each in sendings]
    if not publications:
        return []
    publisher = get_publisher(publications[0].location)
    return await publisher.publish_several(publications)


def _read_receipts(
    sendings: Sequence[Sending],
    outcomes: Sequence[Receipt | PublishError],
    ignore_errors: bool,
) -> list[Receipt | None]:
    """Return the receipts, None for errors that are ignored."""
    receipts = [each if isinstance(each, Receipt) else None for each in outcomes]
    errors = {
        index: each
        for index, each in enumerate(outcomes)
        if isinstance(each, PublishError)
    }
    if errors:
        failure = UpdatesFailed(receipts, errors)
        failed = (sendings[index].channel_id for index in errors)
        if not is_ignored(failure, ignore_errors, *failed):
            raise failure
    return receipts
