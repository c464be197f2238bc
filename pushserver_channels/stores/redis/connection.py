"""One connection to Redis that all tasks of a process share.

redis-py makes the connection and reads from it. Commands are sent here, because a store
needs answers and published messages in one common order, which redis-py's pools and
pub/sub objects do not provide. Both are received on one connection, in RESP3.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from typing import Any, Protocol

from .errors import (
    AnswerTimeout,
    CommandError,
    ConnectionLost,
    Moved,
    Refused,
    UnknownScript,
    describe,
    explain,
    load,
)
from .resp import pack
from .scripts import Script

#: A published message in RESP3: its kind, its topic and its bytes.
Push = list[Any]

#: Seconds after which a missing answer is an error.
ANSWER_TIMEOUT = 5

#: Seconds without data after which the connection is tested by a PING.
SILENCE = 10

_MESSAGES = {b"message", b"smessage"}
_CONFIRMATIONS = {b"subscribe", b"unsubscribe", b"ssubscribe", b"sunsubscribe"}


class RedisPyConnection(Protocol):
    """The methods of a redis-py connection that are used here."""

    async def connect(self) -> None: ...

    async def disconnect(self, nowait: bool) -> None: ...

    async def send_packed_command(
        self, command: Iterable[bytes], check_health: bool
    ) -> None: ...

    async def read_response(
        self, disable_decoding: bool, *, push_request: bool
    ) -> Any: ...


class PendingCommand:
    """A command that was sent and has no answer yet.

    Attributes:
        answer: The future of its answer.
        answered_by_push: Whether a push answers it, as it does SUBSCRIBE.
        convert: Called with the answer before anything else is read; returns the
            result of the future. None if that is the answer itself.
        sent_at: The tick of the connection in which it was sent.
    """

    __slots__ = ("answer", "answered_by_push", "convert", "sent_at")

    def __init__(
        self,
        answer: asyncio.Future[Any],
        answered_by_push: bool,
        convert: Callable[[Any], Any] | None,
        sent_at: int,
    ) -> None:
        self.answer = answer
        self.answered_by_push = answered_by_push
        self.convert = convert
        self.sent_at = sent_at


class Connection:
    """One connection, from when it is open until it ends.

    Commands are sent in the order of the calls, those of one iteration of the event
    loop in one write. Answers and published messages are processed in the order in
    which Redis sent them.

    Args:
        connection: A connection of redis-py that is open.
        on_push: Called with each published message.
        on_end: Called once, with this connection and the error that ended it.

    Attributes:
        error: Why it ended, None as long as it is open.
        run_id: The run of Redis. Another run may have lost messages that this one
            accepted. ``-`` if a restart loses nothing, or the run is not known.
    """

    def __init__(
        self,
        connection: RedisPyConnection,
        on_push: Callable[[Push], None],
        on_end: Callable[[Connection, CommandError], None],
    ) -> None:
        self.error: CommandError | None = None
        self.run_id = "-"
        self._loop = asyncio.get_running_loop()
        self._connection = connection
        self._on_push = on_push
        self._on_end = on_end
        self._known_scripts: set[Script] = set()
        self._pending: deque[PendingCommand] = deque()
        self._outgoing: list[bytes] = []
        self._sender: asyncio.Task[None] | None = None
        self._reader = self._loop.create_task(self._read())
        self._closing: asyncio.Task[None] | None = None
        # Time is counted in ticks of a timer. If the event loop was blocked, answers
        # may have arrived that it has not read, which is no reason to disconnect.
        self._tick = self._read_at = 0
        self._timer = self._loop.call_later(1.0, self._check_answers)
        self._clock_offset = 0.0

    @classmethod
    async def open(
        cls,
        connection: RedisPyConnection,
        on_push: Callable[[Push], None],
        on_end: Callable[[Connection, CommandError], None],
        *,
        durable: bool,
    ) -> Connection:
        """Connect, and return the connection once the server's clock is known.

        Args:
            connection: A connection of redis-py.
            on_push: As of the connection.
            on_end: As of the connection.
            durable: Whether a server with an append-only file loses nothing.

        Raises :class:`CommandError`, and what redis-py raises.
        """
        try:
            await connection.connect()
        except BaseException:
            await connection.disconnect(nowait=True)
            raise
        opened = cls(connection, on_push, on_end)
        try:
            info = opened.send("INFO", "server", "persistence")
            seconds, microseconds = await opened.send("TIME")
            with suppress(Refused):
                opened.run_id = read_run_id(await info, durable=durable)
        except BaseException:
            opened.close(ConnectionLost("Connecting was given up."))
            raise
        opened.set_clock(int(seconds) + int(microseconds) / 1_000_000)
        return opened

    @property
    def clock(self) -> float:
        """The server's clock, as far as this process knows it."""
        return time.monotonic() + self._clock_offset

    def set_clock(self, now: float) -> None:
        """Set what is known of the server's clock, in seconds of Unix time."""
        self._clock_offset = now - time.monotonic()

    def send(
        self,
        *command: str | bytes | int,
        answered_by_push: bool = False,
        convert: Callable[[Any], Any] | None = None,
    ) -> asyncio.Future[Any]:
        """Send a command, and return a future of its answer or :class:`CommandError`.

        Args:
            command: Its words.
            answered_by_push: Whether a push answers it, as it does SUBSCRIBE.
            convert: Called with the answer as it is read; returns the future's result.
        """
        packed = b"*%d\r\n%b" % (len(command), pack(*command))
        return self._send_packed(packed, answered_by_push, convert)

    def run(
        self,
        script: Script,
        keys: bytes,
        key_count: int,
        *arguments: bytes,
        convert: Callable[[Any], Any] | None = None,
    ) -> asyncio.Future[Any]:
        """Run a script, and return a future of its answer or :class:`CommandError`.

        The future has :class:`UnknownScript` if Redis has forgotten the script; then it
        is sent in full the next time.

        Args:
            script: The script.
            keys: The number of keys and the keys, packed, and perhaps first arguments.
            key_count: The number of these words.
            arguments: The other arguments.
            convert: Called with the answer as it is read; returns the future's result.
        """
        begin = script.packed_digest
        if script not in self._known_scripts:
            self._known_scripts.add(script)
            begin = script.packed_text
        count = 2 + key_count + len(arguments)
        packed = b"*%d\r\n%b%b%b" % (count, begin, keys, pack(*arguments))
        return self._send_packed(packed, False, convert)

    def close(self, error: CommandError) -> None:
        """Disconnect; all commands without an answer fail with the error."""
        if self.error is not None:
            return
        self.error = error
        self._timer.cancel()
        self._reader.cancel()
        if self._sender is not None:
            self._sender.cancel()
        while self._pending:
            _fail(self._pending.popleft().answer, error.copy())
        # A closed event loop, as after each test of a site, runs nothing more.
        if not self._loop.is_closed():
            disconnecting = self._connection.disconnect(nowait=True)
            self._closing = self._loop.create_task(disconnecting)
        self._on_end(self, error)

    async def wait_closed(self) -> None:
        """Return when the connection, which has ended, is closed."""
        if self._closing is not None:
            await self._closing

    def _send_packed(
        self,
        packed: bytes,
        answered_by_push: bool,
        convert: Callable[[Any], Any] | None,
    ) -> asyncio.Future[Any]:
        answer = self._loop.create_future()
        if self.error is not None:
            _fail(answer, self.error.copy())
            return answer
        command = PendingCommand(answer, answered_by_push, convert, self._tick)
        self._pending.append(command)
        self._outgoing.append(packed)
        if self._sender is None:
            self._sender = self._loop.create_task(self._send_outgoing())
        return answer

    async def _send_outgoing(self) -> None:
        try:
            while self._outgoing:
                outgoing, self._outgoing = self._outgoing, []
                await self._connection.send_packed_command(outgoing, check_health=False)
        except Exception as error:
            self.close(ConnectionLost(describe(error)))
        finally:
            self._sender = None

    async def _read(self) -> None:
        response_error = load("redis.exceptions").ResponseError
        read = self._connection.read_response
        try:
            while True:
                try:
                    answer = await read(disable_decoding=True, push_request=True)
                except response_error as error:
                    self._take_error(error)
                else:
                    self._take(answer)
                self._read_at = self._tick
        except Exception as error:
            self.close(ConnectionLost(describe(error)))

    def _take(self, answer: Any) -> None:
        """Process what was read: a published message, or the answer to a command."""
        kind = answer[0] if type(answer) is list and answer else None
        if kind in _MESSAGES:
            self._on_push(answer)
            return
        if kind in _CONFIRMATIONS and not (
            self._pending and self._pending[0].answered_by_push
        ):
            # A cluster unsubscribes all clients from a topic that it moves.
            self.close(Moved("The channel has moved to another server."))
            return
        command = self._pending.popleft()
        if not command.answer.done():
            convert = command.convert
            command.answer.set_result(answer if convert is None else convert(answer))

    def _take_error(self, answer: Exception) -> None:
        error = explain(answer)
        command = self._pending.popleft()
        _fail(command.answer, error)
        if isinstance(error, UnknownScript):
            # The script cache of Redis was emptied.
            self._known_scripts.clear()
        # If SUBSCRIBE failed, messages would be missed without notice.
        if isinstance(error, Moved) or command.answered_by_push:
            self.close(error)

    def _check_answers(self) -> None:
        """Disconnect if an answer is missing; send a command after a long silence."""
        self._tick += 1
        if self._pending:
            if self._tick - self._pending[0].sent_at > ANSWER_TIMEOUT:
                error = f"No answer came within {ANSWER_TIMEOUT} seconds."
                self.close(AnswerTimeout(error))
                return
        elif self._tick - self._read_at >= SILENCE:
            self.send("PING")
        self._timer = self._loop.call_later(1.0, self._check_answers)


def read_run_id(info: bytes, *, durable: bool) -> str:
    """Return the run of Redis from its answer to ``INFO server persistence``.

    It is ``-`` if a restart loses nothing, or if Redis does not report the run.

    Args:
        info: The answer.
        durable: Whether a server with an append-only file loses nothing.

    Raises :class:`ConnectionLost` while Redis loads its data. Until then it runs no
    script, and always reports that it has no append-only file.
    """
    lines = info.decode("utf-8", "replace").split("\r\n")
    fields: Mapping[str, str] = dict(line.partition(":")[::2] for line in lines)
    if fields.get("loading", "0") != "0":
        raise ConnectionLost("Redis is loading its data.")
    if durable and fields.get("aof_enabled") == "1":
        return "-"
    return fields.get("run_id") or "-"


def _fail(answer: asyncio.Future[Any], error: CommandError) -> None:
    if not answer.done():
        answer.set_exception(error)
        answer.exception()  # So that asyncio logs nothing if no task awaits it.
