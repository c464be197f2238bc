"""Checks of server-sent events and WebSockets."""

from __future__ import annotations

import json
from contextlib import closing
from time import monotonic, time

from pushserver.conf import SubscriberLocation

from .findings import Failure, NotApplicable, NotChecked
from .limits import LONG_ENOUGH, TIMEOUT_TOLERANCE
from .open_streams import EventStream, OpenStream, WebSocketStream
from .probe import Probe
from .requests import NO_ANSWER, NO_CONNECTION, Response

#: The data of a message in a stream: short, because a longer one fills the buffers of a
#: proxy, which then passes it on.
DATA = {"type": "pushserver.doctor"}

MESSAGE = json.dumps(DATA).encode()

#: Seconds beyond ``keep_alive`` for which an idle stream is watched.
MARGIN = 1

UNBUFFERED = (
    "Turn buffering and compression off for the subscriber location (nginx:"
    " proxy_buffering off, gzip off), and let X-Accel-Buffering through; or leave"
    " 'eventsource' out of its 'transports'."
)

UPGRADES = (
    "Let the proxy pass on upgrades (nginx: proxy_http_version 1.1, proxy_set_header"
    ' Upgrade $http_upgrade, proxy_set_header Connection "upgrade"), or leave'
    " 'websocket' out of the 'transports' of the location."
)

ORIGINS = (
    "Have the proxy pass on Host (nginx: proxy_set_header Host $http_host), and over"
    " TLS set SECURE_PROXY_SSL_HEADER. The log of the push server says which origin it"
    " saw."
)


def check_stream(probe: Probe) -> str:
    """Check that server-sent events arrive without delay."""
    location = _find_location(probe, "eventsource")
    channel_id = _publish_first(probe)
    with closing(probe.open(EventStream, location, channel_id)) as stream:
        head = stream.head()
        if head.error == NO_ANSWER:
            raise Failure(_describe_silence(probe, "Nothing"), UNBUFFERED)
        _check_events(head)
        if stream.wait_for(MESSAGE, 1, probe.patience) is None:
            if stream.ending != NO_ANSWER:
                raise Failure(
                    f"A stream is cut after {_elapsed(stream):.0f} s, before its first"
                    f" message ({stream.ending}).",
                    "See the log of the proxy.",
                )
            what = "Only a part" if stream.received else "Only the head"
            raise Failure(_describe_silence(probe, what), UNBUFFERED)
        seconds = _measure_second(probe, stream, channel_id)
    if seconds > probe.delay:
        raise Failure(
            f"A message takes {seconds:.1f} s in a stream: it is buffered or throttled"
            " on the way.",
            UNBUFFERED,
        )
    return f"A message reaches a stream in {seconds:.2f} s."


def check_websocket(probe: Probe) -> str:
    """Check that WebSockets can be opened, and that messages arrive without delay."""
    location = _find_location(probe, "websocket")
    channel_id = _publish_first(probe)
    # Browsers send the origin of the page with each WebSocket, but not with a GET.
    request = probe.open(WebSocketStream, location, channel_id, origin=True)
    with closing(request) as socket:
        _check_upgrade(probe, socket.head(), location, channel_id)
        if socket.wait_for(MESSAGE, 1, probe.patience) is None:
            raise Failure(
                f"A WebSocket is opened, but gets no message: {socket.ending}.",
                UPGRADES,
            )
        seconds = _measure_second(probe, socket, channel_id)
    if seconds > probe.delay:
        raise Failure(
            f"A message takes {seconds:.1f} s to a WebSocket.",
            "Turn off what buffers or throttles it on the way.",
        )
    return f"A message reaches a WebSocket in {seconds:.2f} s."


def check_stream_timeout(probe: Probe) -> str:
    """Check that nothing cuts an idle stream before its next comment."""
    return _check_idle(probe, "eventsource", EventStream, 200, "stream")


def check_websocket_timeout(probe: Probe) -> str:
    """Check that nothing cuts an idle WebSocket."""
    return _check_idle(probe, "websocket", WebSocketStream, 101, "WebSocket")


def _check_idle(
    probe: Probe, transport: str, kind: type[OpenStream], status: int, name: str
) -> str:
    """Check that nothing cuts an idle connection of a transport.

    Args:
        probe: Makes the request.
        transport: The transport, as in the settings.
        kind: The class of the connection.
        status: The status of a response that opens one.
        name: What the findings call it.
    """
    location = _find_location(probe, transport)
    with closing(_open_idle(probe, kind, location)) as stream:
        head = stream.head()
        if head.status != status:
            raise NotChecked(f"A request for a {name} gets {head}.")
        return _watch(stream, location, name)


