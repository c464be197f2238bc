"""POSTs of messages: one, or many over a few connections."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Sequence
from http.client import HTTPResponse
from typing import Any
from urllib.request import Request

from pushserver.conf import get_settings

from .base import PublishError, Receipt, why_not_started
from .connections import NoConnectionFree
from .deadline import Deadline
from .http_connection import ServerConnection
from .http_exchanges import KEY, Exchanges
from .http_failures import ExchangeFailed, why_refused
from .idempotency import KEY_HEADER, make_retry_key
from .parts import WHY_SKIPPED

#: The most POSTs of one call that wait for an answer at once, each on its connection.
MAX_AT_ONCE = 8

Outcome = Receipt | PublishError


def add_key(request: Request) -> None:
    """Give a POST an idempotency key if it has none."""
    if not request.has_header(KEY):
        request.add_header(KEY_HEADER, make_retry_key())


def read_receipt(request: Request, response: HTTPResponse, body: bytes) -> Receipt:
    """Return the receipt in the answer to a POST. Raises :class:`PublishError`."""
    if response.status not in (200, 201, 202):
        reason = why_refused(response, body)
        raise PublishError(request.full_url, reason, response.status)
    return Receipt(response.status, parse_info(body))


def parse_info(body: bytes) -> dict[str, Any] | None:
    """Return the channel info in an answer, None if it has none."""
    try:
        info = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return info if isinstance(info, dict) else None


def post_several(
    exchanges: Exchanges, requests: Sequence[Request], channels: Sequence[str]
) -> list[Outcome]:
    """Send POSTs, and return the receipt or the error of each.

    They are sent in rounds: one POST of each of a few channels, all of them before the
    answers are read. So they are answered at the same time without threads, and those
    of a channel one after the other. If all of a round get no answer in time, the
    others are not sent.

    Args:
        exchanges: Sends them.
        requests: The POSTs.
        channels: The channel of each.
    """
    outcomes: dict[int, Outcome] = {}
    queues: dict[str, deque[int]] = {}
    for number, channel_id in enumerate(channels):
        queues.setdefault(channel_id, deque()).append(number)
    waiting = deque(queues.values())
    reason = ""
    while waiting:
        deadline = Deadline(get_settings().publisher_timeout)
        try:
            with exchanges.connections.use_several(deadline, MAX_AT_ONCE) as most:
                some = [waiting.popleft() for _ in range(min(most, len(waiting)))]
                numbers = [each.popleft() for each in some]
                posts = {number: requests[number] for number in numbers}
                outcomes |= _post_round(exchanges, posts, deadline)
        except NoConnectionFree:
            reason = why_not_started()
            break
        if deadline.is_over and not any(
            isinstance(outcomes[each], Receipt) for each in numbers
        ):
            reason = WHY_SKIPPED
            break
        # At the end of the queue, so that no channel delays the others.
        waiting.extend(each for each in some if each)
    return [
        outcomes.get(number) or PublishError(request.full_url, reason)
        for number, request in enumerate(requests)
    ]


def _post_round(
    exchanges: Exchanges, requests: dict[int, Request], deadline: Deadline
) -> dict[int, Outcome]:
    """Send POSTs, each on a connection of its own; return their outcomes."""
    started: dict[int, ServerConnection | ExchangeFailed] = {}
    outcomes: dict[int, Outcome] = {}
    try:
        for number, request in requests.items():
            add_key(request)
            try:
                started[number] = exchanges.start(request, deadline)
            except ExchangeFailed as failure:
                started[number] = failure
        for number, request in requests.items():
            begun = started.pop(number)
            outcomes[number] = _finish(exchanges, request, begun, deadline)
    finally:
        # For example a greenlet was killed.
        for begun in started.values():
            if isinstance(begun, ServerConnection):
                begun.close()
    return outcomes


def _finish(
    exchanges: Exchanges,
    request: Request,
    begun: ServerConnection | ExchangeFailed,
    deadline: Deadline,
) -> Outcome:
    """Return the outcome of a POST that was started, or whose start has failed."""
    try:
        try:
            if isinstance(begun, ExchangeFailed):
                raise begun
            response, body = exchanges.finish(request, begun, deadline)
        except ExchangeFailed as failure:
            response, body = exchanges.repeat(request, deadline, failure)
        return read_receipt(request, response, body)
    except PublishError as error:
        return error
