"""WebSockets. Source: streams, section 4."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import partial

from pushserver.conf import Location, SubscriberLocation
from pushserver_channels import websocket_frames
from pushserver_channels.exceptions import (
    BadRequest,
    ChannelGone,
    ChannelNotFound,
    ClientDisconnected,
    Conflict,
    InvalidChannelId,
    PushError,
    ServerStopping,
)
from pushserver_channels.hub import Observer, hubs
from pushserver_channels.messages import Message, MessageId
from pushserver_channels.outlet import Outlet, find_outlet
from pushserver_channels.positions import build_position
from pushserver_channels.protocol import check_headers, fold_headers
from pushserver_channels.socket_origins import find_origin_fault
from pushserver_channels.types import ASGIMessage, Receive, Scope, Send

from .base import MAX_SHOWN_PATH, MakeConsumer, Site, is_disconnect
from .positions import find_places
from .stream import Outcome, Slow, Stream, StreamCursor, TimeIsOver

logger = logging.getLogger(__name__)

#: The most bytes that a client may send in a message.
MAX_RECEIVED = 1024

#: The close codes of errors, as their HTTP statuses.
CODES: dict[type[PushError], int] = {
    BadRequest: 4400,
    ChannelNotFound: 4404,
    Conflict: 4409,
    ChannelGone: 4410,
}

#: The client is slow, or its socket has lasted long enough: it comes back.
COME_BACK = 4408

#: The server stops, or its store is away: it comes back.
UNAVAILABLE = 4503

#: A message of the client's is too long; Daphne cannot send the first one.
TOO_LONG = 1009
TOO_LONG_ON_DAPHNE = 4413

#: Characters of a close reason, which has at most 123 bytes.
MAX_REASON = 100

#: What tells clients without ids to come back, if a server can send it.
RESTART = 1012

_PONG: ASGIMessage = {"type": "websocket.send", "text": "pong"}

#: Sent in place of an empty body.
_NEWLINE: ASGIMessage = {"type": "websocket.send", "text": "\n"}

#: The most bytes of the lines before a body, generously.
MAX_LINES = 131_072


class Socket(Stream):
    """A stream over a WebSocket.

    Attributes:
        subprotocol: The subprotocol, None for bare bodies.
        has_named: Whether the client has named a position.
    """

    subprotocol: str | None = None
    _built: tuple[Message | None, ASGIMessage] = (None, {})
    _owes_pong = False

    def build(
        self, cursor: StreamCursor, message: Message, gap: MessageId | None
    ) -> ASGIMessage | None:
        event = self._build(cursor, message, gap)
        limit = self.outlet.max_message
        if limit is None:
            return event
        if not message.body and self.subprotocol is None:
            return _NEWLINE  # Daphne sends no empty message.
        if len(message.body) > limit - MAX_LINES and _measure(event) > limit:
            return None
        return event

    def _build(
        self, cursor: StreamCursor, message: Message, gap: MessageId | None
    ) -> ASGIMessage:
        if self.subprotocol == websocket_frames.PUSHSERVER:
            channel_id = cursor.channel_id if self.is_several else None
            if gap is not None:
                return websocket_frames.build_pushserver(message, channel_id, gap)
            return _FRAMES[self.is_several].build(message, channel_id)
        if self.subprotocol == websocket_frames.NCHAN:
            if self.is_several:
                position = build_position(self.ids, cursor.index)
                return websocket_frames.build_nchan(message, position)
            return _NCHAN_FRAMES.build(message, None)
        return _BARE_FRAMES.build(message, None)

    def build_fault(self, cursor: StreamCursor, error: PushError) -> ASGIMessage | None:
        if self.subprotocol != websocket_frames.PUSHSERVER:
            return None
        return websocket_frames.build_notice(find_fault_name(error), cursor.channel_id)

    def is_endless(self) -> bool:
        return self.subprotocol is None

    def take_event(self, event: ASGIMessage) -> bool:
        if event["type"] == "websocket.disconnect":
            return True
        if event["type"] != "websocket.receive":
            return False
        text, body = event.get("text"), event.get("bytes")
        size = len(text.encode()) if text is not None else len(body or b"")
        if size > MAX_RECEIVED:
            self.finish(ReceivedTooMuch())
            return True
        if text == "ping":
            self._owes_pong = True
            if self.is_live:
                self.catch_up_ended()
        return False

    def catch_up_ended(self) -> None:
        if self._owes_pong:
            self._owes_pong = False
            self.write(_PONG)

    async def say_goodbye(self, outcome: Outcome) -> None:
        for cursor in self.cursors:
            if self.is_several and cursor.fault is not None and not cursor.is_told:
                event = self.build_fault(cursor, cursor.fault)
                if event is not None:
                    await self.send(event)
        await close(self.send, self.outlet, outcome, self.subprotocol)


class ReceivedTooMuch(Exception):
    """The client has sent a message that is too long."""

    def __str__(self) -> str:
        return f"A message has at most {MAX_RECEIVED} bytes here."


class ConnectionEnds(Exception):
    """The connection is to end without a code that means something else."""


async def close(
    send: Send, outlet: Outlet, outcome: Exception, subprotocol: str | None
) -> None:
    """Close a socket with the code that tells its client what ended it.

    Raises :class:`ConnectionEnds` if an error has to end it.
    """
    code = find_code(outcome)
    if code == TOO_LONG and outlet.is_twisted:
        code = TOO_LONG_ON_DAPHNE
    if subprotocol is None and code in (COME_BACK, UNAVAILABLE):
        # Clients without a subprotocol come back only if the connection breaks, or by
        # this code.
        code = RESTART
        if outlet.is_twisted:
            if outlet.cut() if isinstance(outcome, Slow) else outlet.close():
                return
            raise ConnectionEnds
    reason = "" if isinstance(outcome, Slow | TimeIsOver) else str(outcome)
    await send({"type": "websocket.close", "code": code, "reason": reason[:MAX_REASON]})


def _measure(event: ASGIMessage) -> int:
    """Return the bytes of a message."""
    text = event.get("text")
    return len(event["bytes"] if text is None else text.encode())


def find_code(outcome: Exception) -> int:
    """Return the close code that tells a client what ended its socket."""
    if isinstance(outcome, ReceivedTooMuch):
        return TOO_LONG
    if isinstance(outcome, Slow | TimeIsOver):
        return COME_BACK
    if isinstance(outcome, PushError):
        for kind, code in CODES.items():
            if isinstance(outcome, kind):
                return code
        if outcome.status < 500:
            return 4000 + outcome.status
    return UNAVAILABLE


def find_fault_name(error: PushError) -> str:
    """Return the event that tells why one of several channels is heard no more."""
    if isinstance(error, ChannelGone | ChannelNotFound):
        return "push-gone"
    return "push-conflict" if isinstance(error, Conflict) else "push-denied"


class _Frames:
    """The last message of a form, which was built once for all who are sent it."""

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


_BARE_FRAMES = _Frames(_build_bare)
_NCHAN_FRAMES = _Frames(_build_nchan)
#: For who hears one channel, and for who hears several.
_FRAMES = (_Frames(_build_pushserver), _Frames(_build_pushserver))


class WebSocketConsumer:
    """Sends messages over a WebSocket.

    Args:
        location: The location.
        observers: Notified of the subscribers.
        channel_id: The channel id in the URL, or several.
        fault: Why it is invalid, None if it is valid.
    """

    responding = False

    @classmethod
    def accepts(cls, scope: Scope) -> bool:
        """Return whether a scope is a WebSocket's."""
        return bool(scope["type"] == "websocket")

    @classmethod
    def prepare(cls, location: Location, site: Site) -> MakeConsumer:
        """Return what makes the consumers of a location."""
        assert isinstance(location, SubscriberLocation), "By conf.locations."
        return partial(cls, location, site.observe(location))

    def __init__(
        self,
        location: SubscriberLocation,
        observers: Sequence[Observer],
        channel_id: str | tuple[str, ...],
        fault: str | None,
    ) -> None:
        self.location = location
        self.observers = observers
        self.channel_ids = (channel_id,) if isinstance(channel_id, str) else channel_id
        self.fault = fault
        self.accepted = False

    def begin(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Take the handshake."""
        self.scope = scope
        self.receive = receive
        self.send = send

    async def answer(self) -> None:
        """Send messages until the socket ends."""
        await self.receive()
        outlet = find_outlet(self.send)
        fault = find_origin_fault(
            self.scope, self.location.allow_origin, is_secure=outlet.is_secure
        )
        if fault is not None:
            path = self.scope["path"][:MAX_SHOWN_PATH]
            logger.warning("A WebSocket to %s is refused. %s", path, fault)
            await self.send({"type": "websocket.close", "code": 4403})
            return
        offered = self.scope.get("subprotocols") or []
        subprotocol = websocket_frames.choose_subprotocol(offered)
        await self.send({"type": "websocket.accept", "subprotocol": subprotocol})
        self.accepted = True
        stream: Socket | None = None
        try:
            raw = self.scope["headers"]
            headers = dict(raw)
            check_headers(headers, raw)
            headers = fold_headers(raw)
            if self.fault is not None:
                raise InvalidChannelId(self.fault)
            query = self.scope["query_string"]
            places = find_places(headers, query, self.location, self.channel_ids)
            stream = Socket(
                hubs.get(self.location.store, self.scope.get("server")),
                self.location,
                self.observers,
                self._build_http_scope(),
                self.receive,
                self.send,
                self.channel_ids,
            )
            stream.subprotocol = subprotocol
            await stream.begin(places)
            stream.admit()
            has_named = has_position(headers, query)
            is_nchan = subprotocol == websocket_frames.NCHAN
            if subprotocol is not None and not (is_nchan and has_named):
                # Nchan's client hears it as an empty message.
                await self.send(websocket_frames.build_place(stream.build_place()))
            await stream.run()
        except ConnectionEnds:
            raise
        except ClientDisconnected:
            pass
        except PushError as error:
            await self._close(error, subprotocol)
        finally:
            if stream is not None:
                stream.leave()

    async def answer_held(self) -> None:
        """Do nothing: all has been sent."""

    async def fail(self, error: BaseException) -> None:
        """Close the socket because of what was raised."""
        if isinstance(error, ConnectionEnds):
            raise error  # The server ends the connection, and logs it.
        if is_disconnect(error):
            return
        if not isinstance(error, Exception):
            raise error
        path = self.scope["path"][:MAX_SHOWN_PATH]
        logger.error("Cannot answer the WebSocket to %s", path, exc_info=error)
        if self.accepted:
            await self._close(error, websocket_frames.PUSHSERVER)

    async def _close(self, error: Exception, subprotocol: str | None) -> None:
        try:
            await close(self.send, find_outlet(self.send), error, subprotocol)
        except ConnectionEnds:
            raise
        except Exception as failure:
            if not is_disconnect(failure):
                raise
        if isinstance(error, ServerStopping):
            for observer in self.observers:
                await observer.drain_before_exit()

    def _build_http_scope(self) -> Scope:
        """Return the scope of the handshake as the request that it is."""
        scheme = "https" if self.scope.get("scheme") == "wss" else "http"
        return {"http_version": "1.1", **self.scope, "type": "http", "scheme": scheme}


def has_position(headers: dict[bytes, bytes], query: bytes) -> bool:
    """Return whether a request says where its client begins."""
    named = (b"if-modified-since", b"if-none-match", b"last-event-id")
    return (
        any(headers.get(name) for name in named)
        or b"last_event_id=" in query
        or b"lastEventId=" in query
    )
