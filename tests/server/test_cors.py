from __future__ import annotations

import pytest

from pushserver_channels.cors import CrossOrigin

PAGE = b"http://127.0.0.1:8000"
OTHER = b"https://example.com"
VARY = b"If-None-Match, If-Modified-Since"

ALLOWED = {
    b"vary": VARY,
    b"access-control-allow-origin": PAGE,
    b"access-control-allow-headers": (
        b"If-Modified-Since, If-None-Match, Last-Event-ID, Etag, Authorization,"
        b" X-Cookie"
    ),
    b"access-control-expose-headers": (
        b"Last-Modified, Etag, Cache-Control, Push-Gap, Push-Denied, Push-Location,"
        b" Retry-After, WWW-Authenticate"
    ),
    b"access-control-max-age": b"864000",
}
REFUSED = {b"vary": VARY}


def answered(cross_origin: CrossOrigin, origin: bytes | None) -> dict[bytes, bytes]:
    headers = cross_origin.headers(origin)
    assert len(dict(headers)) == len(headers), "a header is given twice"
    return dict(headers)


def test_one_origin() -> None:
    """A page of the allowed origin may read the responses."""
    assert answered(CrossOrigin((PAGE.decode(),), False), PAGE) == ALLOWED


def test_credentials() -> None:
    """If the location allows credentials, pages may send cookies."""
    assert answered(CrossOrigin((PAGE.decode(),), True), PAGE) == {
        **ALLOWED,
        b"access-control-allow-credentials": b"true",
    }


@pytest.mark.parametrize(
    "origin",
    [
        OTHER,
        b"null",
        b"",
        b"*",
        b"http://127.0.0.1:8001",
        b"https://127.0.0.1:8000",
        b"http://127.0.0.1:8000/",
        b"http://127.0.0.1:8000.example.com",
        b"http://127.0.0.1:8000, https://example.com",
        b" http://127.0.0.1:8000",
        b"\xff\x00",
    ],
)
@pytest.mark.parametrize("credentials", [False, True])
def test_another_origin(origin: bytes, credentials: bool) -> None:
    """A page of another origin is refused, however similar the origin is."""
    assert answered(CrossOrigin((PAGE.decode(),), credentials), origin) == REFUSED


def test_no_origin_with_one_allowed() -> None:
    """With one allowed origin, a request without Origin gets the same headers."""
    assert answered(CrossOrigin((PAGE.decode(),), False), None) == ALLOWED


@pytest.mark.parametrize("origin", [PAGE, OTHER])
def test_a_list_of_origins(origin: bytes) -> None:
    """With several allowed origins, the matching one is echoed, with Vary: Origin."""
    cross_origin = CrossOrigin((PAGE.decode(), OTHER.decode()), False)
    assert answered(cross_origin, origin) == {
        **ALLOWED,
        b"access-control-allow-origin": origin,
        b"vary": VARY + b", Origin",
    }


@pytest.mark.parametrize("origin", [None, b"null", b"http://example.com"])
def test_origin_outside_a_list_gets_vary(origin: bytes | None) -> None:
    """With several allowed origins, a refused request gets Vary: Origin, too."""
    cross_origin = CrossOrigin((PAGE.decode(), OTHER.decode()), False)
    assert answered(cross_origin, origin) == {b"vary": VARY + b", Origin"}


@pytest.mark.parametrize("origin", [None, PAGE, OTHER, b"null"])
def test_any_origin(origin: bytes | None) -> None:
    """With *, pages of any origin may read the responses, which are all the same."""
    assert answered(CrossOrigin(("*",), False), origin) == {
        **ALLOWED,
        b"access-control-allow-origin": b"*",
    }


@pytest.mark.parametrize("origin", [None, PAGE])
def test_no_origins(origin: bytes | None) -> None:
    """Without allow_origin no page of another origin may read the responses."""
    assert answered(CrossOrigin((), False), origin) == REFUSED


def test_the_case_of_an_origin() -> None:
    """The scheme and the host of an origin are case-insensitive."""
    headers = answered(CrossOrigin((OTHER.decode(),), False), b"HTTPS://Example.COM")
    assert headers[b"access-control-allow-origin"].lower() == OTHER


def test_headers_for_an_origin_are_built_once() -> None:
    """The list of headers for an origin is built once."""
    cross_origin = CrossOrigin((PAGE.decode(),), False)
    assert cross_origin.headers(PAGE) is cross_origin.headers(PAGE)
