"""RESP3, the protocol of Redis: packs commands and parses answers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from .errors import CommandError, ConnectionLost, describe, load, parse_error

_INCOMPLETE = object()


def pack(*words: str | bytes | int) -> bytes:
    """Return the values of a command in Redis's format, without their number."""
    parts = []
    for word in words:
        data = word if isinstance(word, bytes) else str(word).encode()
        parts.append(b"$%d\r\n%b\r\n" % (len(data), data))
    return b"".join(parts)


class AnswerProtocol(asyncio.Protocol):
    """Parses what a server sends, and calls back with each value once it is complete.

    Strings are bytes; arrays and sets are lists; an error is a :class:`CommandError`.
    Redis sends attributes, which hiredis does not tell from answers, only to clients
    that ask for them.

    Args:
        on_answer: Called with each value that is not a push.
        on_push: Called with each push, a list.
        on_end: Called with an error when the connection has ended, when a callback has
            raised, or when the parser cannot read the data. It may be called again
            until the connection is closed.

    Raises ``ImproperlyConfigured`` if hiredis is missing.
    """

    def __init__(
        self,
        on_answer: Callable[[Any], None],
        on_push: Callable[[list[Any]], None],
        on_end: Callable[[CommandError], None],
    ) -> None:
        hiredis = load("hiredis")
        self._push_type = hiredis.PushNotification
        self._reader = hiredis.Reader(replyError=parse_error, notEnoughData=_INCOMPLETE)
        self._on_answer = on_answer
        self._on_push = on_push
        self._on_end = on_end

    def data_received(self, data: bytes) -> None:
        read, push_type = self._reader.gets, self._push_type
        try:
            self._reader.feed(data)
            while (value := read()) is not _INCOMPLETE:
                if type(value) is push_type:
                    self._on_push(value)
                else:
                    self._on_answer(value)
        except Exception as error:
            self._on_end(ConnectionLost(describe(error)))

    def connection_lost(self, exc: Exception | None) -> None:
        reason = "Connection closed by server." if exc is None else describe(exc)
        self._on_end(ConnectionLost(reason))
