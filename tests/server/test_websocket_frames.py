"""The frames of a WebSocket, in each of its subprotocols."""

from __future__ import annotations

from pushserver_channels import websocket_frames
from pushserver_channels.messages import Message, MessageId

MESSAGE = Message(MessageId(9, 3), b"body", b"text/plain", MessageId(9, 2))
IMAGE = MESSAGE._replace(content_type=b"image/png")
PLAIN = MESSAGE._replace(content_type=None)


def test_frame_without_a_subprotocol() -> None:
    assert websocket_frames.build_bare(MESSAGE)["text"] == "body"
    assert websocket_frames.build_bare(IMAGE)["bytes"] == b"body"


def test_frame_of_nchan() -> None:
    build = websocket_frames.build_nchan
    assert build(PLAIN, "9:3")["text"] == "id: 9:3\n\nbody"
    assert build(MESSAGE, "[9:3],-")["text"] == (
        "id: [9:3],-\ncontent-type: text/plain\n\nbody"
    )
    assert build(IMAGE, "9:3")["bytes"] == b"id: 9:3\ncontent-type: image/png\n\nbody"


def test_frame_of_the_own_subprotocol() -> None:
    named = MESSAGE._replace(event="story")
    event = websocket_frames.build_pushserver(named, "a b/c\n", MessageId(9, 2))
    assert event["text"] == (
        "channel: a%20b%2Fc%0A\nid: 9:3\nevent: story\ncontent-type: text/plain\n"
        "push-gap: 9:2\n\nbody"
    )
    assert websocket_frames.build_pushserver(PLAIN, None, None)["text"] == (
        "id: 9:3\n\nbody"
    )


def test_frames_of_events() -> None:
    assert websocket_frames.build_position_frame("9:3")["text"] == "id: 9:3\n\n"
    assert websocket_frames.build_fault_event("push-gone", "a/b")["text"] == (
        "channel: a%2Fb\nevent: push-gone\n\n"
    )


def test_first_known_subprotocol_is_chosen() -> None:
    choose = websocket_frames.choose_subprotocol
    assert choose(["chat", "ws+meta.nchan", "ws+meta.pushserver"]) == "ws+meta.nchan"
    assert choose(["chat"]) is None
    assert choose([]) is None
