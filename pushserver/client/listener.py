"""Listen to channels from Python, with ``for`` and with ``async for``."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Callable, Generator, Mapping
from functools import partial
from typing import Any

try:
    import httpx
except ImportError as error:
    raise ImportError(
        "pushserver.client needs httpx: pip install 'django-pushserver[client]'."
    ) from error

from .received import Received
from .session import Session

logger = logging.getLogger(__name__)

#: Seconds without a byte after which a request is sent again. Servers send a comment on
#: an idle stream every 25 seconds, and end a poll after 55.
SILENCE = 90.0

#: Seconds in which a connection must be made.
CONNECT_TIMEOUT = 10.0

#: What is raised if a request gets no answer, or one that cannot be decoded.
FAILURES = (httpx.TransportError, httpx.DecodingError)


class Listener:
    """The messages of a URL: iterate over it with ``for`` or with ``async for``.

    Each iteration is a subscription of its own. It ends when the loop is left.

    The arguments are those of :func:`listen`.
    """

    def __init__(
        self,
        url: str | Callable[[], str],
        *,
        after: str | None,
        transport: str | None,
        headers: Mapping[str, str] | None,
        client: httpx.Client | httpx.AsyncClient | None,
        silence: float,
    ) -> None:
        self._make_session = partial(Session, url, after, transport)
        self._make_session()  # It raises an error if an argument is invalid.
        self._headers = dict(headers or {})
        self._client = client
        self._timeout = httpx.Timeout(CONNECT_TIMEOUT, read=silence, pool=None)

    def __iter__(self) -> Generator[Received, None, None]:
        if isinstance(self._client, httpx.AsyncClient):
            raise TypeError("Use 'async for' with an httpx.AsyncClient.")
        if self._client is not None:
            yield from self._listen(self._client)
            return
        with httpx.Client() as client:
            yield from self._listen(client)

    async def __aiter__(self) -> AsyncGenerator[Received, None]:
        if isinstance(self._client, httpx.Client):
            raise TypeError("Use 'for' with an httpx.Client.")
        client = self._client or httpx.AsyncClient()
        listening = self._alisten(client)
        try:
            async for received in listening:
                yield received
        finally:
            await listening.aclose()
            if client is not self._client:
                await client.aclose()

    def _listen(self, client: httpx.Client) -> Generator[Received, None, None]:
        session = self._make_session()
        while True:
            options = self._build_options(session)
            failure: httpx.HTTPError | None = None
            try:
                with client.stream("GET", **options) as response:
                    if session.begin(response.status_code, response.headers):
                        for chunk in response.iter_bytes():
                            yield from session.feed(chunk)
                    else:
                        yield from session.read_answer(response.read())
            except FAILURES as error:
                failure = _check_failure(error)
            time.sleep(_find_delay(session, failure))

    async def _alisten(
        self, client: httpx.AsyncClient
    ) -> AsyncGenerator[Received, None]:
        session = self._make_session()
        while True:
            options = self._build_options(session)
            failure: httpx.HTTPError | None = None
            try:
                async with client.stream("GET", **options) as response:
                    if session.begin(response.status_code, response.headers):
                        async for chunk in response.aiter_bytes():
                            for received in session.feed(chunk):
                                yield received
                    else:
                        for received in session.read_answer(await response.aread()):
                            yield received
            except FAILURES as error:
                failure = _check_failure(error)
            await asyncio.sleep(_find_delay(session, failure))

    def _build_options(self, session: Session) -> dict[str, Any]:
        """Return the arguments of the next request."""
        url, headers = session.build_request()
        return {
            "url": url,
            "headers": {**self._headers, **headers},
            "timeout": self._timeout,
        }


def _check_failure(failure: httpx.HTTPError) -> httpx.HTTPError:
    """Return a failure after which a request is sent again.

    Raises ``ValueError`` if the URL cannot be requested.
    """
    if isinstance(failure, httpx.UnsupportedProtocol):
        raise ValueError(
            "listen() needs a URL with a host, as in 'https://www.example.com/updates/"
            "news'; subscriber_url() returns one if 'subscriber_host' is set. (httpx:"
            f" {failure})"
        ) from failure
    return failure


def _find_delay(session: Session, failure: httpx.HTTPError | None) -> float:
    """Return the seconds until the next request; log a failure."""
    was_silent = isinstance(failure, httpx.ReadTimeout)
    delay = session.find_delay(failure, was_silent=was_silent)
    if failure is not None and not was_silent:
        logger.info("Trying again in %.1f s: %r", delay, failure)
    return delay


def listen(
    url: str | Callable[[], str],
    *,
    after: str | None = None,
    transport: str | None = None,
    headers: Mapping[str, str] | None = None,
    client: httpx.Client | httpx.AsyncClient | None = None,
    silence: float = SILENCE,
) -> Listener:
    """Return the messages of a URL: ``async for update in listen(url)``.

    ``for`` works as well. Where the connection breaks, it is made again with growing
    delays, and the messages continue after the last one, each once and in order. If
    some were dropped meanwhile, ``missed`` of the next one says so.

    Args:
        url: The URL of a subscriber location, as ``subscriber_url()`` returns it with a
            host; or a function that returns one, which is called again when its token
            has expired.
        after: The id after which messages are wanted, ``"oldest"`` or ``"newest"``.
            None for where the location begins.
        transport: ``"stream"``, ``"batch"`` or ``"poll"``; None for streams where the
            server has them.
        headers: More headers of each request, such as ``Authorization``.
        client: An ``httpx.Client`` for ``for``, or an ``httpx.AsyncClient`` for ``async
            for``, with cookies and certificates of its own. It is not closed.
        silence: Seconds without a byte after which the request is sent again.

    Raises ``ValueError`` for an unknown transport. The iteration raises it for a URL
    without a host, and :class:`ListenError` if the server refuses for good: there is no
    such channel, or it may not be read.
    """
    return Listener(
        url,
        after=after,
        transport=transport,
        headers=headers,
        client=client,
        silence=silence,
    )
