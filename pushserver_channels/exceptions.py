"""Errors named after the protocol. The text of each is the answer's body.

PushError
├── BadRequest              400
│   ├── InvalidChannelId
│   ├── InvalidMessageId
│   ├── InvalidPosition
│   ├── InvalidEvent
│   ├── InvalidContentLength
│   ├── UnknownEncoding
│   └── IncompleteBody
│       └── LostBody
├── Unauthorized            401
│   └── GrantExpired
├── Forbidden               403
│   ├── ForbiddenPage
│   ├── MetricsForbidden
│   └── UnixSocketForbidden
├── AccessDenied            403
│   └── NoPresence
├── ChannelNotFound         404
├── MethodNotAllowed        405
├── NotAcceptable           406
├── RequestTimeout          408
├── SlowRequest             408
├── Conflict                409
├── ChannelGone             410
├── MessageTooLarge         413
│   └── BodyTooLarge
├── TargetTooLong           414
├── HeadersTooLarge         431
├── TooManyHeld             503
│   └── TooManyHeldByClient 429
├── TooManyChannels         503
│   └── TooManyEmptyChannels
├── StoreUnavailable        503
├── AuthorizationUnavailable 503
└── ServerStopping          503
ClientDisconnected          there is no client to answer
"""

from __future__ import annotations

from typing import ClassVar


class PushError(Exception):
    """An error that a request is answered with.

    Attributes:
        status: The HTTP status.
        reason: The word for it in metrics and logs.
        retry_after: Whether the answer has a ``Retry-After`` header, because the
            request may succeed later.
        closes: Whether the connection is closed after the answer, because the start of
            the next request cannot be found.
    """

    status: ClassVar[int] = 500
    reason: ClassVar[str] = "failed"
    retry_after: ClassVar[bool] = False
    closes: ClassVar[bool] = False


class BadRequest(PushError):
    """The request is malformed."""

    status = 400
    reason = "invalid"


class InvalidChannelId(BadRequest):
    """The channel id is empty, too long or not UTF-8."""


class InvalidMessageId(BadRequest):
    """``If-Modified-Since`` or ``If-None-Match`` is malformed."""

    def __init__(self, header: str, value: str, expected: str) -> None:
        super().__init__(header, value, expected)
        self.header = header
        self.value = value
        self.expected = expected

    def __str__(self) -> str:
        return f"The header {self.header} is {self.value!r}, not {self.expected}."


class InvalidPosition(BadRequest):
    """What says where a client begins cannot be read."""

    def __init__(self, source: str, value: str, expected: str) -> None:
        super().__init__(source, value, expected)
        self.source = source
        self.value = value
        self.expected = expected

    def __str__(self) -> str:
        return f"The {self.source} is {self.value!r}, not {self.expected}."


class InvalidEvent(BadRequest):
    """The event of a message cannot have its name."""


class InvalidContentLength(BadRequest):
    """``Content-Length`` is not a number."""

    closes = True

    def __init__(self, value: str) -> None:
        super().__init__(value)
        self.value = value

    def __str__(self) -> str:
        return f"The header Content-Length is {self.value[:80]!r}, not a number."


class UnknownEncoding(BadRequest):
    """``Transfer-Encoding`` is not ``chunked``, so the body is encoded otherwise."""

    def __init__(self, value: str) -> None:
        super().__init__(value)
        self.value = value

    def __str__(self) -> str:
        return f"The header Transfer-Encoding is {self.value[:80]!r}, not chunked."


class IncompleteBody(BadRequest):
    """The body is shorter or longer than its headers declare."""

    closes = True

    def __init__(self, size: int, declared: int | None) -> None:
        super().__init__(size, declared)
        self.size = size
        self.declared = declared

    def __str__(self) -> str:
        if self.declared is None:
            return f"The body ended after {self.size} bytes, before its last chunk."
        return (
            f"The body has {self.size} bytes, but Content-Length promises"
            f" {self.declared}."
        )


class LostBody(IncompleteBody):
    """The server dropped the body, because the request has an ``Upgrade`` header."""

    def __str__(self) -> str:
        return (
            "The body was lost on this server, because the request has the header"
            " Upgrade: send it without that one (in Java, set HTTP_1_1)."
        )


