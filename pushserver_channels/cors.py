"""The CORS headers of publisher and subscriber locations (Fetch standard)."""

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
    """The CORS headers of a subscriber location, built once for all requests.

    Args:
        origins: The allowed origins in lower case, or ``('*',)``; empty for none.
        credentials: Whether pages may send cookies.
        others: Other headers of every answer.
        varies: What the answers depend on besides, as in ``Vary``.
    """

    def __init__(
        self,
        origins: tuple[str, ...],
        credentials: bool,
        others: Iterable[tuple[bytes, bytes]] = (),
        varies: bytes = b"",
    ) -> None:
        # With several origins the answer depends on who asks, and caches must know.
        vary = VARY + varies + (b", Origin" if len(origins) > 1 else b"")
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
        # The headers for an origin that is not listed, and for a request without an
        # Origin. With one allowed origin the latter are the same as for that origin, so
        # that a cache may reuse the answer.
        self._any = self._allowed.get(b"*", self._refused)
        self._unsaid = (
            next(iter(self._allowed.values())) if len(origins) == 1 else self._refused
        )

    @classmethod
    def of(cls, location: SubscriberLocation, others: Headers) -> CrossOrigin:
        """Return the headers of a location."""
        # A GET may be either there.
        is_either = {"poll", "eventsource"} <= set(location.allowed)
        return cls(
            location.allow_origin,
            location.allow_credentials,
            others,
            b", Accept" if is_either else b"",
        )

    def headers(self, origin: bytes | None) -> Headers:
        """Return the headers, including ``Vary``, for a request's ``Origin``.

        The list is shared by many requests and must not be changed.
        """
        if origin is None:
            return self._unsaid
        return self._allowed.get(origin.lower(), self._any)


class CrossOriginPublishing:
    """The CORS headers of a publisher location.

    Args:
        allow_origin: The location's ``allow_origin``; the origins in
            ``CSRF_TRUSTED_ORIGINS`` are allowed as well.
        methods: The methods that pages may use.
        others: Other headers of every answer.
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
                b"Content-Type, Content-Encoding, X-EventSource-Event, TTL,"
                b" Idempotency-Key, Authorization, X-Requested-With",
            ),
            (b"access-control-expose-headers", b"Retry-After, Allow"),
            (b"access-control-max-age", b"864000"),
        ]

    def headers(self, origin: bytes | None) -> Headers:
        """Return the headers for a request's ``Origin``, which only browsers send.

        The list is shared by many requests and must not be changed.
        """
        if origin is None:
            return self._unsaid
        if not is_listed(
            normalize_origin(origin.decode("latin-1")), self._allow_origin
        ):
            return self._refused
        named = b"*" if "*" in self._allow_origin else origin
        return [*self._allowed, (b"access-control-allow-origin", named)]
