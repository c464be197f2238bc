"""Which pages of other origins may read the answers of a location (Fetch, CORS)."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from pushserver.conf import SubscriberLocation
from pushserver.origins import is_listed, normalize_origin

from .protocol import VARY, Headers

# NchanSubscriber.js sends Etag. An id in Last-Event-ID holds a colon, so that browsers
# send a preflight request first.
_HEADERS: Headers = [
    (
        b"access-control-allow-headers",
        b"If-Modified-Since, If-None-Match, Last-Event-ID, Etag, Authorization,"
        b" X-Cookie",
    ),
    (
        b"access-control-expose-headers",
        b"Last-Modified, Etag, Cache-Control, Push-Gap, Push-Denied, Push-Location,"
        b" Retry-After, WWW-Authenticate",
    ),
    (b"access-control-max-age", b"864000"),
]


class CrossOrigin:
    """The headers of a location, made once and looked up for each request.

    Args:
        origins: Lower-case origins, or ``('*',)``; empty for none.
        credentials: Whether pages may send cookies.
        others: Headers that each answer has besides.
    """

    def __init__(
        self,
        origins: tuple[str, ...],
        credentials: bool,
        others: Iterable[tuple[bytes, bytes]] = (),
    ) -> None:
        # With several origins the answer depends on who asks, and caches must know.
        vary = VARY + b", Origin" if len(origins) > 1 else VARY
        self._refused: Headers = [*others, (b"vary", vary)]
        self._allowed: dict[bytes, Headers] = {}
        for origin in origins:
            self._allowed[origin.encode()] = [
                *self._refused,
                (b"access-control-allow-origin", origin.encode()),
                *(
                    [(b"access-control-allow-credentials", b"true")]
                    if credentials
                    else []
                ),
                *_HEADERS,
            ]
        # What any origin gets, and who does not say where it comes from: with one fixed
        # origin the same headers for all are right for every cache.
        self._any = self._allowed.get(b"*", self._refused)
        self._unsaid = (
            next(iter(self._allowed.values())) if len(origins) == 1 else self._refused
        )

    @classmethod
    def of(cls, location: SubscriberLocation, others: Headers) -> CrossOrigin:
        """Return the headers of a location."""
        return cls(location.allow_origin, location.allow_credentials, others)

    def headers(self, origin: bytes | None) -> Headers:
        """Return the headers, ``Vary`` among them, for a request's ``Origin``.

        The same list for many requests: do not change it.
        """
        if origin is None:
            return self._unsaid
        return self._allowed.get(origin.lower(), self._any)


class CrossOriginPublishing:
    """The headers of a publisher location.

    Args:
        allow_origin: The location's origins, or ``('*',)``; those in
            ``CSRF_TRUSTED_ORIGINS`` are allowed besides.
        methods: Those that pages may use.
        others: Headers that each answer has besides.
    """

    def __init__(
        self,
        allow_origin: Collection[str],
        methods: Iterable[str],
        others: Iterable[tuple[bytes, bytes]] = (),
    ) -> None:
        self._allow_origin = allow_origin
        self._unsaid: Headers = [*others]
        self._refused: Headers = [*others, (b"vary", b"Origin")]
        self._allowed: Headers = [
            *self._refused,
            (b"access-control-allow-methods", ", ".join(methods).encode()),
            (
                b"access-control-allow-headers",
                b"Content-Type, Content-Encoding, X-EventSource-Event, Authorization,"
                b" X-Requested-With",
            ),
            (b"access-control-expose-headers", b"Retry-After, Allow"),
            (b"access-control-max-age", b"864000"),
        ]

    def headers(self, origin: bytes | None) -> Headers:
        """Return the headers for a request's ``Origin``; programs send none.

        The same list for many requests: do not change it.
        """
        if origin is None:
            return self._unsaid
        if not is_listed(
            normalize_origin(origin.decode("latin-1")), self._allow_origin
        ):
            return self._refused
        named = b"*" if "*" in self._allow_origin else origin
        return [*self._allowed, (b"access-control-allow-origin", named)]
