"""One connection to Redis for all who ask.

redis-py makes it and reads what comes; what is said on it is told here, because a store
needs what pools and pub/sub objects cannot give: answers and published messages in the
one order in which they happened. Both come over one connection in RESP3.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from contextlib import suppress
from importlib import import_module
from typing import Any, Protocol

from django.core.exceptions import ImproperlyConfigured

from .scripts import Script

#: What was published: a kind, a bell and bytes.
Push = list[Any]

#: Seconds for which an answer is waited for.
ANSWER_TIMEOUT = 5

#: Seconds of silence after which a server is asked whether it is there.
SILENCE = 10

_CONFIRMATIONS = {b"subscribe", b"unsubscribe", b"ssubscribe", b"sunsubscribe"}


def load(module: str) -> Any:
    """Return a module of redis-py. Raises ``ImproperlyConfigured``."""
    try:
        return import_module(module)
    except ImportError as error:
        raise ImproperlyConfigured(
            "A store of the type 'redis' needs the package redis. Install it with:"
            " pip install django-pushserver[redis]"
        ) from error


class Connection(Protocol):
    """What is used of a connection of redis-py."""

    async def connect(self) -> None: ...

    async def disconnect(self, nowait: bool) -> None: ...

    async def send_packed_command(
        self, command: Iterable[bytes], check_health: bool
    ) -> None: ...

    async def read_response(
        self, disable_decoding: bool, *, push_request: bool
    ) -> Any: ...


class LineError(Exception):
    """Redis did not do what it was asked; the text says why."""

    def again(self) -> LineError:
        """Return the same error for another who asked.

        One error raised in many tasks would pile up their tracebacks.
        """
        return type(self)(*self.args)


class LineLost(LineError):
    """The connection ended before the answer: the command was run or not."""


class LineSilent(LineLost):
    """There was no answer in time."""


class Misplaced(LineError):
    """This server is not the one to ask, and did nothing."""


class Refused(LineError):
    """Redis answered with an error, and did nothing."""


class UnknownScript(Refused):
    """Redis does not know the script."""


class _Question:
    """A command that waits for its answer.

    Attributes:
        answer: What its answer will be.
        confirmed: Whether it is answered by a push, as SUBSCRIBE is.
        then: Makes of the answer what is wanted, before anything else is read.
        asked_at: A tick of the line.
    """

    __slots__ = ("answer", "asked_at", "confirmed", "then")

    def __init__(
        self,
        answer: asyncio.Future[Any],
        confirmed: bool,
        then: Callable[[Any], Any] | None,
        asked_at: int,
    ) -> None:
        self.answer = answer
        self.confirmed = confirmed
        self.then = then
        self.asked_at = asked_at


class Line:
    """One connection, for as long as it lasts.

    Commands go out in the order in which they are given, those of one turn of the event
    loop together. Answers, and what is published on bells to which it subscribes, come
    in the order in which they happened.

    Args:
        connection: A connection of redis-py that is open.
        on_push: Hears what was published: a kind, a bell and bytes.
        on_end: Hears, once, that the line has ended and why.

    Attributes:
        error: Why it has ended, None if it has not.
        run_id: The run of Redis: a restart, or another server, may have lost what was
            accepted before. ``-`` if it has not, or does not tell.
    """

    def __init__(
        self,
        connection: Connection,
        on_push: Callable[[Push], None],
        on_end: Callable[[Line, LineError], None],
    ) -> None:
        self.error: LineError | None = None
        self.run_id = "-"
        self._loop = asyncio.get_running_loop()
        self._connection = connection
        self._on_push = on_push
        self._on_end = on_end
        self._known: set[str] = set()  # The scripts that were sent.
        self._questions: deque[_Question] = deque()
        self._outgoing: list[bytes] = []
        self._sender: asyncio.Task[None] | None = None
        self._reader = self._loop.create_task(self._read())
        self._closing: asyncio.Task[None] | None = None
        # Time is counted in ticks: an event loop that was busy for long, and has not
        # read what came, is no reason to hang up.
        self._tick = self._heard_at = 0
        self._timer = self._loop.call_later(1.0, self._watch)
        self._clock_offset = 0.0

    @classmethod
    async def open(
        cls,
        connection: Connection,
        on_push: Callable[[Push], None],
        on_end: Callable[[Line, LineError], None],
        *,
        keeps: bool,
    ) -> Line:
        """Connect, and return the line once the server has told its time.

        Args:
            connection: A connection of redis-py.
            on_push: As of the line.
            on_end: As of the line.
            keeps: Whether a server with an append-only file has all that was accepted.
        """
        try:
            await connection.connect()
        except BaseException:
            await connection.disconnect(nowait=True)
            raise
        line = cls(connection, on_push, on_end)
        try:
            asking = line.ask("INFO", "server", "persistence")
            seconds, microseconds = await line.ask("TIME")
            with suppress(Refused):
                facts = _read_info(await asking)
                if facts.get("loading", "0") != "0":
                    # It answers no script yet, and does not tell the truth about its
                    # append-only file: that is off as long as it is read.
                    raise LineLost("Redis is loading its data.")
                line.run_id = _run_id(facts, keeps)
        except BaseException:
            line.end(LineLost("Connecting was given up."))
            raise
        line.set_clock(int(seconds) + int(microseconds) / 1_000_000)
        return line

    @property
    def clock(self) -> float:
        """The server's clock, as far as is known here."""
        return time.monotonic() + self._clock_offset

    def set_clock(self, now: float) -> None:
        """Take note of the server's clock."""
        self._clock_offset = now - time.monotonic()

    def ask(
        self,
        *command: str | bytes | int,
        confirmed: bool = False,
        then: Callable[[Any], Any] | None = None,
    ) -> asyncio.Future[Any]:
        """Send a command and return what its answer will be, or a :class:`LineError`.

        Args:
            command: Its words.
            confirmed: Whether it is answered by a push, as SUBSCRIBE is.
            then: Makes of the answer what is wanted, before anything else is read.
        """
        answer = self._loop.create_future()
        if self.error is not None:
            _fail(answer, self.error.again())
            return answer
        self._questions.append(_Question(answer, confirmed, then, self._tick))
        self._outgoing.append(pack(command))
        if self._sender is None:
            self._sender = self._loop.create_task(self._send())
        return answer

    def run(
        self,
        script: Script,
        keys: Sequence[str],
        *arguments: str | bytes | int,
        then: Callable[[Any], Any] | None = None,
    ) -> Coroutine[Any, Any, Any]:
        """Send a script with its arguments, and return what waits for its answer."""
        call = (len(keys), *keys, *arguments)
        if script.digest in self._known:
            answer = self.ask("EVALSHA", script.digest, *call, then=then)
        else:
            self._known.add(script.digest)
            answer = self.ask("EVAL", script.text, *call, then=then)

        async def wait() -> Any:
            try:
                return await answer
            except UnknownScript:
                # Somebody made Redis forget it.
                return await self.ask("EVAL", script.text, *call, then=then)

        return wait()

    def end(self, error: LineError) -> None:
        """Hang up; whoever waits for an answer gets the error."""
        if self.error is not None:
            return
        self.error = error
        self._timer.cancel()
        self._reader.cancel()
        if self._sender is not None:
            self._sender.cancel()
        while self._questions:
            _fail(self._questions.popleft().answer, error.again())
        # A loop that is closed, as after each test of a site, disconnects nobody.
        if not self._loop.is_closed():
            disconnecting = self._connection.disconnect(nowait=True)
            self._closing = self._loop.create_task(disconnecting)
        self._on_end(self, error)

    async def wait_closed(self) -> None:
        """Return when the connection of a line that has ended is closed."""
        if self._closing is not None:
            await self._closing

    async def _send(self) -> None:
        try:
            while self._outgoing:
                outgoing, self._outgoing = self._outgoing, []
                await self._connection.send_packed_command(outgoing, check_health=False)
        except Exception as error:
            self.end(LineLost(_reason(error)))
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
                self._heard_at = self._tick
        except Exception as error:
            self.end(LineLost(_reason(error)))

    def _take(self, answer: Any) -> None:
        """Hand on what was read: what was published, or the answer to a question."""
        kind = answer[0] if isinstance(answer, list) and answer else None
        if kind in (b"message", b"smessage"):
            self._on_push(answer)
            return
        if kind in _CONFIRMATIONS and not (
            self._questions and self._questions[0].confirmed
        ):
            # So says a cluster that moves a bell to another server.
            self.end(Misplaced("The channel has moved to another server."))
            return
        question = self._questions.popleft()
        if not question.answer.done():
            then = question.then
            question.answer.set_result(answer if then is None else then(answer))

    def _take_error(self, error: Exception) -> None:
        meaning = _explain(error)
        question = self._questions.popleft()
        _fail(question.answer, meaning)
        # On a line that cannot subscribe, nobody would be told of that.
        if isinstance(meaning, Misplaced) or question.confirmed:
            self.end(meaning)

    def _watch(self) -> None:
        """Hang up if no answer comes; ask for one after a long silence."""
        self._tick += 1
        if self._questions:
            if self._tick - self._questions[0].asked_at > ANSWER_TIMEOUT:
                self.end(LineSilent(f"No answer came within {ANSWER_TIMEOUT} seconds."))
                return
        elif self._tick - self._heard_at >= SILENCE:
            self.ask("PING")
        self._timer = self._loop.call_later(1.0, self._watch)