def _find_location(probe: Probe, transport: str) -> SubscriberLocation:
    """Return the location of a transport, if messages are received at all."""
    location = probe.streams.get(transport)
    if location is None:
        raise NotApplicable(
            f"No subscriber location that lets the doctor in allows {transport!r}."
        )
    probe.require_response()
    return location


def _publish_first(probe: Probe) -> str:
    """Return a new channel that has a message."""
    channel_id = probe.new_channel()
    probe.publish(channel_id, DATA)
    return channel_id


def _open_idle(
    probe: Probe, kind: type[OpenStream], location: SubscriberLocation
) -> OpenStream:
    """Return a stream that waits for the next message of a channel."""
    channel_id = _publish_first(probe)
    seen = probe.message_id_headers(probe.ask(channel_id).response())
    return probe.open(kind, location, channel_id, seen)


def _check_events(head: Response) -> None:
    """Raise an exception unless a response is a stream of server-sent events."""
    content_type = head.headers["Content-Type"] or "without a Content-Type"
    if head.status != 200:
        raise Failure(
            f"A request for server-sent events gets {head}.",
            "Let the proxy pass it on, with its header Accept.",
        )
    if not content_type.lower().startswith("text/event-stream"):
        raise Failure(
            f"A request for server-sent events gets an answer ({content_type}) instead"
            " of a stream.",
            "Let the header Accept through to the push server.",
        )


def _check_upgrade(
    probe: Probe, head: Response, location: SubscriberLocation, channel_id: str
) -> None:
    """Raise an exception unless a response accepts a WebSocket."""
    if head.status == 101:
        return
    if head.error == NO_CONNECTION:
        raise NotChecked(f"A WebSocket cannot be opened: {head}.")
    if head.status == 403:
        # It may be refused to all, or only to pages of what seems another origin.
        request = probe.open(WebSocketStream, location, channel_id)
        with closing(request) as socket:
            is_origin = socket.head().status == 101
        if is_origin:
            raise Failure(
                "The push server refuses WebSockets of the site's own pages, because it"
                f" takes {probe.origin} for another origin.",
                ORIGINS,
            )
    gets = "is answered as a poll (200)" if head.status == 200 else f"gets {head}"
    raise Failure(f"An upgrade to WebSocket {gets}.", UPGRADES)


def _measure_second(probe: Probe, stream: OpenStream, channel_id: str) -> float:
    """Publish a message; return the seconds until it is in a stream."""
    started = time()
    probe.publish(channel_id, DATA)
    if stream.wait_for(MESSAGE, 2, probe.delay + probe.patience) is None:
        raise Failure(
            f"A stream gets its first message, but not the next: {stream.ending}.",
            "See the log of the proxy, which must not buffer or end a stream.",
        )
    return time() - started


def _describe_silence(probe: Probe, what: str) -> str:
    return (
        f"{what} of a stream arrives in {probe.patience:g} s, and not its first"
        " message: it is buffered on the way."
    )


def _elapsed(stream: OpenStream) -> float:
    return monotonic() - stream.started


def _watch(stream: OpenStream, location: SubscriberLocation, name: str) -> str:
    """Read an idle stream for as long as it should last; return what was found."""
    seconds = (location.keep_alive or LONG_ENOUGH) + MARGIN
    if location.stream_duration:
        # The server ends it after four fifths of that or later.
        seconds = min(seconds, location.stream_duration * 0.8 - MARGIN)
    if seconds <= 0:
        raise NotApplicable("'stream_duration' is too short to watch a stream.")
    stream.wait_for(MESSAGE, 1, seconds)
    if stream.ending == NO_ANSWER:
        return f"An idle {name} lasts for {seconds:g} s and more."
    lasted = _elapsed(stream)
    if abs(lasted - location.timeout) < TIMEOUT_TOLERANCE:
        return f"An idle {name} lasts for {lasted:.0f} s, as Nchan's do by 'timeout'."
    raise Failure(
        f"An idle {name} was cut after {lasted:.0f} s ({stream.ending}): a server in"
        " between has a shorter timeout.",
        f"Raise its timeout (nginx: proxy_read_timeout) above {seconds:g} s"
        + (
            ", or lower 'keep_alive', the seconds between two comments."
            if isinstance(stream, EventStream)
            else "."
        ),
    )
