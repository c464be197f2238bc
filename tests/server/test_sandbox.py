from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pushserver_channels.messages import MessageId
from pushserver_channels.protocol import build_message_headers
from pushserver_channels.sandbox import NOSNIFF, SANDBOX, is_active

ACTIVE = [
    None,
    b"",
    b"text/html",
    b"TEXT/Html",
    b"text/html; charset=utf-8",
    b"text/html ;charset=utf-8",
    b"  text/html",
    b"text/html  ",
    b"text/html\t",
    b"text/html;a=b;c",
    b"text/html, text/plain",
    b"text/plain, text/html",
    b"text/plain; charset=utf-8, text/html",
    b"text/plain,text/html",
    b"text / html",
    b"text/ html",
    b"text",
    b"/",
    b"html",
    b"text/plain text/html",
    b"text/\xa0html",
    b"text/plain\xff",
    b"application/xhtml+xml",
    b"application/xml",
    b"text/xml",
    b"text/xsl",
    b"application/xslt+xml",
    b"image/svg+xml",
    b"Image/SVG+XML; charset=utf-8",
    b"image/svg",
    b"application/rss+xml",
    b"application/atom+xml;type=feed",
    b"application/mathml+xml",
    b"application/rdf+xml",
    b"text/rdf",
    b"application/vnd.mozilla.xul+xml",
    b"application/vnd.wap.xhtml+xml",
    b"application/x-foo+xml",
    b"multipart/x-mixed-replace; boundary=a",
    b"multipart/related",
    b"message/rfc822",
    b"unknown/unknown",
    b"application/unknown",
    b"*/*",
]
PASSIVE = [
    b"text/plain",
    b"text/plain; charset=utf-8",
    b"text/plain;charset=html",
    b"application/json",
    b"application/problem+json; charset=utf-8",
    b"text/javascript",
    b"text/css",
    b"text/csv",
    b"application/octet-stream",
    b"application/pdf",
    b"image/png",
    b"audio/ogg; codecs=opus",
    b"x/y",
]


@pytest.mark.parametrize("content_type", ACTIVE)
def test_active_types_are_sandboxed(content_type: bytes | None) -> None:
    """Types that a browser may run are sandboxed, unless the location allows them."""
    assert is_active(content_type)
    headers = build_message_headers(MessageId(1, 2), content_type, None, 3)
    assert SANDBOX in headers
    assert NOSNIFF in headers
    inline = build_message_headers(MessageId(1, 2), content_type, None, 3, True)
    assert inline == [each for each in headers if each != SANDBOX]


@pytest.mark.parametrize("content_type", PASSIVE)
def test_passive_types_are_not_sandboxed(content_type: bytes) -> None:
    """Types that no browser runs have no policy, but nosniff."""
    headers = build_message_headers(MessageId(1, 2), content_type, None, 3)
    assert SANDBOX not in headers
    assert NOSNIFF in headers


@given(st.binary(max_size=40), st.sampled_from([b"text/html", b"image/svg+xml"]))
def test_text_around_an_active_type_does_not_hide_it(
    around: bytes, content_type: bytes
) -> None:
    """Text around an active type does not hide it, unless the type is a parameter."""
    assert is_active(content_type + around)
    if b";" not in around:
        assert is_active(around + content_type)
