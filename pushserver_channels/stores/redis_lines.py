"""Connections to Redis, for the Redis store; nothing else imports redis-py.

redis-py knows how to reach a server: TLS, passwords, Sentinel, the nodes of a cluster.
What is said on a connection is told here, because a store needs what pools and pub/sub
objects cannot give: answers and published messages in the one order in which they
happened. A :class:`Line` is one connection for all who ask, in RESP3.
"""

from __future__ import annotations

import asyncio
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Coroutine, Iterable, Sequence
from importlib import import_module
from typing import Any, Protocol
from urllib.parse import SplitResult, urlsplit, urlunsplit

from django.core.exceptions import ImproperlyConfigured

from .redis_scripts import Script

#: Where a server listens; empty if there is only one.
Address = tuple[Any, ...]
Push = list[Any]

#: Seconds to reach a server.
CONNECT_TIMEOUT = 2.0

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

    def pack_command(self, *args: Any) -> list[bytes]: ...

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
    """

    def __init__(
        self,
        connection: Connection,
        on_push: Callable[[Push], None],
        on_end: Callable[[Line, LineError], None],
    ) -> None:
        self.error: LineError | None = None
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
    ) -> Line:
        """Connect, and return the line once the server has told its time."""
        try:
            await connection.connect()
        except BaseException:
            await connection.disconnect(nowait=True)
            raise
        line = cls(connection, on_push, on_end)
        try:
            seconds, microseconds = await line.ask("TIME")
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
        *command: str | bytes | float,
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
        self._outgoing += self._connection.pack_command(*command)
        if self._sender is None:
            self._sender = self._loop.create_task(self._send())
        return answer

    def run(
        self,
        script: Script,
        keys: Sequence[str],
        *arguments: str | bytes | float,
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
        self._closing = self._loop.create_task(self._connection.disconnect(nowait=True))
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


class Servers(ABC):
    """Where the channels of a store are.

    Args:
        url: Where Redis is, as redis-py reads it.

    Attributes:
        parts: Into how many parts the channels are dealt; each is on one server.
        sharded: Whether a bell is heard on the server of its part only.

    Raises ``ImproperlyConfigured`` if redis-py is missing or cannot use the URL.
    """

    parts = 1
    sharded = False

    def __init__(self, url: str) -> None:
        redis = load("redis.asyncio.connection")
        try:
            self._options: dict[str, Any] = {
                "socket_connect_timeout": CONNECT_TIMEOUT,
                "socket_keepalive": True,
                **redis.parse_url(url),
                "socket_timeout": None,  # How long to wait is the line's affair.
                "protocol": 3,
            }
            self._class = self._options.pop("connection_class", redis.Connection)
            self.take_options()
        except (TypeError, ValueError) as error:
            raise ImproperlyConfigured(
                f"The URL of a store of the type 'redis' cannot be used: {error}"
            ) from error

    def take_options(self) -> None:
        """Take from the options of the URL what is not a connection's, and try them.

        Raises ``TypeError`` or ``ValueError``.
        """
        self.connection(())

    @abstractmethod
    async def find(self, key: str) -> Address:
        """Return where the server of a key listens."""

    def forget(self) -> None:  # noqa: B027
        """Hear that a key may now be on another server than before."""

    def connection(self, address: Address) -> Connection:
        """Return a connection to a server, not open yet."""
        options = self._options
        if address:
            host, port = address
            options = {**options, "host": host, "port": port}
        connection: Connection = self._class(**options)
        return connection


class OneServer(Servers):
    """One Redis: ``redis://``, ``rediss://`` or ``unix://``."""

    async def find(self, key: str) -> Address:
        return ()


