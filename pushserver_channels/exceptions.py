"""What a request can meet, named after the protocol; each writes its own sentence.

PushError
├── BadRequest              400
│   ├── InvalidChannelId
│   ├── InvalidMessageId
│   ├── InvalidContentLength
│   ├── UnknownEncoding
│   └── IncompleteBody
│       └── LostBody
├── Forbidden               403
│   ├── ForbiddenPage
│   └── UnixSocketForbidden
├── ChannelNotFound         404
├── MethodNotAllowed        405
├── RequestTimeout          408
├── Conflict                409
├── ChannelGone             410
├── MessageTooLarge         413
│   └── BodyTooLarge
├── TargetTooLong           414
├── HeadersTooLarge         431
├── TooManyChannels         503
├── StoreUnavailable        503
└── ServerStopping          503
ClientDisconnected          nobody is left to answer
"""

from __future__ import annotations

from typing import ClassVar


class PushError(Exception):
    """A request that is answered with an error; the text is the reason it is told.

    Attributes:
        status: The HTTP status.
        retry_after: Whether trying again later may help, which the answer then says.
        closes: Whether the connection ends with the answer, because it is not known
            where the next request begins.
    """

    status: ClassVar[int] = 500
    retry_after: ClassVar[bool] = False
    closes: ClassVar[bool] = False


class BadRequest(PushError):
    """The request cannot be understood."""

    status = 400


class InvalidChannelId(BadRequest):
    """The channel id is empty, too long or not UTF-8."""


class InvalidMessageId(BadRequest):
    """``If-Modified-Since`` or ``If-None-Match`` cannot be read."""

    def __init__(self, header: str, value: str, expected: str) -> None:
        super().__init__(header, value, expected)
        self.header = header
        self.value = value
        self.expected = expected

    def __str__(self) -> str:
        return f"The header {self.header} is {self.value!r}, not {self.expected}."


class InvalidContentLength(BadRequest):
    """``Content-Length`` is no number of bytes."""

    closes = True

    def __init__(self, value: str) -> None:
        super().__init__(value)
        self.value = value

    def __str__(self) -> str:
        return f"The header Content-Length is {self.value[:80]!r}, not a number."


class UnknownEncoding(BadRequest):
    """``Transfer-Encoding`` says that the body was changed on the way."""

    def __init__(self, value: str) -> None:
        super().__init__(value)
        self.value = value

    def __str__(self) -> str:
        return f"The header Transfer-Encoding is {self.value[:80]!r}, not chunked."


class IncompleteBody(BadRequest):
    """The body that arrived is not the one that was promised."""

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
    """The server dropped the body of a request that asks for another protocol."""

    def __str__(self) -> str:
        return (
            "The body was lost on this server, because the request has the header"
            " Upgrade: send it without that one (in Java, set HTTP_1_1)."
        )


class Forbidden(PushError):
    """The client's address may not publish."""

    status = 403

    def __str__(self) -> str:
        return "Publishing is not allowed from this address."


class ForbiddenPage(Forbidden):
    """The page that makes the request may not publish."""

    def __init__(self, fault: str) -> None:
        super().__init__(fault)
        self.fault = fault

    def __str__(self) -> str:
        return self.fault


class UnixSocketForbidden(Forbidden):
    """The client came by a unix socket, which the location does not allow."""

    def __str__(self) -> str:
        return (
            "Publishing is not allowed over this unix socket; 'unix' in the location's"
            " allow_from allows it to everybody who may open the socket."
        )


class ChannelNotFound(PushError):
    """There is no such channel, and the request may not create it."""

    status = 404

    def __str__(self) -> str:
        return "There is no such channel."


class MethodNotAllowed(PushError):
    """The location does not know this method."""

    status = 405

    def __init__(self, method: str, allowed: str) -> None:
        super().__init__(method, allowed)
        self.method = method
        self.allowed = allowed

    def __str__(self) -> str:
        method = self.method[:80]
        return f"The method {method} is not allowed here; {self.allowed} are."


class RequestTimeout(PushError):
    """The body of a request takes too long."""

    status = 408
    closes = True

    def __init__(self, seconds: float) -> None:
        super().__init__(seconds)
        self.seconds = seconds

    def __str__(self) -> str:
        return f"The body did not arrive within {self.seconds:g} seconds."


class Conflict(PushError):
    """Another request is held on the channel, and the location allows one."""

    status = 409

    def __str__(self) -> str:
        return "Another subscriber holds this channel."


class ChannelGone(PushError):
    """The channel was deleted while the request was held."""

    status = 410

    def __str__(self) -> str:
        return "The channel was deleted."


class MessageTooLarge(PushError):
    """The body of a POST is longer than the location allows."""

    status = 413
    closes = True

    def __init__(self, max_size: int) -> None:
        super().__init__(max_size)
        self.max_size = max_size

    def __str__(self) -> str:
        return f"A message has at most {self.max_size} bytes here."


class BodyTooLarge(MessageTooLarge):
    """The body of a request that publishes nothing is longer than is read."""

    def __str__(self) -> str:
        return (
            "The body of a request that publishes nothing has at most"
            f" {self.max_size} bytes here."
        )


class TargetTooLong(PushError):
    """The first line of the request, with its URL, is longer than is read."""

    status = 414
    closes = True

    def __init__(self, max_size: int) -> None:
        super().__init__(max_size)
        self.max_size = max_size

    def __str__(self) -> str:
        return f"The URL of a request has at most about {self.max_size} bytes here."


class HeadersTooLarge(PushError):
    """The request has more header lines, or more bytes in them, than are read."""

    status = 431
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


class TooManyChannels(PushError):
    """The store holds as many channels as it may."""

    status = 503
    retry_after = True

    def __init__(self, max_channels: int) -> None:
        super().__init__(max_channels)
        self.max_channels = max_channels

    def __str__(self) -> str:
        return f"There are {self.max_channels} channels already, which is the limit."


class StoreUnavailable(PushError):
    """The store does not answer; what was to be published was not accepted."""

    status = 503
    retry_after = True

    def __str__(self) -> str:
        return "The message store is unavailable."


class ServerStopping(PushError):
    """The server shuts down while the request is held."""

    status = 503
    retry_after = True

    def __str__(self) -> str:
        return "The server is shutting down."


class ClientDisconnected(Exception):
    """The client left before it was answered."""
