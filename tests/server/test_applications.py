from __future__ import annotations

import pytest

from pushserver_channels.server.applications import ForceHost

from .exchanges import Site, django


async def locate(raw_path: bytes, **scope: object) -> tuple[int, str | None]:
    """Return status and Location of the response to a request for another host."""
    site = Site(ForceHost(django, "good.example"))
    answer = await site.ask("GET", "/", raw_path=raw_path, **scope)
    return answer.status, answer["location"]


@pytest.mark.parametrize(
    ("raw_path", "location"),
    [
        (b"/", "/"),
        (b"/a%20b/c", "/a%20b/c"),
        (b"/a:b@c;d=e,f", "/a:b@c;d=e,f"),
        (b"//evil.example/a", "/evil.example/a"),
        (b"/\\evil.example/a", "/evil.example/a"),
        (b"///a", "/a"),
        (b"/a\\b", "/a%5Cb"),
        (b"/a\r\nSet-Cookie: b", "/a%0D%0ASet-Cookie:%20b"),
        (b"/a\x00\xff", "/a%00%FF"),
        (b"/<script>", "/%3Cscript%3E"),
        (b"/@evil.example/", "/@evil.example/"),
        (b"http://evil.example/a", "/a"),
        (b"http://evil.example", "/"),
        (b"http://evil.example//evil.example", "/evil.example"),
        (b"HTTPS://u@evil.example:1/a?b", "/a"),
    ],
)
async def test_another_host_is_redirected_to_the_same_path(
    raw_path: bytes, location: str
) -> None:
    """A request for another host is redirected to the same path on the wanted host."""
    assert await locate(raw_path) == (301, f"http://good.example{location}")


@pytest.mark.parametrize(
    "raw_path",
    [
        b"@evil.example/",
        b".evil.example/",
        b":80@evil.example/",
        b"evil.example",
        b"evil.example:443",
        b"*",
        b"",
        b" /a",
        b"\\\\evil.example/",
        b"://evil.example/",
        b"javascript:alert(1)",
    ],
)
async def test_invalid_request_target_gets_400(raw_path: bytes) -> None:
    """A request target that is neither a path nor a URL gets 400."""
    assert await locate(raw_path) == (400, None)


async def test_the_query_and_the_scheme_are_kept() -> None:
    """The query is kept; a scheme other than http and https becomes http."""
    found = await locate(b"/a", query_string=b"b=c&d=\r\n/?e#f", scheme="https")
    assert found == (301, "https://good.example/a?b=c&d=%0D%0A/?e%23f")
    assert (await locate(b"/a", scheme="javascript"))[1] == "http://good.example/a"


async def test_wanted_host_is_served() -> None:
    """A request for the wanted host is served, with any case and port in Host."""
    site = Site(ForceHost(django, "good.example"))
    answer = await site.ask("GET", "/a", headers=[(b"host", b"GOOD.example:80")])
    assert answer.status == 299
