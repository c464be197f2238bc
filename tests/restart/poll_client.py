"""A long poll that resumes, cheap enough for thousands."""

from __future__ import annotations

import random

from tests.live.crowds import Client
from tests.live.wire import request


class PollClient(Client):
    """A client that polls again at once after each answer, on the same connection.

    If it is refused, it waits as it is told.
    """

    def __init__(self, path: str, pace: float) -> None:
        super().__init__(path, pace)
        self._position: tuple[str, str] | None = None

    def begin(self) -> None:
        self._delay = 0.0
        self._status = 0

    def build_request(self) -> bytes:
        headers = []
        if self._position is not None:
            date, tag = self._position
            headers = [f"If-Modified-Since: {date}", f"If-None-Match: {tag}"]
        return request("GET", self.path, *headers)

    def read_head(self, head: bytes) -> None:
        first, *lines = head.decode("latin-1").split("\r\n")
        fields = dict(line.lower().split(": ", 1) for line in lines)
        dates = [each[15:] for each in lines if each.lower()[:15] == "last-modified: "]
        self._status = int(first.split()[1])
        self._size = int(fields.get("content-length", 0))
        self.is_open = True
        if "push-gap" in fields:
            self.faults.append(head.decode())
        if self._status in (200, 304):
            if dates and "etag" in fields:
                self._position = dates[0], fields["etag"]
        elif self._status == 503 and "retry-after" in fields:
            self._delay = float(fields["retry-after"]) * random.uniform(0.5, 1.0)
        else:
            self.faults.append(head.decode())
            self._delay = 1.0
        if self._status == 304:
            self._size = 0

    def read(self, data: bytes) -> bytes:
        if len(data) < self._size:
            return data
        body, rest = data[: self._size], data[self._size :]
        if self._status == 200:
            self.hear(body.decode())
        self.ends.append(str(self._status))
        self._head_is_read = False
        assert self.transport is not None
        if self._delay:
            self.transport.close()
        elif not self.transport.is_closing():
            self.transport.write(self.build_request())
        return rest

    def describe_end(self) -> str:
        return "cut off"

    def find_delay(self) -> float:
        return self._delay
