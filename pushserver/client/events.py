"""Read server-sent events from pieces of a response, with the fields of the protocol.

``httpx-sse`` and other parsers drop the fields ``channel`` and ``content-type``.
Source: https://html.spec.whatwg.org/multipage/server-sent-events.html
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from dataclasses import dataclass

_LINE_END = re.compile(r"\r\n|\r|\n")


@dataclass
class Event:
    """One event.

    Attributes:
        name: Its name, empty for none.
        data: Its data, None if it has none, as an event that only tells a position.
        id: Its ``id``, None if it has none.
        channel: Its ``channel``, None if the stream has one channel.
        content_type: Its ``content-type``, empty for none.
    """

    name: str = ""
    data: str | None = None
    id: str | None = None
    channel: str | None = None
    content_type: str = ""


class EventParser:
    """Parses the body of a ``text/event-stream``.

    Attributes:
        retry: Seconds to wait before the next request, as the server said last; None if
            it said nothing.
    """

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8-sig")("replace")
        # The pieces of a line that has not ended, and the lines of the event's data.
        # They are joined once, or a long message would take time for each piece.
        self._begun: list[str] = []
        self._data: list[str] = []
        self._event = Event()
        self._skips_lf = False  # A CR was the end of a line: LF may be its second half.
        self.retry: float | None = None

    def feed(self, chunk: bytes) -> Iterator[Event]:
        """Yield the events that end in the next piece of the body."""
        text = self._decoder.decode(chunk)
        if not text:
            return
        first, *others = _LINE_END.split(
            text.removeprefix("\n") if self._skips_lf else text
        )
        self._skips_lf = text.endswith("\r")
        self._begun.append(first)
        for each in others:
            line = "".join(self._begun)
            self._begun = [each]
            if line:
                self._read_field(*_split(line))
            else:
                yield from self._end_event()

    def _end_event(self) -> Iterator[Event]:
        """Yield the event that has ended, unless it has no fields."""
        event, data = self._event, self._data
        self._event, self._data = Event(), []
        if data:
            event.data = "\n".join(data)
        if event != Event():
            yield event

    def _read_field(self, name: str, value: str) -> None:
        event = self._event
        if name == "data":
            self._data.append(value)
        elif name == "event":
            event.name = value
        elif name == "id":
            event.id = value
        elif name == "channel":
            event.channel = value
        elif name == "content-type":
            event.content_type = value
        elif name == "retry" and value.isdecimal():
            self.retry = int(value) / 1000


def _split(line: str) -> tuple[str, str]:
    """Return the name and the value of a field; of a comment, an empty name."""
    name, _, value = line.partition(":")
    return name, value.removeprefix(" ")