class Unauthorized(PushError):
    """The location needs a token for the channel, and the request has none.

    All bad tokens have the same answer: one that is malformed, has expired, was revoked
    or is for another channel.

    Args:
        is_invalid: Whether the request has a token.
    """

    status = 401
    reason = "denied"

    def __init__(self, *, is_invalid: bool) -> None:
        super().__init__(is_invalid)
        self.is_invalid = is_invalid

    def __str__(self) -> str:
        if self.is_invalid:
            return "The token is invalid for this channel, or has expired."
        return "This channel needs a token."


class GrantExpired(Unauthorized):
    """The right to listen has ended while the request was held."""

    def __init__(self) -> None:
        super().__init__(is_invalid=True)

    def __str__(self) -> str:
        return "The right to listen to this channel has expired."


class AccessDenied(PushError):
    """The subscriber may not listen to the channel, whether or not it exists."""

    status = 403
    reason = "denied"

    def __str__(self) -> str:
        return "You may not listen to this channel."


class NoPresence(AccessDenied):
    """The channel tells who is on another one, and its location has no presence."""

    def __str__(self) -> str:
        return (
            "This location has no presence, and ids that begin with 'presence:' are of"
            " presence channels."
        )


class Forbidden(PushError):
    """The client's address is not allowed to publish."""

    status = 403
    reason = "denied"

    def __str__(self) -> str:
        return "Publishing is not allowed from this address."


class PresenceChannel(Forbidden):
    """The channel tells who is on another one, and only the push server does that."""

    def __str__(self) -> str:
        return (
            "Nobody publishes on the channels whose ids begin with 'presence:'; they"
            " tell who is on another channel."
        )


class ForbiddenPage(Forbidden):
    """The origin of the page that sent the request is not allowed to publish."""

    def __init__(self, fault: str) -> None:
        super().__init__(fault)
        self.fault = fault

    def __str__(self) -> str:
        return self.fault


class UnixSocketForbidden(Forbidden):
    """The client uses a unix socket, which the location does not allow."""

    def __str__(self) -> str:
        return (
            "Publishing is not allowed over this unix socket. 'unix' in the location's"
            " allow_from allows it for every client that may open the socket."
        )


class MetricsForbidden(Forbidden):
    """The client's address is not allowed to read the metrics."""

    def __str__(self) -> str:
        return "The metrics are not shown to this address."


class ChannelNotFound(PushError):
    """The channel does not exist, and the request may not create it."""

    status = 404
    reason = "not_found"

    def __str__(self) -> str:
        return "There is no such channel."


class MethodNotAllowed(PushError):
    """The location does not support the request's method."""

    status = 405
    reason = "invalid"

    def __init__(self, method: str, allowed: str) -> None:
        super().__init__(method, allowed)
        self.method = method
        self.allowed = allowed

    def __str__(self) -> str:
        method = self.method[:80]
        return f"The method {method} is not allowed here; {self.allowed} are."


class NotAcceptable(PushError):
    """The location does not speak as the request asks it to."""

    status = 406
    reason = "invalid"

    def __init__(self, asked: str, allowed: str) -> None:
        super().__init__(asked, allowed)
        self.asked = asked
        self.allowed = allowed

    def __str__(self) -> str:
        return f"There are no {self.asked} here; the location has {self.allowed}."


class RequestTimeout(PushError):
    """The body did not arrive in time."""

    status = 408
    reason = "invalid"
    closes = True

    def __init__(self, seconds: float) -> None:
        super().__init__(seconds)
        self.seconds = seconds

    def __str__(self) -> str:
        return f"The body did not arrive within {self.seconds:g} seconds."


class SlowRequest(PushError):
    """The body arrives too slowly."""

    status = 408
    reason = "invalid"
    closes = True

    def __str__(self) -> str:
        return "The body arrives too slowly."


class Conflict(PushError):
    """The location allows one held request a channel, and there is another one."""

    status = 409
    reason = "conflict"

    def __str__(self) -> str:
        return "Another subscriber holds this channel."


