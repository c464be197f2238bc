"""One connection to Redis that all tasks of a process share.

redis-py opens the connection, with TLS, passwords and the database. From then on this
module writes to it and reads from it, because a store needs answers and published
messages in one common order, which redis-py's pools and pub/sub objects do not provide.
Both are received on one connection, in RESP3, parsed by hiredis and processed without a
task that waits for them.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Protocol

from .errors import (
    AnswerTimeout,
    CommandError,
    ConnectionLost,
    Moved,
    Refused,
    UnknownScript,
)
from .pending import PendingCommand
from .resp import AnswerProtocol, pack
from .runs import read_run_id
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

    # redis-py has no public name for it, and has it in all releases.
    _writer: asyncio.StreamWriter


class Connection:
    """An open connection to Redis, which all tasks of a process share.

    Commands are sent in the order of the calls: the first of one iteration of the event
    loop at once, the others of that iteration in one write. Answers and published
    messages are processed in the order in which Redis sent them; pushes of other kinds
    are ignored.

    Args:
        connection: A connection of redis-py that is open.
        on_push: Called with each published message.
        on_end: Called once, with this connection and the error that ended it.

    Attributes:
        error: Why it ended, None as long as it is open.
        run_id: The ``run_id`` of Redis, which differs after each restart. After a
            restart, messages may be lost. ``-`` if a restart loses nothing, or if Redis
            does not report it.
        pending: The commands that Redis has not answered, oldest first.
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
        self.pending: deque[PendingCommand] = deque()
        self._outgoing: list[bytes] = []
        self._is_sending = False
        self._transport = connection._writer.transport
        # Redis has sent nothing after its last answer to redis-py.
        protocol = AnswerProtocol(self._take_answer, self._take_push, self.close)
        self._transport.set_protocol(protocol)
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
            on_push: As for the class.
            on_end: As for the class.
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
        """The server's time in seconds, estimated from its last answer."""
        return time.monotonic() + self._clock_offset

    def set_clock(self, now: float) -> None:
        """Set :attr:`clock` to the server's time, in seconds of Unix time."""
        self._clock_offset = now - time.monotonic()

    def send(
        self,
        *command: str | bytes | int,
        answered_by_push: bool = False,
        convert: Callable[[Any], Any] | None = None,
    ) -> asyncio.Future[Any]:
        """Send a command, and return a future of its answer or :class:`CommandError`.

        Args:
            command: The name of the command and its arguments.
            answered_by_push: Whether Redis answers with a push, as to SUBSCRIBE.
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

        The future fails with :class:`UnknownScript` if the script is not in Redis's
        script cache. The next call then sends the whole script.

        Args:
            script: The script.
            keys: The number of keys, the keys, and the first arguments, if any: packed.
            key_count: How many values ``keys`` consists of.
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
        while self.pending:
            self.pending.popleft().fail(error.copy())
        # A closed event loop, as after each test of a site, runs nothing more.
        if not self._loop.is_closed():
            disconnecting = self._connection.disconnect(nowait=True)
            self._closing = self._loop.create_task(disconnecting)
        self._on_end(self, error)

    async def wait_closed(self) -> None:
        """Wait until the connection, which has ended, is closed."""
        if self._closing is not None:
            await self._closing

    def _send_packed(
        self,
        packed: bytes,
        answered_by_push: bool,
        convert: Callable[[Any], Any] | None,
    ) -> asyncio.Future[Any]:
        """Send a command in Redis's format, and return a future of its answer."""
        answer: asyncio.Future[Any] = self._loop.create_future()
        command = PendingCommand(answer, answered_by_push, convert, self._tick)
        if self.error is not None:
            command.fail(self.error.copy())
            return answer
        self.pending.append(command)
        if self._is_sending:
            self._outgoing.append(packed)
        else:
            # Redis can run it while this iteration of the event loop goes on.
            self._is_sending = True
            self._loop.call_soon(self._send_outgoing)
            self._transport.write(packed)
        return answer

    def _send_outgoing(self) -> None:
        """Send the other commands of the last iteration of the event loop.

        The write buffer has no limit. A Redis that stops reading also stops answering,
        so the connection is closed after :data:`ANSWER_TIMEOUT`.
        """
        self._is_sending = False
        outgoing, self._outgoing = self._outgoing, []
        if outgoing and self.error is None:
            self._transport.write(b"".join(outgoing))

    def _take_push(self, push: Push) -> None:
        """Process a published message, or the answer to a command such as SUBSCRIBE."""
        if self.error is not None:
            return
        kind = push[0]
        if kind in _MESSAGES:
            self._read_at = self._tick
            self._on_push(push)
        elif kind in _CONFIRMATIONS:
            if self.pending and self.pending[0].answered_by_push:
                self._take_answer(push)
            else:
                # A cluster unsubscribes all clients from a topic that it moves.
                self.close(Moved("The channel has moved to another server."))

    def _take_answer(self, answer: Any) -> None:
        """Process the answer to the first pending command."""
        if self.error is not None:
            return
        self._read_at = self._tick
        if isinstance(answer, CommandError):
            self._take_error(self.pending.popleft(), answer)
            return
        # If it cannot be converted, all pending commands fail, and the connection ends.
        self.pending[0].succeed(answer)
        self.pending.popleft()

    def _take_error(self, command: PendingCommand, error: CommandError) -> None:
        """Process the error that Redis answered to a command."""
        command.fail(error)
        if isinstance(error, UnknownScript):
            # The script cache of Redis was emptied.
            self._known_scripts.clear()
        # If SUBSCRIBE failed, messages would be missed without notice.
        if not isinstance(error, Refused) or command.answered_by_push:
            self.close(error)

    def _check_answers(self) -> None:
        """Disconnect if an answer is missing; send a command after a long silence."""
        self._tick += 1
        if self.pending:
            if self._tick - self.pending[0].sent_at > ANSWER_TIMEOUT:
                error = f"No answer came within {ANSWER_TIMEOUT} seconds."
                self.close(AnswerTimeout(error))
                return
        elif self._tick - self._read_at >= SILENCE:
            self.send("PING")
        self._timer = self._loop.call_later(1.0, self._check_answers)
