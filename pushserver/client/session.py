"""What a subscriber requests next, and what the answers mean, without any I/O.

Source: protocol, "Subscriber location"; streams, sections 2, 3 and 5.
"""

from __future__ import annotations

import json
import random
import re
import time
from collections.abc import Callable, Iterator, Mapping
from email.utils import formatdate, parsedate_to_datetime
from urllib.parse import urlsplit

from .events import Event, EventParser
from .received import Received, read_event

#: The transports of which one can be chosen.
TRANSPORTS = ("stream", "batch", "poll")

#: Seconds before a request that follows a failure: at first, and at most.
FIRST_DELAY = 1.0
MAX_DELAY = 30.0

#: The longest time in seconds that a server's ``Retry-After`` is heeded.
MAX_RETRY_AFTER = 3600.0

#: An answer without a message that comes within these seconds was not held.
QUICK = 0.5

#: An id whose time has a date: until the year 9999.
_ID = re.compile(r"(\d{1,11}):(\d+)", re.ASCII)

#: The tag of a message, or the position of several channels. Other tags are of pages.
_TAG = re.compile(r"[\d:,[\]-]+", re.ASCII)

#: What no header can contain.
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")

#: What is sent in place of further messages of a channel, by the name of the event.
_REFUSALS = {
    "push-gone": (410, "The channel was deleted."),
    "push-denied": (403, "The channel may not be read."),
    "push-expired": (401, "The right to read the channel has expired."),
    "push-conflict": (409, "Another subscriber took this one's place."),
}


class ListenError(Exception):
    """The server has refused for good. The text says why.

    Attributes:
        url: The URL.
        status: The status of the answer, or the one that a stream's end stands for.
        reason: What the server said.
    """

    def __init__(self, url: str, status: int, reason: str) -> None:
        super().__init__(f"{url} answers {status}: {reason}")
        self.url = url
        self.status = status
        self.reason = reason


