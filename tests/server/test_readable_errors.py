from __future__ import annotations

from typing import Any

import pytest

from .exchanges import PAGE, Serve, until_held

pytestmark = pytest.mark.usefixtures("nothing_left")


@pytest.mark.parametrize("location", ["updates", "interval"])
async def test_preflight_gets_204(serve: Serve, location: str) -> None:
    """OPTIONS gets 204 with the CORS headers and no body."""
    site = serve(subscriber={"allow_origin": PAGE.decode(), "allow_credentials": True})
    answer = await site.ask("OPTIONS", f"/{location}/a", [(b"origin", PAGE)])
    varies = {
        "updates": b"If-None-Match, If-Modified-Since, Accept",
        "interval": b"If-None-Match, If-Modified-Since",
    }
    assert sorted(answer.headers) == [
        (b"access-control-allow-credentials", b"true"),
        (
            b"access-control-allow-headers",
            b"If-Modified-Since, If-None-Match, Last-Event-ID, Etag, Authorization,"
            b" X-Cookie",
        ),
        (b"access-control-allow-origin", PAGE),
        (
            b"access-control-expose-headers",
            b"Last-Modified, Etag, Cache-Control, Push-Gap, Push-Denied,"
            b" Push-Location, Retry-After, WWW-Authenticate",
        ),
        (b"access-control-max-age", b"864000"),
        (b"allow", b"GET, OPTIONS"),
        (b"vary", varies[location]),
    ]
    assert (answer.status, answer.body) == (204, b"")
    assert await site.info("a") is None


def errors_of_a_page() -> list[Any]:
    return [
        pytest.param("GET", "/updates/%FF", [], {}, 400, id="id"),
        pytest.param(
            "GET", "/updates/a", [(b"if-none-match", b"x")], {}, 400, id="tag"
        ),
        pytest.param("GET", "/updates/a", [], {"create_on_get": False}, 404, id="none"),
        pytest.param("PATCH", "/updates/a", [], {}, 405, id="method"),
        pytest.param("GET", "/updates/a", [], {"timeout": 0.001}, 304, id="timeout"),
        pytest.param(
            "GET",
            "/updates/a",
            [],
            {"timeout": 0.001, "timeout_status": 408},
            408,
            id="nchan",
        ),
        pytest.param("GET", "/interval/a", [], {}, 304, id="interval"),
    ]


@pytest.mark.parametrize(
    ("method", "path", "headers", "options", "status"), errors_of_a_page()
)
async def test_errors_have_cors_headers(
    serve: Serve,
    method: str,
    path: str,
    headers: list[tuple[bytes, bytes]],
    options: dict[str, Any],
    status: int,
) -> None:
    """Errors have the CORS headers, so that a page can read them."""
    site = serve(subscriber={"allow_origin": PAGE.decode(), **options})
    answer = await site.ask(method, path, [*headers, (b"origin", PAGE)])
    assert answer.status == status
    assert answer["access-control-allow-origin"] == PAGE.decode()
    assert answer["access-control-expose-headers"]
    other = await site.ask(method, path, [*headers, (b"origin", b"http://a.example")])
    assert other.status == status
    assert other["access-control-allow-origin"] is None


async def test_errors_that_end_held_requests_have_cors_headers(serve: Serve) -> None:
    """Errors that end a held request have the CORS headers, too."""
    site = serve(subscriber={"allow_origin": PAGE.decode(), "concurrency": "last"})
    origin = [(b"origin", PAGE)]
    first = await site.hold("/updates/a", origin)
    second = site.exchange("GET", "/updates/a", origin).start()
    conflict = await first.answer()
    await until_held("a")
    await site.ask("DELETE", "/send-update/a")
    gone = await second.answer()
    third = await site.hold("/updates/a", origin)
    third.future.cancel()
    stopped = await third.answer()
    assert [each.status for each in (conflict, gone, stopped)] == [409, 410, 503]
    for each in (conflict, gone, stopped):
        assert each["access-control-allow-origin"] == PAGE.decode()
        assert each["vary"]


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/updates/a"),
        ("GET", "/interval/b"),
        ("GET", "/updates/%FF"),
        ("OPTIONS", "/updates/a"),
        ("POST", "/send-update/a"),
        ("GET", "/send-update/b"),
        ("PATCH", "/send-update/b"),
    ],
)
async def test_servername_is_the_server_header(
    serve: Serve, method: str, path: str
) -> None:
    """The servername is the Server header of each response; it has no default."""
    site = serve(servername="Push 1.0")
    await site.post("a")
    assert (await site.ask(method, path))["server"] == "Push 1.0"
    site = serve()
    await site.post("a")
    assert (await site.ask(method, path))["server"] is None