class SentinelServers(Servers):
    """The master that Sentinel names.

    The URL is ``redis+sentinel://user:password@host:port,host:port/service/database``.
    The password of the sentinels themselves is its option ``sentinel_password``.
    """

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._hosts = _hosts(parts, 26379)
        self._service, _, database = parts.path.strip("/").partition("/")
        if not self._service:
            raise ImproperlyConfigured(
                "The URL of a store behind Sentinel has the name of the service after"
                " the hosts, as in redis+sentinel://host:26379,host:26379/service/0."
            )
        super().__init__(_single(parts, f"/{database}"))

    def take_options(self) -> None:
        self._sentinel_options = {
            "socket_timeout": CONNECT_TIMEOUT,
            "username": self._options.pop("sentinel_username", None),
            "password": self._options.pop("sentinel_password", None),
            **{name: self._options[name] for name in self._options if "ssl" in name},
            "ssl": self._class.__name__.startswith("SSL"),
        }
        super().take_options()

    async def find(self, key: str) -> Address:
        sentinel = load("redis.asyncio").Sentinel(
            self._hosts, sentinel_kwargs=self._sentinel_options
        )
        try:
            host, port = await sentinel.discover_master(self._service)
        finally:
            for client in sentinel.sentinels:
                await client.aclose()
        return (host, port)


class ClusterServers(Servers):
    """The masters of a cluster: ``redis+cluster://host:port,host:port``."""

    parts = 256
    sharded = True

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._hosts = _hosts(parts, 6379)
        self._cluster: Any = None
        self._asking = asyncio.Lock()
        super().__init__(_single(parts, ""))

    def take_options(self) -> None:
        super().take_options()
        self._make_cluster()

    def _make_cluster(self) -> Any:
        redis = load("redis.asyncio.cluster")
        options = {**self._options, "socket_timeout": CONNECT_TIMEOUT}
        for name in ("host", "port", "db"):
            options.pop(name, None)
        if self._class.__name__.startswith("SSL"):
            options["ssl"] = True
        nodes = [redis.ClusterNode(host, port) for host, port in self._hosts]
        return redis.RedisCluster(startup_nodes=nodes, **options)

    async def find(self, key: str) -> Address:
        async with self._asking:
            cluster = self._cluster = self._cluster or await self._ask_cluster()
        node = cluster.get_node_from_key(key)
        if node is None:
            raise LineLost(f"No server of the cluster has the key {key}.")
        return (node.host, node.port)

    def forget(self) -> None:
        self._cluster = None

    async def _ask_cluster(self) -> Any:
        """Return a client that has asked the cluster where what is."""
        cluster = self._make_cluster()
        try:
            await cluster.initialize()
        finally:
            await cluster.aclose()  # What it knows by now, it goes on to know.
        # Those that the URL names may be gone when it is asked again.
        known = [(node.host, node.port) for node in cluster.get_nodes()]
        self._hosts = list(dict.fromkeys([*self._hosts, *known]))
        return cluster


def find_servers(url: str) -> Servers:
    """Return the servers that a URL names. Raises ``ImproperlyConfigured``."""
    scheme = urlsplit(url).scheme
    if scheme.endswith("+sentinel"):
        return SentinelServers(url)
    if scheme.endswith("+cluster"):
        return ClusterServers(url)
    return OneServer(url)


def _hosts(url: SplitResult, default_port: int) -> list[tuple[str, int]]:
    """Return the hosts of a URL that names several, with their ports."""
    hosts = []
    for each in url.netloc.rpartition("@")[2].split(","):
        host = urlsplit(f"//{each}")
        try:
            port = host.port or default_port
        except ValueError:
            port = 0
        if not host.hostname or not port:
            raise ImproperlyConfigured(
                f"The URL of a store of the type 'redis' names {each!r}, which is no"
                " host with a port."
            )
        hosts.append((host.hostname, port))
    return hosts


def _single(url: SplitResult, path: str) -> str:
    """Return the URL of a single server that has the same password and options."""
    user, at, _ = url.netloc.rpartition("@")
    scheme = url.scheme.partition("+")[0]
    return urlunsplit((scheme, f"{user}{at}localhost", path, url.query, ""))