class Session:
    """The state of a subscription, from request to request.

    Args:
        url: The URL, or a function that returns one, which is called at first and when
            its token has expired.
        after: The id after which messages are wanted, ``oldest`` or ``newest``; None
            for where the location begins.
        transport: One of :data:`TRANSPORTS`, None to use a stream where there are
            some.

    Raises ``ValueError`` for another transport.
    """

    def __init__(
        self, url: str | Callable[[], str], after: str | None, transport: str | None
    ) -> None:
        if transport not in (None, *TRANSPORTS):
            raise ValueError(
                f"transport is {transport!r}; it is one of"
                f" {', '.join(map(repr, TRANSPORTS))} or None."
            )
        self._find_url = url if callable(url) else None
        self._url = None if callable(url) else url
        self._position = after
        # Of the last answer to a poll, to be echoed.
        self._validators: dict[str, str] | None = None
        self._transport = transport
        self._failures = 0
        self._is_renewed = False
        self._parser = EventParser()
        self._missed: dict[str, str] = {}
        self._refusal: tuple[int, str] | None = None
        self._retry_after: float | None = None
        self._status = 0
        self._headers: Mapping[str, str] = {}
        self._is_stream = False
        self._asked_at = 0.0
        self._has_received = False

    # Requests

    def build_request(self) -> tuple[str, dict[str, str | bytes]]:
        """Return the URL and the headers of the next request."""
        if self._url is None:
            assert self._find_url is not None
            self._url = self._find_url()
        self._parser = EventParser()
        self._missed = {}
        self._refusal = None
        self._retry_after = None
        self._has_received = False
        self._asked_at = time.monotonic()
        url = self._url
        headers: dict[str, str | bytes] = {"Accept": "text/event-stream"}
        if self._transport == "poll":
            headers["Accept"] = "*/*"
        elif self._transport == "batch":
            url += ("&" if urlsplit(url).query else "?") + "batch=1"
        headers.update(self._build_position())
        return url, headers

    def _build_position(self) -> Mapping[str, str | bytes]:
        is_poll = self._transport == "poll"
        if is_poll and self._validators is not None:
            return self._validators
        if not self._position:
            return {}
        match = _ID.fullmatch(self._position)
        if not is_poll or match is None:
            # In UTF-8, as browsers send it.
            return {"Last-Event-ID": self._position.encode(errors="replace")}
        # As old servers and Nchan understand it, too.
        date = formatdate(int(match[1]), usegmt=True)
        return {"If-Modified-Since": date, "If-None-Match": match[2]}

    # Answers

    def begin(self, status: int, headers: Mapping[str, str]) -> bool:
        """Read the head of an answer; return whether a stream of events follows.

        Args:
            status: The status.
            headers: The headers, by names in any case.
        """
        self._status = status
        self._headers = headers
        self._retry_after = _read_seconds(headers.get("Retry-After"))
        has_events = headers.get("Content-Type", "").startswith("text/event-stream")
        self._is_stream = has_events and self._transport != "batch"
        return status == 200 and has_events

    def feed(self, chunk: bytes) -> Iterator[Received]:
        """Yield the messages that end in the next piece of a stream."""
        for event in self._parser.feed(chunk):
            received = self._read_event(event)
            if received is not None:
                self._has_received = True
                yield received

    def _read_event(self, event: Event) -> Received | None:
        """Return the message in an event, None if it has another purpose."""
        if event.name.startswith("push-"):
            self._read_notice(event.name, _read_json(event.data))
            return None
        if event.id is not None and not _CONTROL.search(event.id):
            self._position = event.id
            self._validators = None
            self._failures = 0
            self._is_renewed = False
        if event.data is None:
            return None
        missed = self._missed.pop(event.channel or "", None)
        return read_event(event, self._position or "", missed)

    def _read_notice(self, name: str, data: Mapping[str, object]) -> None:
        """Read an event of the server itself."""
        if name == "push-gap":
            # A stream of one channel names it in no other event.
            channel = str(data.get("channel", "")) if self._has_several else ""
            self._missed[channel] = str(data.get("missed", ""))
        elif name == "push-unavailable":
            self._retry_after = _read_seconds(str(data.get("retry_after", "")))
            self._failures += 1
        elif name in _REFUSALS and not self._has_several:
            self._refusal = _REFUSALS[name]

    @property
    def _has_several(self) -> bool:
        """Whether the position is that of several channels."""
        return "," in (self._position or "")

    def read_answer(self, body: bytes) -> Iterator[Received]:
        """Yield the message in an answer that is no stream, if there is one.

        Raises :class:`ListenError` if the server refuses for good.
        """
        status = self._status
        if status == 200:
            self._failures = 0
            self._has_received = True
            yield self._read_message(body)
        elif status in (304, 408):
            self._failures = 0
            self._read_validators()
        elif status == 406 and self._transport is None:
            self._transport = "poll"  # The location has no streams.
        elif status == 401 and self._renew():
            pass
        elif status == 429 or status >= 500:
            self._failures += 1
        else:
            reason = body[:1000].decode(errors="replace").strip() or "no reason given"
            raise ListenError(self._url or "", status, reason)

    def _read_message(self, body: bytes) -> Received:
        """Return the message in the answer to a poll."""
        if not self._read_validators():
            raise ListenError(
                self._url or "",
                self._status,
                "This is no subscriber location: there is no Last-Modified and Etag of"
                " a message.",
            )
        self._is_renewed = False
        # Without streams, asking for one would only delay old servers.
        self._transport = self._transport or "poll"
        return Received(
            body=body,
            id=self._position or "",
            content_type=self._headers.get("Content-Type", ""),
            missed=self._headers.get("Push-Gap"),
        )

    def _read_validators(self) -> bool:
        """Store the position in the headers of an answer; return False if none.

        Pages that are no messages may have such headers, too.
        """
        date, tag = self._headers.get("Last-Modified"), self._headers.get("Etag")
        if date is None or tag is None:
            return False
        position = tag.removeprefix("W/").strip('"')
        if not _TAG.fullmatch(position):
            return False
        try:
            seconds = int(parsedate_to_datetime(date).timestamp())
        except (ValueError, OverflowError):
            return False
        if position.isdecimal():
            position = f"{seconds}:{position}"
        self._validators = {"If-Modified-Since": date, "If-None-Match": tag}
        self._position = position
        return True

    def _renew(self) -> bool:
        """Have the function of the URL called again; return False if it was already."""
        if self._find_url is None or self._is_renewed:
            return False
        self._is_renewed = True
        self._url = None
        return True

    # The end of an answer

    def find_delay(self, failure: Exception | None, *, was_silent: bool) -> float:
        """Return the seconds to wait before the next request.

        Args:
            failure: Why the answer did not end as it should, None if it did.
            was_silent: Whether no byte arrived for too long.

        Raises :class:`ListenError` if the stream has ended for good.
        """
        if self._refusal is not None:
            status, reason = self._refusal
            if status != 401 or not self._renew():
                raise ListenError(self._url or "", status, reason)
            return 0
        if was_silent and self._transport is None:
            self._transport = "poll"  # A proxy may hold the stream back.
            return 0
        if was_silent and self._transport == "poll":
            return 0  # Some servers hold a poll for an hour.
        if failure is not None:
            self._failures += 1
        if self._retry_after is not None:
            return min(self._retry_after, MAX_RETRY_AFTER) + random.random()
        if self._failures:
            limit = min(MAX_DELAY, FIRST_DELAY * 2.0 ** min(self._failures, 10))
            return random.random() * limit
        if self._parser.retry is not None and not self._has_received_batch:
            return min(self._parser.retry, MAX_DELAY)
        is_quick = time.monotonic() - self._asked_at < QUICK
        # Polls and batches end after each message, streams do not.
        is_usual = self._has_received and not self._is_stream
        return FIRST_DELAY if is_quick and not is_usual else 0

    @property
    def _has_received_batch(self) -> bool:
        """Whether the answer was a batch, after which the next one is requested."""
        return self._transport == "batch"


def _read_json(data: str | None) -> Mapping[str, object]:
    try:
        read = json.loads(data or "")
    except (ValueError, RecursionError):
        return {}
    return read if isinstance(read, dict) else {}


def _read_seconds(text: str | None) -> float | None:
    """Return the seconds in a ``Retry-After``, None if it has none."""
    text = (text or "").strip()
    return float(text) if text.isdecimal() and len(text) < 10 else None
