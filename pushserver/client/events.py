"""Read server-sent events from pieces of a response, with the fields of the protocol.

``httpx-sse`` and other parsers drop the fields ``channel`` and ``content-type``.
Source: https://html.spec.whatwg.org/multipage/server-sent-events.html
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from dataclasses import dataclass

#: A line and its end. A CR at the end of what was read may be the first half of CRLF.
_LINE = re.compile(r"([^\r\n]*)(\r\n|\n|\r(?!\Z))")


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
        self._text = ""
        self._event = Event()
        self.retry: float | None = None

    def feed(self, chunk: bytes) -> Iterator[Event]:
        """Yield the events that end in the next piece of the body."""
        self._text += self._decoder.decode(chunk)
        end = 0
        for match in _LINE.finditer(self._text):
            end = match.end()
            if match[1]:
                self._read_field(*_split(match[1]))
            elif self._event != Event():
                yield self._event
                self._event = Event()
        self._text = self._text[end:]

    def _read_field(self, name: str, value: str) -> None:
        event = self._event
        if name == "data":
            event.data = value if event.data is None else f"{event.data}\n{value}"
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
