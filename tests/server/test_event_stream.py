"""The frames of server-sent events."""

from __future__ import annotations

import re
from typing import Any

import pytest

from pushserver.media_types import is_text
from pushserver_channels.event_stream import (
    build_frame,
    build_gap,
    build_head,
    build_unavailable,
    quote_field,
)
from pushserver_channels.messages import Message, MessageId

ID = MessageId(9, 3)


def frame(body: bytes, content_type: bytes | None = None, **options: Any) -> bytes:
    message = Message(ID, body, content_type, None, options.pop("encoding", None))
    message = message._replace(event=options.pop("name", None))
    options = {"names_channel": False, "event": None, **options}
    return build_frame(message, "a\nb", **options).with_position("9:3")


@pytest.mark.parametrize(
    ("body", "lines"),
    [
        (b"", b"data: \n"),
        (b"a", b"data: a\n"),
        (b" a", b"data:  a\n"),
        (b"a\n", b"data: a\ndata: \n"),
        (b"a\r\nb\rc\nd", b"data: a\ndata: b\ndata: c\ndata: d\n"),
        ("ä\u2028".encode(), "data: ä\u2028\n".encode()),
    ],
)
def test_text_is_split_into_lines(body: bytes, lines: bytes) -> None:
    assert frame(body) == b"id: 9:3\n" + lines + b"\n"


def test_content_type_precedes_the_data() -> None:
    assert frame(b"{}", b"application/json") == (
        b"id: 9:3\ncontent-type: application/json\ndata: {}\n\n"
    )


@pytest.mark.parametrize(
    ("body", "content_type", "line"),
    [
        (b"a", b"image/png", b"data: data:image/png;base64,YQ==\n"),
        (b"\xff", None, b"data: data:application/octet-stream;base64,/w==\n"),
        (b"\xff", b"text/plain", b"data: data:text/plain;base64,/w==\n"),
    ],
)
def test_binary_data_is_one_line(
    body: bytes, content_type: bytes | None, line: bytes
) -> None:
    assert frame(body, content_type).endswith(b"\n" + line + b"\n")


def test_encoded_body_is_binary_data() -> None:
    assert b";base64," in frame(b"a", b"text/plain", encoding=b"gzip")


@pytest.mark.parametrize(
    ("content_type", "text"),
    [
        (b"text/html; charset=utf-8", True),
        (b"TEXT/PLAIN", True),
        (b"application/json", True),
        (b"application/ld+json;a=b", True),
        (b"image/svg+xml", True),
        (b"application/xml", True),
        (b"application/javascript", True),
        (b"application/x-www-form-urlencoded", True),
        (None, True),
        (b"application/octet-stream", False),
        (b"image/png", False),
        (b"nonsense", False),
    ],
)
def test_content_type_decides_what_is_text(
    content_type: bytes | None, text: bool
) -> None:
    kind = None if content_type is None else content_type.decode()
    assert is_text(kind) is text


def test_the_name_of_an_event() -> None:
    """An event has the publisher's name, or else the one from the location."""
    assert frame(b"a", name="story").startswith(b"event: story\nid: 9:3\n")
    assert frame(b"a", name="story", event="news").startswith(b"event: news\nid: ")
    for name in ("error", "open", "message", "push-gap", "a" * 129, "a\rb", "a\0"):
        assert frame(b"a", event=name).startswith(b"id: "), name


def test_channel_id_cannot_break_out_of_its_field() -> None:
    assert quote_field("a\r\n\0b") == "a%0D%0A%00b"
    assert frame(b"a", names_channel=True) == b"id: 9:3\nchannel: a%0Ab\ndata: a\n\n"


def test_events_of_the_server() -> None:
    head = rb"retry: [123]\d{3}\nid: 9:3\n: hi\n\n"
    assert re.fullmatch(head, build_head("9:3"))
    assert build_gap("a\nb", ID) == (
        b'event: push-gap\ndata: {"channel": "a\\nb", "missed": "9:3"}\n\n'
    )
    assert build_unavailable(4) == (
        b'retry: 4000\nevent: push-unavailable\ndata: {"retry_after": 4}\n\n'
    )
