"""Whether clocks, sizes, rights and times are what is set."""

from __future__ import annotations

from email.utils import parsedate_to_datetime
from time import time

from pushserver.addresses import HOP_HEADERS, contains
from pushserver.publishers import PublishError

from .findings import DoesNotApply, Failure, NotTried
from .visits import CLOSED, NO_ANSWER, Answer, outside_addresses
from .way import TAKEN, Way, is_message

#: Bytes of the largest message that is sent to find a limit.
MAX_PROBE = 16 * 1024 * 1024

#: How a publisher is told that it may not publish, or finds nothing there.
REFUSED = (401, 403, 404, 405)

#: Seconds by which clocks may differ. An id has whole seconds, and asking takes time.
CLOCK_TOLERANCE = 5

#: Seconds by which a poll may end sooner or later than set.
TIMEOUT_TOLERANCE = 1.5

#: Seconds for which a poll is watched that is held for ever.
LONG_ENOUGH = 75


def check_clock(way: Way) -> str:
    """Whether the push server's clock, and the proxy's, agree with this one."""
    way.check_same_messages()
    channel_id = way.new_channel()
    way.publish(channel_id)
    now = time()
    answer = way.ask(channel_id).answer()
    if not is_message(answer):
        raise NotTried(f"A subscriber gets {answer} instead of a message.")
    if answer.headers["Last-Modified"] is None:
        raise NotTried("The Last-Modified of a message, which tells it, is stripped.")
    for header, whose in (
        ("Last-Modified", "The push server's clock"),
        ("Date", "The clock at the public URL"),
    ):
        for date in answer.all(header):
            _compare(way, date, now, whose)
    return "The clocks agree."


def _compare(way: Way, date: str, now: float, whose: str) -> None:
    try:
        skew = parsedate_to_datetime(date).timestamp() - now
    except ValueError as error:
        raise NotTried(f"{date!r} is no date.") from error
    if abs(skew) > CLOCK_TOLERANCE + way.patience:
        raise Failure(
            f"{whose} is {abs(skew):.0f} s {'ahead of' if skew > 0 else 'behind'}"
            " this one.",
            "Set the clocks by NTP: ids are times.",
        )


def check_size(way: Way) -> str:
    """Whether messages of the largest size that is set go through."""
    way.received()
    largest = way.publisher.max_message_size or MAX_PROBE
    size = min(largest, MAX_PROBE)
    channel_id = way.new_channel()
    status, reason = _publish_size(way, channel_id, size)
    if status == 413:
        raise Failure(
            f"A message of {size} bytes, which max_message_size allows, is refused as"
            " too large on the way.",
            "Raise the proxy's limit (nginx: client_max_body_size), or lower"
            " 'max_message_size'.",
        )
    if status not in TAKEN:
        raise NotTried(f"A message of {size} bytes cannot be published: {reason}.")
    answer = way.ask(channel_id).answer()
    if answer.status != 200:
        raise NotTried(f"A message of {size} bytes is not received, but {answer}.")
    if len(answer.body) != size:
        raise Failure(
            f"Of a message of {size} bytes {len(answer.body)} arrive.",
            "Look into the log of the proxy.",
        )
    return f"A message of {size} bytes goes through."


def _publish_size(way: Way, channel_id: str, size: int) -> tuple[int | None, str]:
    """Publish a message of so many bytes; return the status, and what was said."""
    body = b"x" * size
    if way.cannot_send or way.sends_elsewhere:
        answer = way.post(channel_id, body=body).answer()
        return answer.status, str(answer)
    try:
        return way.send(channel_id, body, already_serialized=True).status, ""
    except PublishError as error:
        return error.status, error.reason.rstrip(".")


def check_publishing(way: Way) -> str:
    """Whether the world cannot publish."""
    networks = way.publisher.allow_from or ()
    advice = (
        "Do not pass the publisher location on, or allow addresses before it; and"
        f" have the proxy send {HOP_HEADERS[0]} or {HOP_HEADERS[2]}, by which the push"
        " server tells who is outside."
    )
    if way.publisher.allow_from is None:
        raise Failure(
            "Everybody may publish: 'allow_from' is 'any'.",
            "Name the addresses that may publish.",
        )
    visit = way.post(way.new_channel())
    answer = visit.answer()
    if answer.status not in TAKEN:
        if not _is_closed(way, answer):
            raise NotTried(f"Publishing at the public URL fails: {answer}.")
        return f"The publisher location is closed to the world ({answer})."
    if not contains(networks, visit.came_from):
        raise Failure(
            "The publisher location is open to the world: it took a message from"
            f" {visit.came_from}, which may not publish.",
            advice,
        )
    for source in outside_addresses():
        if contains(networks, source):
            continue
        if way.post(way.new_channel(), source).answer().status in TAKEN:
            raise Failure(
                "The publisher location is open to the world: it took a message"
                f" from {source}, which may not publish.",
                advice,
            )
    return f"The publisher location lets in {visit.came_from}, which may publish."


def _is_closed(way: Way, answer: Answer) -> bool:
    """Return whether a publisher was refused, rather than that something failed."""
    if answer.status:
        return answer.status in REFUSED
    # Some proxies hang up on whom they do not let in.
    return answer.error == CLOSED and way.first is not None


def check_timeout(way: Way) -> str:
    """Whether a poll is held for as long as is set."""
    location = way.subscriber
    if location.polling != "long":
        raise DoesNotApply("The subscriber location holds no requests.")
    way.received()
    channel_id = way.new_channel()
    way.publish(channel_id)
    first = way.ask(channel_id).answer()
    timeout = location.timeout or LONG_ENOUGH
    patience = timeout + way.patience
    answer = way.ask(channel_id, way.name(first), patience=patience).answer()
    if answer.status in (304, 408) and location.timeout:
        if abs(answer.seconds - timeout) < TIMEOUT_TOLERANCE:
            return f"A poll is held for {timeout:g} s, and then ended."
        raise Failure(
            f"A poll ended after {answer.seconds:.0f} s; 'timeout' is {timeout:g}.",
            "Look which server has another timeout.",
        )
    if answer.error == NO_ANSWER and not location.timeout:
        return f"A poll is held for {timeout} s and more."
    raise Failure(
        f"A poll was cut after {answer.seconds:.0f} s ({answer}); 'timeout' is"
        f" {location.timeout:g} s: something on the way has a shorter one.",
        "Let it wait longer (nginx: proxy_read_timeout), or lower 'timeout'.",
    )
