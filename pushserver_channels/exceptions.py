"""What a request can meet, named after the protocol; each writes its own sentence.

PushError
├── BadRequest              400
│   ├── InvalidChannelId
│   └── InvalidMessageId
├── Forbidden               403
├── ChannelNotFound         404
├── MethodNotAllowed        405
├── Conflict                409
├── ChannelGone             410
├── MessageTooLarge         413
│   └── BodyTooLarge
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
    """

    status: ClassVar[int] = 500
    retry_after: ClassVar[bool] = False


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


class Forbidden(PushError):
    """The client's address may not publish."""

    status = 403

    def __str__(self) -> str:
        return "Publishing is not allowed from this address."


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
        return f"The method {self.method} is not allowed here; {self.allowed} are."


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

    def __init__(self, max_size: int) -> None:
        super().__init__(max_size)
        self.max_size = max_size

    def __str__(self) -> str:
        return f"A message has at most {self.max_size} bytes here."


class BodyTooLarge(MessageTooLarge):
    """The body of a request that needs none is longer than the server reads."""

    def __str__(self) -> str:
        return f"A request has at most {self.max_size} bytes of body here."


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