def pack(command: Iterable[str | bytes | int]) -> bytes:
    """Return a command as Redis reads it."""
    words = [
        word if isinstance(word, bytes) else str(word).encode() for word in command
    ]
    parts = [b"*%d\r\n" % len(words)]
    for word in words:
        parts += (b"$%d\r\n" % len(word), word, b"\r\n")
    return b"".join(parts)


def _read_info(answer: bytes) -> dict[str, str]:
    """Return the fields of an answer to INFO by name."""
    lines = answer.decode("utf-8", "replace").split("\r\n")
    return dict(line.partition(":")[::2] for line in lines)


def _run_id(facts: Mapping[str, str], keeps: bool) -> str:
    """Return the run of Redis, ``-`` if a restart loses nothing."""
    if keeps and facts.get("aof_enabled") == "1":
        return "-"
    return facts.get("run_id") or "-"


def _fail(answer: asyncio.Future[Any], error: LineError) -> None:
    if not answer.done():
        answer.set_exception(error)
        answer.exception()  # Not everybody who asks wants to know.


def _reason(error: Exception) -> str:
    return str(error) or type(error).__name__


def _explain(error: Exception) -> LineError:
    """Return what it means that Redis answered an error."""
    exceptions = load("redis.exceptions")
    if isinstance(error, exceptions.NoScriptError):
        return UnknownScript(_reason(error))
    if isinstance(
        error,
        exceptions.AskError
        | exceptions.ClusterDownError
        | exceptions.MovedError
        | exceptions.ReadOnlyError
        | exceptions.TryAgainError,
    ):
        return Misplaced(_reason(error))
    return Refused(_reason(error))
