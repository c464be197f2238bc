"""Ask the site's function ``authorize`` in threads, and remember what it granted."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Coroutine, Mapping, Sequence
from dataclasses import replace
from hashlib import blake2b
from typing import Any
from urllib.parse import quote, unquote_to_bytes

from django.conf import settings as django_settings
from django.http import parse_cookie

from pushserver.access.authorizing import AuthorizationFailed, authorize
from pushserver.access.permissions import Permission
from pushserver.conf import PushServerSettings
from pushserver.publishers.deadline import Deadline
from pushserver.publishers.workers import NotStarted, Workers
from pushserver_channels.counters import counters
from pushserver_channels.exceptions import AuthorizationUnavailable, ServerStopping
from pushserver_channels.log_details import describe_request
from pushserver_channels.paced_log import PacedLog
from pushserver_channels.types import Scope

from .remembered import RememberedPermissions
from .revocations import Revocations

logger = logging.getLogger("pushserver.access")

#: The most calls that run at once. Each is a thread, which takes turns with the event
#: loop.
MAX_THREADS = 8

#: The most while they are short. Of 2,000 sessions in a database all are answered after
#: the same time with two as with eight, but a publish meanwhile takes 38 ms (p99) in
#: place of 240 ms.
USUAL_THREADS = 2

#: Seconds after which a subscriber is answered that it may come back later.
TIMEOUT = 30.0

#: The most subscribers that wait for an answer.
MAX_WAITING = 20_000

#: Headers on which the digest of a request always depends. All cookies do, because a
#: site may know its users by another one than the session's.
_ALWAYS = (b"authorization", b"cookie", b"host")

#: The characters of a query that are not percent-encoded.
_ASCII = bytes(range(128)).decode()

#: The threads of this process.
workers = Workers(MAX_THREADS, USUAL_THREADS)

if hasattr(os, "register_at_fork"):  # Windows has no fork().
    os.register_at_fork(after_in_child=workers.forget)

_Answers = Mapping[str, Permission | None]


class Authorizer:
    """Asks the site's function about the subscribers of one location.

    Subscribers with the same session or ``Authorization`` that ask for the same channel
    share an answer. All methods are called on one event loop.

    Args:
        path: The dotted path of the function.
        settings: The settings in ``PUSH_SERVER``.
        revocations: The revocations for the store of the location.
    """

    def __init__(
        self, path: str, settings: PushServerSettings, revocations: Revocations
    ) -> None:
        self._path = path
        self._revocations = revocations
        self._remembered = RememberedPermissions(settings.authorize_for)
        revocations.callbacks.append(self._remembered.revoke)
        revocations.stop_callbacks.append(self._stop)
        self._names = (*_ALWAYS, *(each.encode() for each in settings.authorize_vary))
        self._tasks: set[asyncio.Task[_Answers]] = set()
        # The same by what identifies a subscriber, and by channel.
        self._running: dict[tuple[bytes, str], asyncio.Task[_Answers]] = {}
        self._waiting = 0
        # Anybody can make it slow, so not each request is a line of the log.
        self._unanswered = PacedLog(
            logger,
            "%d requests of subscribers were not admitted, because authorize has not"
            f" answered within {TIMEOUT:g} seconds, or too many wait for its answer.",
        )

    async def ask(
        self, scope: Scope, headers: Mapping[bytes, bytes], channel_ids: Sequence[str]
    ) -> dict[str, Permission | None]:
        """Return the permission for each channel, None where it was denied.

        Args:
            scope: The ASGI scope of the request.
            headers: The headers of the request, by name.
            channel_ids: The channels.

        Raises :class:`AuthorizationUnavailable` and
        :class:`~pushserver_channels.exceptions.ServerStopping`.
        """
        if self._revocations.is_stopping:
            raise ServerStopping
        digest = self._digest(scope, headers)
        answers: dict[str, Permission | None] = {}
        tasks: dict[str, asyncio.Task[_Answers]] = {}
        missing = []
        remembered_of = self._remembered.find
        for each in channel_ids:
            remembered = None if digest is None else remembered_of(digest, each)
            running = None if digest is None else self._running.get((digest, each))
            if remembered is not None:
                answers[each] = remembered
            elif running is not None:
                tasks[each] = running
            else:
                missing.append(each)
        if missing:
            task = self._start(self._ask(scope, digest, missing))
            tasks.update(dict.fromkeys(missing, task))
            if digest is not None:
                self._running.update({(digest, each): task for each in missing})
        for each, task in tasks.items():
            # A subscriber that leaves must not take the answer from the others.
            answers[each] = (await asyncio.shield(task))[each]
        return answers

    def _start(self, asking: Coroutine[Any, Any, _Answers]) -> asyncio.Task[_Answers]:
        """Start to ask, in a task that all who want its answer wait for."""
        task = asyncio.get_running_loop().create_task(asking)
        self._tasks.add(task)

        def end(task: asyncio.Task[_Answers]) -> None:
            self._tasks.discard(task)
            if not task.cancelled():
                task.exception()  # Perhaps nobody waits any more.

        task.add_done_callback(end)
        return task

    def _stop(self) -> None:
        """Give up all questions, because the server stops."""
        for task in self._tasks:
            task.cancel()

    async def _ask(
        self, scope: Scope, digest: bytes | None, channel_ids: Sequence[str]
    ) -> _Answers:
        """Call the function; remember what it granted."""
        scope = _build_scope(scope)
        try:
            while True:
                known = self._revocations.count
                answers = await self._call(scope, channel_ids)
                answers = self._mark(answers, known)
                # An answer from before a revocation may be about what was revoked.
                if not self._has_revoked(answers):
                    break
        except asyncio.CancelledError:
            if self._revocations.is_stopping:
                raise ServerStopping from None
            raise
        finally:
            for each in channel_ids if digest is not None else ():
                self._running.pop((digest, each), None)  # type: ignore[arg-type]
        if digest is not None:
            self._remembered.add(digest, answers)
        return answers

    def _mark(self, answers: _Answers, known: int) -> dict[str, Permission | None]:
        """Return answers with what was known when they were asked for.

        Args:
            answers: The answers.
            known: How many revocations were.
        """
        marked: dict[str, Permission | None] = {}
        for channel_id, permission in answers.items():
            if permission is not None:
                permission = replace(permission, known=known)
                if self._revocations.is_of_ended_session(permission):
                    permission = None
            marked[channel_id] = permission
        return marked

    def _has_revoked(self, answers: _Answers) -> bool:
        """Return whether one of the answers was revoked since it was asked for."""
        return any(
            permission is not None and self._revocations.refuses(permission, channel_id)
            for channel_id, permission in answers.items()
        )

    async def _call(self, scope: Scope, channel_ids: Sequence[str]) -> _Answers:
        if self._waiting >= MAX_WAITING:
            self._unanswered.add(extra=_describe(scope, channel_ids))
            raise AuthorizationUnavailable
        self._waiting += 1
        started = time.monotonic()
        try:
            return await asyncio.wait_for(
                workers.run(
                    object(),  # In no order.
                    lambda: _authorize(self._path, scope, channel_ids),
                    Deadline(TIMEOUT),
                ),
                TIMEOUT,
            )
        except (NotStarted, asyncio.TimeoutError):
            self._unanswered.add(extra=_describe(scope, channel_ids))
        except AuthorizationFailed:
            pass  # It has logged why.
        finally:
            self._waiting -= 1
            counters.authorize_seconds.observe(time.monotonic() - started)
        raise AuthorizationUnavailable

    def _digest(self, scope: Scope, headers: Mapping[bytes, bytes]) -> bytes | None:
        """Return what identifies a subscriber, None if its answers are not shared."""
        if b"authorization" not in headers:
            lines = [value for name, value in scope["headers"] if name == b"cookie"]
            cookies = parse_cookie(b"; ".join(lines).decode("latin-1"))
            if django_settings.SESSION_COOKIE_NAME not in cookies:
                return None
        digest = blake2b(digest_size=16)
        for name in self._names:
            value = headers.get(name, b"")
            digest.update(b"%d:%b\n" % (len(value), value))
        return digest.digest()


def _authorize(path: str, scope: Scope, channel_ids: Sequence[str]) -> _Answers:
    """Return the permissions, or raise only :class:`AuthorizationFailed`."""
    try:
        return authorize(path, scope, channel_ids)
    except AuthorizationFailed:
        raise
    except BaseException as error:
        # A middleware may raise SystemExit, which would end the event loop.
        extra = _describe(scope, channel_ids)
        logger.exception("authorize cannot be called", extra=extra)
        raise AuthorizationFailed from error


def _describe(scope: Scope, channel_ids: Sequence[str]) -> dict[str, str]:
    """Return the ``extra`` of a log record about a request."""
    transport = "websocket" if "subprotocols" in scope else ""
    reason = AuthorizationUnavailable.reason
    return describe_request(scope, channel_ids, transport, reason)


def _build_scope(scope: Scope) -> Scope:
    """Return the ASGI scope for the site's function.

    Without tokens in the query, and with the cookies in one header: HTTP/2 may divide
    them, and Django may join such lines by commas (RFC 9113, section 8.2.3).
    """
    headers = scope["headers"]
    cookies = [value for name, value in headers if name == b"cookie"]
    if len(cookies) > 1:
        headers = [each for each in headers if each[0] != b"cookie"]
        headers.append((b"cookie", b"; ".join(cookies)))
    query = _remove_tokens(scope.get("query_string", b""))
    return {**scope, "headers": headers, "query_string": query}


def _remove_tokens(query: bytes) -> bytes:
    """Return a query without tokens, as ASCII."""
    if b"%" in query or b"token" in query:
        parts = query.split(b"&")
        query = b"&".join(each for each in parts if not _is_token(each))
    return query if query.isascii() else quote(query, safe=_ASCII).encode()


def _is_token(part: bytes) -> bool:
    name = part.partition(b"=")[0]
    return unquote_to_bytes(name.replace(b"+", b" ")) == b"token"
