"""Make requests to a Django application inside this process, without a socket.

Such a request is made on behalf of a client, with the headers of the client's own
request. The parts needed of that request are stored compactly, because many may wait.
"""

from __future__ import annotations

import asyncio
import pickle
from collections import deque
from collections.abc import Callable, Coroutine, Generator, Mapping
from contextvars import ContextVar
from typing import Any
from urllib.parse import quote

from pushserver.views import INTERNAL_REQUEST

from .types import Application, ASGIMessage, Scope

#: The keys of the client's ASGI scope that are copied into the scope of the request.
#: Others, such as the server's extensions, belong to the client's connection.
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

#: Whether the current context belongs to a request made here.
_in_subrequest: ContextVar[bool] = ContextVar("pushserver_subrequest", default=False)


class ApplicationExited(Exception):
    """The application tried to end the process, as ``sys.exit()`` does."""

    def __init__(self, error: BaseException) -> None:
        super().__init__(error)
        self.error = error

    def __str__(self) -> str:
        return f"{self.error!r} was raised, which would have ended the server."


class ClientRequest:
    """The parts of a client's request that later requests are built from.

    Args:
        scope: The ASGI scope of the client's request.

    Attributes:
        size: The approximate size in bytes.
    """

    __slots__ = ("_packed", "_state")

    def __init__(self, scope: Scope) -> None:
        kept = {key: scope[key] for key in _KEPT_KEYS if key in scope}
        kept["headers"] = [
            (name, value)
            for name, value in scope["headers"]
            if name not in _DROPPED_HEADERS
        ]
        # One bytes object, because three objects for each header would take several
        # times the memory.
        self._packed = pickle.dumps(kept, pickle.HIGHEST_PROTOCOL)
        # The state that the application made at startup (lifespan), if any.
        self._state = scope.get("state") or None

    @property
    def size(self) -> int:
        return len(self._packed)

    def build_scope(self, path: str, body: bytes) -> Scope:
        """Return the ASGI scope of a form's POST, as if the client had sent it."""
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
    """Run an application on a request, and return the status of its answer.

    Return None if the application did not answer. Call this in a task of its own, on an
    event loop prepared by :func:`contain_exits`.

    Raises what the application raises, but :class:`ApplicationExited` in place of
    ``SystemExit`` and ``KeyboardInterrupt``, with which the event loop would end the
    process.
    """
    messages: deque[ASGIMessage] = deque([{"type": "http.request", "body": body}])
    answered = asyncio.Event()
    status = None

    async def receive() -> ASGIMessage:
        if messages:
            return messages.popleft()
        # If it got a disconnect before it has answered, Django would abort the view.
        await answered.wait()
        return {"type": "http.disconnect"}

    async def send(message: Mapping[str, Any]) -> None:
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
    """A context manager that converts exceptions which end the event loop.

    It raises :class:`ApplicationExited` in place of ``SystemExit`` and
    ``KeyboardInterrupt``.
    """

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
    """Keep the tasks of requests made here from ending the event loop.

    Django runs middleware and views in tasks of its own, where a ``SystemExit`` cannot
    be caught: the event loop raises it, and the server ends. This sets a task factory
    on the loop; tasks that do not belong to such a request are not changed.
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
