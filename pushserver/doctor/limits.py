"""Checks of clocks, message sizes, permission to publish, and timeouts."""

from __future__ import annotations

from email.utils import parsedate_to_datetime
from time import time

from pushserver.addresses import HOP_HEADERS, contains
from pushserver.publishers import PublishError

from .findings import Failure, NotApplicable, NotChecked
from .probe import ACCEPTED, Probe, is_message
from .requests import CLOSED, NO_ANSWER, Response, source_addresses

#: The most bytes of a message that is sent to find a limit.
MAX_PROBE = 16 * 1024 * 1024

#: The statuses that mean that publishing is not allowed, or not possible, there.
REFUSED = (401, 403, 404, 405)

#: Seconds by which clocks may differ. An id has whole seconds, and a request takes
#: time.
CLOCK_TOLERANCE = 5

#: Seconds by which a poll may end earlier or later than 'timeout'.
TIMEOUT_TOLERANCE = 1.5

#: Seconds for which a poll is watched if 'timeout' is 0.
LONG_ENOUGH = 75


def check_clock(probe: Probe) -> str:
    """Check that the clocks of the push server and the proxy agree with this one."""
    probe.require_shared_messages()
    channel_id = probe.new_channel()
    probe.publish(channel_id)
    now = time()
    response = probe.ask(channel_id).response()
    if not is_message(response):
        raise NotChecked(f"A subscriber gets {response} instead of a message.")
    if response.headers["Last-Modified"] is None:
        raise NotChecked(
            "The Last-Modified of a message, which has its time, is stripped."
        )
    for header, clock in (
        ("Last-Modified", "The push server's clock"),
        ("Date", "The clock at the public URL"),
    ):
        for date in response.all(header):
            _compare(probe, date, now, clock)
    return "The clocks agree."


def _compare(probe: Probe, date: str, now: float, clock: str) -> None:
    """Raise :class:`Failure` if a clock is too far from the clock of this process.

    Args:
        probe: The probe.
        date: The time of the other clock, as an HTTP date.
        now: The time of this process.
        clock: The name of the other clock, for the error.
    """
    try:
        skew = parsedate_to_datetime(date).timestamp() - now
    except ValueError as error:
        raise NotChecked(f"{date!r} is not a date.") from error
    if abs(skew) > CLOCK_TOLERANCE + probe.patience:
        raise Failure(
            f"{clock} is {abs(skew):.0f} s {'ahead of' if skew > 0 else 'behind'}"
            " this one.",
            "Set the clocks by NTP: ids are times.",
        )


def check_size(probe: Probe) -> str:
    """Check that messages of up to ``max_message_size`` arrive."""
    probe.require_response()
    largest = probe.publisher.max_message_size or MAX_PROBE
    size = min(largest, MAX_PROBE)
    channel_id = probe.new_channel()
    status, reason = _publish_size(probe, channel_id, size)
    if status == 413:
        raise Failure(
            f"A message of {size} bytes, which max_message_size allows, is refused as"
            " too large on the way.",
            "Raise the proxy's limit (nginx: client_max_body_size), or lower"
            " 'max_message_size'.",
        )
    if status not in ACCEPTED:
        raise NotChecked(f"A message of {size} bytes cannot be published: {reason}.")
    response = probe.ask(channel_id).response()
    if response.status != 200:
        raise NotChecked(f"A message of {size} bytes is not received, but {response}.")
    if len(response.body) != size:
        raise Failure(
            f"Of a message of {size} bytes only {len(response.body)} arrive.",
            "See the log of the proxy.",
        )
    return f"A message of {size} bytes goes through."


def _publish_size(probe: Probe, channel_id: str, size: int) -> tuple[int | None, str]:
    """Publish a message of a size in bytes; return the status and a reason."""
    body = b"x" * size
    if probe.cannot_send or probe.sends_elsewhere:
        response = probe.post(channel_id, body=body).response()
        return response.status, str(response)
    try:
        return probe.send(channel_id, body, already_serialized=True).status, ""
    except PublishError as error:
        return error.status, error.reason.rstrip(".")


def check_publishing(probe: Probe) -> str:
    """Check that clients which ``allow_from`` excludes cannot publish."""
    networks = probe.publisher.allow_from or ()
    advice = (
        "Do not pass the publisher location on, or restrict its addresses in the proxy;"
        f" and have the proxy send {HOP_HEADERS[0]} or {HOP_HEADERS[2]}, by which the"
        " push server recognizes clients outside."
    )
    if probe.publisher.allow_from is None:
        raise Failure(
            "Everybody may publish: 'allow_from' is 'any'.",
            "Name the addresses that may publish.",
        )
    request = probe.post(probe.new_channel())
    response = request.response()
    if response.status not in ACCEPTED:
        if not _is_closed(probe, response):
            raise NotChecked(f"Publishing at the public URL fails: {response}.")
        return f"The publisher location is closed to the world ({response})."
    if not contains(networks, request.local_address):
        raise Failure(
            "The publisher location is open to the world: it took a message from"
            f" {request.local_address}, which may not publish.",
            advice,
        )
    for source in source_addresses():
        if contains(networks, source):
            continue
        if probe.post(probe.new_channel(), source).response().status in ACCEPTED:
            raise Failure(
                "The publisher location is open to the world: it took a message"
                f" from {source}, which may not publish.",
                advice,
            )
    return f"The publisher location lets in {request.local_address}, which may publish."


def _is_closed(probe: Probe, response: Response) -> bool:
    """Return whether the request was refused on purpose, not failed."""
    if response.status:
        return response.status in REFUSED
    # Some proxies close the connection of a client that they do not allow.
    return response.error == CLOSED and probe.first_response is not None


def check_timeout(probe: Probe) -> str:
    """Check that a poll is held for ``timeout`` seconds."""
    location = probe.subscriber
    if location.polling != "long":
        raise NotApplicable("The subscriber location holds no requests.")
    probe.require_response()
    channel_id = probe.new_channel()
    probe.publish(channel_id)
    first = probe.ask(channel_id).response()
    timeout = location.timeout or LONG_ENOUGH
    patience = timeout + probe.patience
    response = probe.ask(
        channel_id, probe.message_id_headers(first), patience=patience
    ).response()
    if response.status in (304, 408) and location.timeout:
        if abs(response.seconds - timeout) < TIMEOUT_TOLERANCE:
            return f"A poll is held for {timeout:g} s, and then ended."
        raise Failure(
            f"A poll ended after {response.seconds:.0f} s; 'timeout' is {timeout:g}.",
            "Find the server that has another timeout.",
        )
    if response.error == NO_ANSWER and not location.timeout:
        return f"A poll is held for {timeout} s and more."
    raise Failure(
        f"A poll was cut after {response.seconds:.0f} s ({response}); 'timeout' is"
        f" {location.timeout:g} s: a server in between has a shorter one.",
        "Raise its timeout (nginx: proxy_read_timeout), or lower 'timeout'.",
    )
