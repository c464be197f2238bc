from __future__ import annotations

from typing import Any

import pytest
from django.conf import LazySettings

from pushserver_channels.routing import get_application

from .exchanges import Site, django

pytestmark = pytest.mark.usefixtures("nothing_left")

EVIL = b"http://evil.example"
FRIEND = b"https://friend.example"
METHODS = ("GET", "HEAD", "PUT", "POST", "DELETE", "OPTIONS", "PATCH")


@pytest.fixture
def site(settings: LazySettings) -> Site:
    """A publisher location on testserver that allows the origin FRIEND."""
    return make_site(settings, allow_origin=FRIEND.decode())


def make_site(settings: LazySettings, **options: Any) -> Site:
    settings.PUSH_SERVER = {
        "locations": [{"type": "publisher", "prefix": "/send-update/", **options}]
    }
    settings.ALLOWED_HOSTS = ["testserver"]
    return Site(get_application(django))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    "headers",
    [
        [(b"origin", EVIL)],
        [(b"origin", b"null")],
        [(b"origin", b"http://testserver"), (b"origin", EVIL)],
        [(b"origin", EVIL), (b"origin", b"http://testserver")],
        [(b"sec-fetch-site", b"cross-site")],
    ],
)
async def test_page_of_another_origin_gets_403(
    method: str, headers: list[tuple[bytes, bytes]], site: Site
) -> None:
    """A page of another origin gets 403, without CORS headers and without effect."""
    answer = await site.ask(method, "/send-update/a", headers, b"news")
    assert answer.status == 403
    assert answer["content-type"] == "text/plain; charset=utf-8"
    assert b"allow_origin" in answer.body
    assert answer["access-control-allow-origin"] is None
    assert await site.info("a") is None


@pytest.mark.parametrize("options", [{"allow_from": "any"}, {"allow_from": ["::/0"]}])
async def test_page_needs_an_allowed_origin_and_address(
    options: dict[str, Any], settings: LazySettings
) -> None:
    """A page needs both an allowed origin and an allowed address."""
    site = make_site(settings, **options, allow_origin="*")
    answer = await site.ask("POST", "/send-update/a", [(b"origin", EVIL)], b"news")
    assert answer.status == (202 if options["allow_from"] == "any" else 403)
    site = make_site(settings, **options)
    answer = await site.ask("POST", "/send-update/a", [(b"origin", EVIL)], b"news")
    assert answer.status == 403


async def test_refused_body_is_read(site: Site) -> None:
    """A refused body is read, so that the next request begins after it."""
    exchange = site.exchange(
        "POST", "/send-update/a", [(b"origin", EVIL)], [b"1", b"2", b"3"]
    )
    assert (await exchange.answer()).status == 403
    assert exchange.input_queue.empty()


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [(b"origin", b"http://testserver")],
        [(b"origin", b"http://testserver:80"), (b"sec-fetch-site", b"same-origin")],
        [(b"sec-fetch-site", b"none")],
    ],
)
async def test_pages_of_the_site_and_programs_may_publish(
    headers: list[tuple[bytes, bytes]], site: Site
) -> None:
    """The site's own pages and programs may publish, without CORS headers."""
    for method, status in [("POST", 202), ("GET", 200), ("PUT", 200), ("DELETE", 200)]:
        answer = await site.ask(method, "/send-update/a", headers, b"news")
        assert answer.status == status
        assert answer["access-control-allow-origin"] is None


@pytest.mark.parametrize("listed", ["allow_origin", "CSRF_TRUSTED_ORIGINS", "*"])
async def test_allowed_page_may_read_all_responses(
    listed: str, settings: LazySettings
) -> None:
    """All responses to an allowed page have CORS headers, errors and preflight too."""
    if listed == "CSRF_TRUSTED_ORIGINS":
        settings.CSRF_TRUSTED_ORIGINS = ["https://*.example"]
        site = make_site(settings)
    else:
        site = make_site(
            settings, allow_origin="*" if listed == "*" else FRIEND.decode()
        )
    origin = (b"origin", FRIEND)
    preflight = await site.ask(
        "OPTIONS",
        "/send-update/a",
        [
            origin,
            (b"access-control-request-method", b"PUT"),
            (b"access-control-request-headers", b"content-type"),
        ],
    )
    assert preflight.status == 204
    methods = (preflight["access-control-allow-methods"] or "").split(", ")
    assert {"PUT", "POST", "DELETE"} <= set(methods)
    assert "Content-Type" in (preflight["access-control-allow-headers"] or "")
    answers = [
        await site.ask("GET", "/send-update/a", [origin]),
        await site.ask("POST", "/send-update/a", [origin], b"news"),
        await site.ask("PATCH", "/send-update/a", [origin]),
    ]
    assert [each.status for each in answers] == [404, 202, 405]
    for answer in [preflight, *answers]:
        allowed = "*" if listed == "*" else FRIEND.decode()
        assert answer["access-control-allow-origin"] == allowed
        assert answer["vary"] == "Origin"


async def test_invalid_path_or_query_is_no_server_error(site: Site) -> None:
    """A path or query that Django cannot read causes no server error."""
    for path in ("/send-update/%ff%fe?%ff", "/send-update/a?\xff"):
        answer = await site.ask("POST", path, [(b"origin", EVIL)], b"", root_path="/x")
        assert answer.status == 403
