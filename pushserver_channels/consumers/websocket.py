"""WebSockets. Source: streams, section 4."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from functools import partial

from pushserver.conf import Location, SubscriberLocation
from pushserver_channels import websocket_frames
from pushserver_channels.access import Decider, Guard
from pushserver_channels.access.guard import Decision
from pushserver_channels.client_connection import ClientConnection, find_connection
from pushserver_channels.counters import counters
from pushserver_channels.exceptions import (
    BadRequest,
    ChannelGone,
    ChannelNotFound,
    ClientDisconnected,
    Conflict,
    InvalidChannelId,
    PushError,
    ServerStopping,
    TooManyHeld,
    find_reason,
)
from pushserver_channels.held import HeldLimits
from pushserver_channels.hub import Observer, hubs
from pushserver_channels.log_details import describe_request
from pushserver_channels.messages import Message, MessageId
from pushserver_channels.positions import build_position
from pushserver_channels.presence import LocationPresence
from pushserver_channels.protocol import check_headers, fold_headers
from pushserver_channels.socket_origins import find_origin_fault
from pushserver_channels.types import ASGIMessage, Receive, Scope, Send

from .base import MAX_SHOWN_PATH, MakeConsumer, Site, is_disconnect
from .fault_events import find_fault_event
from .positions import find_start_positions, has_id
from .stream import Stream, StreamExpired
from .stream_channels import Outcome
from .stream_cursor import StreamCursor
from .write_buffer import SlowClient

logger = logging.getLogger("pushserver.server")

#: The most bytes that a client may send in a message.
MAX_RECEIVED = 1024

#: The close codes of errors: 4000 plus the HTTP status.
CODES: dict[type[PushError], int] = {
    BadRequest: 4400,
    ChannelNotFound: 4404,
    Conflict: 4409,
    ChannelGone: 4410,
    TooManyHeld: 4429,
}

#: The client is too slow, or the duration is over: it reconnects.
RECONNECT = 4408

#: The server stops or its store is unavailable: the client reconnects.
UNAVAILABLE = 4503

#: The client sent a message that is too long. Daphne cannot send the first code.
TOO_LONG = 1009
TOO_LONG_ON_DAPHNE = 4413

#: The most bytes of a close reason. Source: RFC 6455, section 5.5.
MAX_REASON = 123

#: Makes clients without a subprotocol reconnect. Daphne cannot send it.
RESTART = 1012

#: What a page sends that is hidden now, or is not any more, where there is presence.
_HIDDEN = {"hidden": True, "visible": False}

_PONG: ASGIMessage = {"type": "websocket.send", "text": "pong"}

#: Sent instead of an empty body.
_NEWLINE: ASGIMessage = {"type": "websocket.send", "text": "\n"}

#: A size in bytes that the lines before a body never reach.
MAX_HEAD_SIZE = 131_072


class WebSocketStream(Stream):
    """A stream over a WebSocket.

    Attributes:
        subprotocol: The subprotocol, None if only the bodies are sent.
        presence: Notes who is on the channels, None if the location has no presence.
    """

    subprotocol: str | None = None
    counts = counters.transports["websocket"]
    presence: LocationPresence | None = None
    _needs_pong = False

    def build(
        self, cursor: StreamCursor, message: Message, gap: MessageId | None
    ) -> ASGIMessage | None:
        event = self._build(cursor, message, gap)
        limit = self.connection.max_message
        if limit is None:
            return event
        if not message.body and self.subprotocol is None:
            return _NEWLINE  # Daphne does not send empty messages.
        if len(message.body) > limit - MAX_HEAD_SIZE and _measure(event) > limit:
            return None
        return event

    def _build(
        self, cursor: StreamCursor, message: Message, gap: MessageId | None
    ) -> ASGIMessage:
        if self.subprotocol is None:
            return _BARE_FRAMES.build(message, None)
        if self.subprotocol == websocket_frames.PUSHSERVER:
            channel_id = cursor.channel_id if self.has_several_channels else None
            if gap is not None:
                return websocket_frames.build_pushserver(message, channel_id, gap)
            return _PUSHSERVER_FRAMES[self.has_several_channels].build(
                message, channel_id
            )
        if self.has_several_channels:
            position = build_position(self.ids, cursor.index)
            return websocket_frames.build_nchan(message, position)
        return _NCHAN_FRAMES.build(message, None)

    def build_fault(self, cursor: StreamCursor, error: PushError) -> ASGIMessage | None:
        if self.subprotocol != websocket_frames.PUSHSERVER:
            return None
        return websocket_frames.build_fault_event(
            find_fault_event(error), cursor.channel_id
        )

    def is_endless(self) -> bool:
        return self.subprotocol is None

    def handle_event(self, event: ASGIMessage) -> bool:
        if event["type"] == "websocket.disconnect":
            return True
        if event["type"] != "websocket.receive":
            return False
        text, body = event.get("text"), event.get("bytes")
        size = len(text.encode()) if text is not None else len(body or b"")
        if size > MAX_RECEIVED:
            self.finish(ReceivedMessageTooLong())
            return True
        if text == "ping":
            self._needs_pong = True
            if self.is_live:
                self.catch_up_ended()
        elif text in _HIDDEN and self.presence is not None:
            self.presence.set_hidden(self.cursors, _HIDDEN[text])
        return False

    def catch_up_ended(self) -> None:
        if self._needs_pong:
            self._needs_pong = False
            self.write(_PONG, self.hub.loop.time())

    async def send_end(self, outcome: Outcome) -> None:
        for cursor in self.cursors:
            if (
                self.has_several_channels
                and cursor.fault is not None
                and not cursor.is_fault_sent
            ):
                event = self.build_fault(cursor, cursor.fault)
                if event is not None:
                    await self.send(event)
        await close(self.send, self.connection, outcome, self.subprotocol)


class ReceivedMessageTooLong(Exception):
    """The client sent a message that is too long."""

    reason = "invalid"

    def __str__(self) -> str:
        return f"A message has at most {MAX_RECEIVED} bytes here."


class ConnectionEnds(Exception):
    """The connection has to end without a close frame, whose code would mislead."""


async def close(
    send: Send,
    connection: ClientConnection,
    outcome: Exception,
    subprotocol: str | None,
) -> None:
    """Close a WebSocket with the code for a reason.

    Args:
        send: The ``send`` of the WebSocket.
        connection: Its connection.
        outcome: The reason.
        subprotocol: The subprotocol, None if it has none.

    Raises :class:`ConnectionEnds` if only an error in the application can end it.
    """
    code = find_code(outcome)
    if code == TOO_LONG and connection.is_twisted:
        code = TOO_LONG_ON_DAPHNE
    if subprotocol is None and code in (RECONNECT, UNAVAILABLE):
        # Clients without a subprotocol reconnect only if the connection breaks or is
        # closed with this code.
        code = RESTART
        if connection.is_twisted:
            if (
                connection.abort()
                if isinstance(outcome, SlowClient)
                else connection.close()
            ):
                return
            raise ConnectionEnds
    reason = "" if isinstance(outcome, SlowClient | StreamExpired) else str(outcome)
    # What is cut off may be a part of a character.
    reason = reason.encode(errors="replace")[:MAX_REASON].decode(errors="ignore")
    await send({"type": "websocket.close", "code": code, "reason": reason})


def _measure(event: ASGIMessage) -> int:
    """Return the size of a message in bytes."""
    text = event.get("text")
    return len(event["bytes"] if text is None else text.encode())


def find_code(outcome: Exception) -> int:
    """Return the close code for a reason."""
    if isinstance(outcome, ReceivedMessageTooLong):
        return TOO_LONG
    if isinstance(outcome, SlowClient | StreamExpired):
        return RECONNECT
    if isinstance(outcome, PushError):
        for kind, code in CODES.items():
            if isinstance(outcome, kind):
                return code
        if outcome.status < 500:
            return 4000 + outcome.status
    return UNAVAILABLE


class _FrameCache:
    """Keeps the ASGI event of the last message, so that all subscribers share it.

    Args:
        build: Builds the event of a message.
    """

    def __init__(self, build: object) -> None:
        self._build = build
        self._last: tuple[Message | None, ASGIMessage] = (None, {})

    def build(self, message: Message, channel_id: str | None) -> ASGIMessage:
        known, event = self._last
        if message is not known:
            event = self._build(message, channel_id)  # type: ignore[operator]
            self._last = message, event
        return event


def _build_nchan(message: Message, channel_id: str | None) -> ASGIMessage:
    return websocket_frames.build_nchan(message, str(message.id))


def _build_bare(message: Message, channel_id: str | None) -> ASGIMessage:
    return websocket_frames.build_bare(message)


def _build_pushserver(message: Message, channel_id: str | None) -> ASGIMessage:
    return websocket_frames.build_pushserver(message, channel_id, None)


_BARE_FRAMES = _FrameCache(_build_bare)
_NCHAN_FRAMES = _FrameCache(_build_nchan)
#: For sockets of one channel, and for those of several.
_PUSHSERVER_FRAMES = (_FrameCache(_build_pushserver), _FrameCache(_build_pushserver))


class WebSocketConsumer:
    """Sends messages over a WebSocket.

    Args:
        location: The location.
        observers: Notified of the subscribers.
        presence: Notes who is on the channels, None if the location has no presence.
        guard: Decides who may listen, None if everybody may.
        limits: Counts what subscribers hold.
        channel_id: The channel id in the URL, or several.
        fault: Why it is invalid, None if it is valid.
    """

    guard: Decider | None
    responding = False
    counts = WebSocketStream.counts

    @classmethod
    def accepts(cls, scope: Scope) -> bool:
        """Return whether a scope is of a WebSocket."""
        return bool(scope["type"] == "websocket")

    @classmethod
    def prepare(cls, location: Location, site: Site) -> MakeConsumer:
        """Return a function that makes the consumers of a location."""
        assert isinstance(location, SubscriberLocation), "By conf.locations."
        observers, guard = site.find_observers(location), site.find_guard(location)
        presence = site.find_presence(location)
        return partial(cls, location, observers, presence, guard, site.limits)

    def __init__(
        self,
        location: SubscriberLocation,
        observers: Sequence[Observer],
        presence: LocationPresence | None,
        guard: Guard | None,
        limits: HeldLimits,
        channel_id: str | tuple[str, ...],
        fault: str | None,
    ) -> None:
        self.location = location
        self.observers = observers
        self.presence = presence
        self.guard = guard
        self.limits = limits
        self.channel_ids = (channel_id,) if isinstance(channel_id, str) else channel_id
        self.fault = fault
        self.accepted = False
        self.is_counted = False
        self.subprotocol: str | None = None
        self.counts_for: str | None = None

    def begin(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Store the parts of the handshake."""
        self.scope = scope
        self.receive = receive
        self.send = send

    async def answer(self) -> None:
        """Answer the handshake, then send messages until the socket closes."""
        await self.receive()
        connection = find_connection(self.send)
        fault = find_origin_fault(
            self.scope, self.location.allow_origin, is_secure=connection.is_secure
        )
        if fault is not None:
            path = self.scope["path"][:MAX_SHOWN_PATH]
            extra = self._describe("denied")
            logger.warning("A WebSocket to %s is refused. %s", path, fault, extra=extra)
            self.counts.refused["denied"] += 1
            await self.send({"type": "websocket.close", "code": 4403})
            return
        offered = self.scope.get("subprotocols") or []
        subprotocol = websocket_frames.choose_subprotocol(offered)
        self.subprotocol = subprotocol
        await self.send({"type": "websocket.accept", "subprotocol": subprotocol})
        self.accepted = True
        stream: WebSocketStream | None = None
        try:
            raw = self.scope["headers"]
            headers = dict(raw)
            check_headers(headers, raw)
            headers = fold_headers(raw)
            if self.fault is not None:
                raise InvalidChannelId(self.fault)
            # Before anything is spent on the socket.
            self.counts_for = self.limits.admit(self.scope, headers)
            self.counts.held += 1
            scope = self._build_http_scope()
            decisions: Sequence[Decision] = ()
            if self.guard is not None:
                decisions = await self.guard.decide(scope, headers, self.channel_ids)
            query = self.scope["query_string"]
            positions = find_start_positions(
                headers, query, self.location, self.channel_ids
            )
            stream = WebSocketStream(
                hubs.get(self.location.store, self.scope.get("server")),
                self.location,
                self.observers,
                scope,
                self.receive,
                self.send,
                self.channel_ids,
            )
            stream.subprotocol = subprotocol
            stream.presence = self.presence
            stream.decisions = decisions
            await stream.begin(positions)
            stream.admit()
            self.counts.accepted += 1
            self.is_counted = True
            # Nchan's client would take the position for an empty message.
            is_silent = subprotocol == websocket_frames.NCHAN and has_id(
                headers, query, len(self.channel_ids)
            )
            if subprotocol is not None and not is_silent:
                await self.send(
                    websocket_frames.build_position_frame(stream.build_start_position())
                )
            await stream.run()
        except ConnectionEnds:
            raise
        except ClientDisconnected:
            pass
        except PushError as error:
            await self._close(error)
        finally:
            if stream is not None:
                stream.leave()

    async def answer_held(self) -> None:
        """Do nothing, because everything was sent."""

    async def fail(self, error: BaseException) -> None:
        """Close the socket because of an exception."""
        if isinstance(error, ConnectionEnds):
            raise error  # The server closes the connection and logs the error.
        if is_disconnect(error):
            return
        if isinstance(error, asyncio.CancelledError) and self.accepted:
            # Daphne cancels its applications when it stops; it still sends the end.
            await self._close(ServerStopping())
            return
        if not isinstance(error, Exception):
            raise error
        path = self.scope["path"][:MAX_SHOWN_PATH]
        extra = self._describe(find_reason(error))
        logger.error(
            "Cannot answer the WebSocket to %s", path, exc_info=error, extra=extra
        )
        if self.accepted:
            await self._close(error)

    def _describe(self, reason: str) -> dict[str, str]:
        """Return the ``extra`` of a log record about the socket."""
        transport, client = self.counts.transport, self.counts_for
        return describe_request(self.scope, self.channel_ids, transport, reason, client)

    def release(self) -> None:
        """Stop counting the socket."""
        client = self.counts_for
        if client is not None:
            self.counts_for = None
            self.counts.held -= 1
            self.limits.release(client)

    async def _close(self, error: Exception) -> None:
        if not self.is_counted:
            self.is_counted = True
            self.counts.refused[find_reason(error)] += 1
        connection = find_connection(self.send)
        try:
            await close(self.send, connection, error, self.subprotocol)
        except ConnectionEnds:
            raise
        except Exception as failure:
            if not is_disconnect(failure):
                raise
        if isinstance(error, ServerStopping):
            for observer in self.observers:
                await observer.drain_before_exit()

    def _build_http_scope(self) -> Scope:
        """Return the scope of the handshake as the scope of an HTTP request."""
        is_secure = find_connection(self.send).is_secure
        scheme = self.scope.get("scheme", "wss" if is_secure else "ws")
        scheme = "https" if scheme == "wss" else "http"
        return {
            "http_version": "1.1",
            "method": "GET",
            **self.scope,
            "type": "http",
            "scheme": scheme,
        }