class ChannelGone(PushError):
    """The channel was deleted while the request was held."""

    status = 410
    reason = "deleted"

    def __str__(self) -> str:
        return "The channel was deleted."


class MessageTooLarge(PushError):
    """The body of a POST is longer than the location's ``max_message_size``."""

    status = 413
    reason = "too_large"
    closes = True

    def __init__(self, max_size: int) -> None:
        super().__init__(max_size)
        self.max_size = max_size

    def __str__(self) -> str:
        return f"A message has at most {self.max_size} bytes here."


class BodyTooLarge(MessageTooLarge):
    """The body of a request that publishes nothing is too long."""

    def __str__(self) -> str:
        return (
            "The body of a request that publishes nothing has at most"
            f" {self.max_size} bytes here."
        )


class TargetTooLong(PushError):
    """The request line, which holds the URL, is too long."""

    status = 414
    reason = "invalid"
    closes = True

    def __init__(self, max_size: int) -> None:
        super().__init__(max_size)
        self.max_size = max_size

    def __str__(self) -> str:
        return f"The URL of a request has at most about {self.max_size} bytes here."


class HeadersTooLarge(PushError):
    """The request has too many header lines, or too many bytes in them."""

    status = 431
    reason = "invalid"
    closes = True

    def __init__(self, max_lines: int, max_size: int) -> None:
        super().__init__(max_lines, max_size)
        self.max_lines = max_lines
        self.max_size = max_size

    def __str__(self) -> str:
        return (
            f"A request has at most {self.max_lines} header lines here, of"
            f" {self.max_size} bytes in all."
        )


class TooManyHeld(PushError):
    """The process holds ``max_held`` requests, streams and sockets already."""

    status = 503
    reason = "limited"
    retry_after = True
    # An idle connection would keep a file open, which others need.
    closes = True

    def __str__(self) -> str:
        return "Too many subscribers are connected to this server; try again later."


class TooManyHeldByClient(TooManyHeld):
    """The client's address holds ``max_held_per_client`` of them already."""

    status = 429

    def __init__(self, limit: int) -> None:
        super().__init__(limit)
        self.limit = limit

    def __str__(self) -> str:
        return (
            f"Your address has {self.limit} subscriptions open here already, which is"
            " the limit; try again later."
        )


class TooManyChannels(PushError):
    """The store has reached its ``max_channels``."""

    status = 503
    reason = "limited"
    retry_after = True

    def __init__(self, max_channels: int) -> None:
        super().__init__(max_channels)
        self.max_channels = max_channels

    def __str__(self) -> str:
        return f"There are {self.max_channels} channels already, which is the limit."


class TooManyEmptyChannels(TooManyChannels):
    """Subscribers wait on ``max_empty_channels`` channels nobody has published on."""

    def __str__(self) -> str:
        return (
            f"Subscribers wait on {self.max_channels} channels without a message"
            " already, which is the limit."
        )


class StoreUnavailable(PushError):
    """The store does not answer. A message to be published was not accepted."""

    status = 503
    reason = "unavailable"
    retry_after = True

    def __str__(self) -> str:
        return "The message store is unavailable."


class AuthorizationUnavailable(PushError):
    """Whether the subscriber may listen could not be found out."""

    status = 503
    reason = "unavailable"
    retry_after = True

    def __str__(self) -> str:
        return "Whether you may listen could not be found out; try again later."


class ServerStopping(PushError):
    """The server shut down while the request was held."""

    status = 503
    reason = "stopping"
    retry_after = True

    def __str__(self) -> str:
        return "The server is shutting down."


class ClientDisconnected(Exception):
    """The client disconnected before it was answered."""

    reason = "client"


#: The words for errors in metrics and logs.
REASONS = (
    "client",
    "conflict",
    "deleted",
    "denied",
    "duration",
    "failed",
    "invalid",
    "limited",
    "not_found",
    "slow",
    "stopping",
    "too_large",
    "unavailable",
)


def find_reason(error: BaseException | None) -> str:
    """Return the word for an error in metrics and logs, one of :data:`REASONS`."""
    reason = getattr(error, "reason", None)
    return reason if reason in REASONS else "failed"
