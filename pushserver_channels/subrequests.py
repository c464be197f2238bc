"""Requests to a Django application inside this process, without a socket.

Such a request is made on behalf of a client's own one, whose headers it carries. What
is needed of the client's request is kept in few bytes, because many may wait.
"""

from __future__ import annotations

import asyncio
import pickle
from collections import deque
from collections.abc import Callable, Coroutine, Generator
from contextvars import ContextVar
from typing import Any
from urllib.parse import quote

from pushserver.views import INTERNAL_REQUEST

from .types import Application, ASGIMessage, Scope

#: Keys of a client's scope that the request has, too. Others are the affair of the
#: client's connection, such as extensions of the server.
_KEPT_KEYS = ("http_version", "scheme", "root_path", "client", "server", "headers")

#: Headers that describe the client's connection and body, not the request made here.
_DROPPED_HEADERS = frozenset(
    {
        b"connection",
        b"content-encoding",
        b"content-length",
        b"content-type",
        b"expect",
        b"keep-alive",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    }
)

#: Whether the running code belongs to a request made here.
_in_subrequest: ContextVar[bool] = ContextVar("pushserver_subrequest", default=False)


class ApplicationExited(Exception):
    """The application tried to end the process, as ``sys.exit()`` does."""

    def __init__(self, error: BaseException) -> None:
        super().__init__(error)
        self.error = error

    def __str__(self) -> str:
        return f"{self.error!r} was raised, which would have ended the server."


class ClientRequest:
    """What is kept of a client's request.

    Args:
        scope: The request's.

    Attributes:
        size: Bytes that it takes, about.
    """

    __slots__ = ("_packed", "_state")

    def __init__(self, scope: Scope) -> None:
        kept = {key: scope[key] for key in _KEPT_KEYS if key in scope}
        kept["headers"] = [
            (name, value)
            for name, value in scope["headers"]
            if name not in _DROPPED_HEADERS
        ]
        # One bytes object: a tuple and two more objects for each header would take
        # several times as much.
        self._packed = pickle.dumps(kept, pickle.HIGHEST_PROTOCOL)
        # What the application made at its start (lifespan); most make nothing.
        self._state = scope.get("state") or None

    @property
    def size(self) -> int:
        return len(self._packed)

    def build_scope(self, path: str, body: bytes) -> Scope:
        """Return the scope of a POST of a form, as if the client had made it."""
        scope: Scope = pickle.loads(self._packed)
        scope["headers"] += [
            (b"content-type", b"application/x-www-form-urlencoded"),
            (b"content-length", b"%d" % len(body)),
        ]
        if self._state is not None:
            scope["state"] = self._state
        return {
            **scope,
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "method": "POST",
            "path": path,
            "raw_path": quote(path).encode(),
            "query_string": b"",
            INTERNAL_REQUEST: True,
        }


async def run_application(
    application: Application, scope: Scope, body: bytes
) -> int | None:
    """Run an application on a request, and return the status that it answered.

    None if it did not answer. Raises what the application raises;
    :class:`ApplicationExited` in place of ``SystemExit`` and ``KeyboardInterrupt``,
    which an event loop lets end the process.

    Call it in a task of its own, on a loop prepared by :func:`contain_exits`.
    """
    messages: deque[ASGIMessage] = deque([{"type": "http.request", "body": body}])
    answered = asyncio.Event()
    status = None

    async def receive() -> ASGIMessage:
        if messages:
            return messages.popleft()
        # Django takes a disconnect before its answer for a client that left.
        await answered.wait()
        return {"type": "http.disconnect"}

    async def send(message: ASGIMessage) -> None:
        nonlocal status
        if message["type"] == "http.response.start":
            status = message["status"]
        elif not message.get("more_body", False):
            answered.set()

    _in_subrequest.set(True)
    with _convert_exits():
        await application(scope, receive, send)
    return status


class _convert_exits:
    """Raise :class:`ApplicationExited` in place of what ends an event loop."""

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, kind: object, error: BaseException | None, trace: object
    ) -> None:
        if isinstance(error, SystemExit | KeyboardInterrupt):
            raise ApplicationExited(error) from error


class _ContainedCoroutine(Coroutine[Any, Any, Any]):
    """A coroutine that cannot end the event loop."""

    def __init__(self, work: Coroutine[Any, Any, Any]) -> None:
        self._work = work

    def send(self, value: Any) -> Any:
        with _convert_exits():
            return self._work.send(value)

    def throw(self, *error: Any) -> Any:
        with _convert_exits():
            return self._work.throw(*error)

    def close(self) -> None:
        with _convert_exits():
            self._work.close()

    def __await__(self) -> Generator[Any, Any, Any]:
        return self._work.__await__()


def contain_exits(loop: asyncio.AbstractEventLoop) -> None:
    """Keep tasks that a request of ours starts from ending the event loop.

    Django runs middleware and views in tasks that it makes, where nobody could catch
    a ``SystemExit``: the loop raises it, and the server ends. Tasks of others are made
    as they were.
    """
    current: Any = loop.get_task_factory()
    if getattr(current, "contains_exits", False):
        return
    make_task: Callable[..., Any] = current or _make_task

    def make(
        loop: asyncio.AbstractEventLoop, work: Coroutine[Any, Any, Any], **options: Any
    ) -> Any:
        context = options.get("context")
        is_inside = (
            _in_subrequest.get() if context is None else context.get(_in_subrequest)
        )
        return make_task(
            loop, _ContainedCoroutine(work) if is_inside else work, **options
        )

    make.contains_exits = True  # type: ignore[attr-defined]
    loop.set_task_factory(make)  # type: ignore[arg-type]


def _make_task(
    loop: asyncio.AbstractEventLoop, work: Coroutine[Any, Any, Any], **options: Any
) -> asyncio.Task[Any]:
    return asyncio.Task(work, loop=loop, **options)
