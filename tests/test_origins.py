from __future__ import annotations

from typing import Any

import pytest
from django.conf import LazySettings
from django.test import RequestFactory

from pushserver.origins import find_page_fault, normalize_origin

OWN = "http://example.com:8000"


def fault(
    allow_origin: tuple[str, ...] | None = (), secure: bool = False, **meta: str
) -> str | None:
    """Return the fault found in a POST to example.com:8000 with these headers."""
    meta = {"HTTP_HOST": "example.com:8000", **meta}
    request = RequestFactory().post("/", secure=secure, **meta)
    return find_page_fault(request, allow_origin)


@pytest.fixture(autouse=True)
def hosts(settings: LazySettings) -> None:
    """The allowed hosts of the site."""
    settings.ALLOWED_HOSTS = ["example.com", ".example.org", "[::1]"]


@pytest.mark.parametrize(
    ("origin", "written"),
    [
        ("http://example.com", "http://example.com"),
        ("HTTP://Example.COM:80", "http://example.com"),
        ("https://example.com:443", "https://example.com"),
        ("https://example.com:80", "https://example.com:80"),
        ("http://[::1]:80", "http://[::1]"),
        ("chrome-extension://abc", "chrome-extension://abc"),
        ("null", "null"),
        ("", ""),
    ],
)
def test_default_port_is_removed(origin: str, written: str) -> None:
    """Origins that are equal in a browser are normalized to the same text."""
    assert normalize_origin(origin) == written


@pytest.mark.parametrize(
    "meta",
    [
        {},
        {"HTTP_SEC_FETCH_SITE": "none"},
        {"HTTP_SEC_FETCH_SITE": "same-origin"},
        {"HTTP_SEC_FETCH_SITE": "same-site"},
        {"HTTP_ORIGIN": OWN},
        {"HTTP_ORIGIN": OWN, "HTTP_SEC_FETCH_SITE": "same-origin"},
        {"HTTP_ORIGIN": "http://example.com", "HTTP_HOST": "example.com"},
        {"HTTP_ORIGIN": "http://example.com", "HTTP_HOST": "example.com:80"},
        {"HTTP_ORIGIN": "http://Example.com", "HTTP_HOST": "EXAMPLE.com"},
        {"HTTP_ORIGIN": "http://a.example.org", "HTTP_HOST": "a.example.org"},
        {"HTTP_ORIGIN": "http://[::1]:8000", "HTTP_HOST": "[::1]:8000"},
    ],
)
def test_programs_and_same_origin_pages_may_publish(meta: dict[str, str]) -> None:
    """Requests without browser headers, and of the same origin, may publish."""
    assert fault(**meta) is None


@pytest.mark.parametrize(
    "origin",
    [
        "null",
        "NULL",
        "",
        "http://evil.example",
        "http://example.com",
        "http://example.com:8001",
        "https://example.com:8000",
        "http://example.com.evil.example:8000",
        "http://evil.example:8000, http://example.com:8000",
        "http://example.com:8000, http://evil.example:8000",
        "http://user@example.com:8000",
        "http://example.com:8000/",
        "http://[",
        "file://",
        "example.com:8000",
    ],
)
@pytest.mark.parametrize("site", ["cross-site", "same-site", "same-origin", None])
def test_pages_of_other_origins_may_not_publish(origin: str, site: str | None) -> None:
    """An origin with another scheme, host or port may not publish."""
    meta = {} if site is None else {"HTTP_SEC_FETCH_SITE": site}
    told = fault(HTTP_ORIGIN=origin, **meta)
    assert told is not None
    assert "allow_origin" in told
    assert "CSRF_TRUSTED_ORIGINS" in told


@pytest.mark.parametrize("site", ["cross-site", "Cross-Site", " cross-site"])
def test_cross_site_request_without_an_origin_is_refused(site: str) -> None:
    """A cross-site form or image without an Origin header is refused."""
    told = fault(HTTP_SEC_FETCH_SITE=site)
    assert told is not None
    assert "Sec-Fetch-Site: cross-site" in told
    # An allowed origin does not help if the header is missing.
    assert fault(("*",), HTTP_SEC_FETCH_SITE=site) is not None


@pytest.mark.parametrize(
    ("hosts", "debug", "host", "may"),
    [
        (["*"], False, "rebound.example:8000", False),
        (["*"], True, "rebound.example:8000", False),
        ([], True, "rebound.example:8000", False),
        ([], False, "localhost:8000", False),
        ([], True, "localhost:8000", True),
        ([], True, "site.localhost:8000", True),
        ([], True, "127.0.0.1:8000", True),
        ([], True, "[::1]:8000", True),
        (["*"], True, "127.0.0.1:8000", True),
        (["*"], False, "127.0.0.1:8000", False),
        (["*", "example.com"], False, "example.com:8000", True),
        (["*", "example.com"], False, "rebound.example:8000", False),
        (["example.com"], True, "localhost:8000", False),
        (["example.com"], False, "example.com.:8000", True),
    ],
)
def test_host_allowed_only_by_a_wildcard_is_not_trusted(
    hosts: list[str], debug: bool, host: str, may: bool, settings: LazySettings
) -> None:
    """A host that only "*" allows is not trusted, because of DNS rebinding."""
    settings.ALLOWED_HOSTS = hosts
    settings.DEBUG = debug
    told = fault(HTTP_HOST=host, HTTP_ORIGIN=f"http://{host}")
    assert (told is None) is may
    if told is not None:
        assert "ALLOWED_HOSTS" in told
        assert host in told


@pytest.mark.parametrize(
    ("trusted", "origin", "may"),
    [
        ("https://page.example", "https://page.example", True),
        ("https://page.example:443", "https://page.example", True),
        ("https://page.example", "http://page.example", False),
        ("https://page.example", "https://page.example:8443", False),
        ("https://*.page.example", "https://a.page.example", True),
        ("https://*.page.example", "https://a.b.page.example", True),
        ("https://*.page.example", "http://a.page.example", False),
        ("https://*.page.example", "https://evilpage.example", False),
        ("https://*.page.example:8443", "https://a.page.example:8443", True),
        ("https://*.page.example:8443", "https://a.page.example", False),
        ("https://*.page.example", "null", False),
    ],
)
def test_csrf_trusted_origins_may_publish(
    trusted: str, origin: str, may: bool, settings: LazySettings
) -> None:
    """CSRF_TRUSTED_ORIGINS is interpreted as by Django's CSRF check."""
    settings.CSRF_TRUSTED_ORIGINS = [trusted]
    assert (fault(HTTP_ORIGIN=origin) is None) is may
    assert (fault(None, HTTP_ORIGIN=origin) is None) is may


@pytest.mark.parametrize(
    ("allow_origin", "origin", "may"),
    [
        (("https://page.example",), "https://page.example", True),
        (("https://page.example",), "HTTPS://Page.Example:443", True),
        (("https://page.example",), "https://other.example", False),
        (("*",), "https://any.example", True),
        (("*",), "null", False),
    ],
)
def test_allow_origin_lets_pages_publish(
    allow_origin: tuple[str, ...], origin: str, may: bool
) -> None:
    """allow_origin lets pages publish, but no request without an origin."""
    assert (fault(allow_origin, HTTP_ORIGIN=origin) is None) is may


PROXY = ("HTTP_X_FORWARDED_PROTO", "https")


@pytest.mark.parametrize(
    ("conf", "meta", "may"),
    [
        ({}, {"HTTP_X_FORWARDED_PROTO": "https"}, False),
        ({"SECURE_PROXY_SSL_HEADER": PROXY}, {"HTTP_X_FORWARDED_PROTO": "https"}, True),
        ({"SECURE_PROXY_SSL_HEADER": PROXY}, {"HTTP_X_FORWARDED_PROTO": "http"}, False),
    ],
)
def test_scheme_follows_secure_proxy_ssl_header(
    conf: dict[str, Any], meta: dict[str, str], may: bool, settings: LazySettings
) -> None:
    """Behind a TLS proxy, SECURE_PROXY_SSL_HEADER determines the scheme."""
    for name, value in conf.items():
        setattr(settings, name, value)
    meta |= {"HTTP_HOST": "example.com", "HTTP_ORIGIN": "https://example.com"}
    told = fault(**meta)
    assert (told is None) is may
    if told is not None:
        assert "SECURE_PROXY_SSL_HEADER" in told


@pytest.mark.parametrize("used", [True, False])
def test_forwarded_host_follows_use_x_forwarded_host(
    used: bool, settings: LazySettings
) -> None:
    """X-Forwarded-Host is the host if USE_X_FORWARDED_HOST is set."""
    settings.USE_X_FORWARDED_HOST = used
    meta = {
        "HTTP_HOST": "127.0.0.1:8000",
        "HTTP_X_FORWARDED_HOST": "example.com",
        "HTTP_ORIGIN": "http://example.com",
    }
    assert (fault(**meta) is None) is used


def test_long_origin_is_shortened_in_the_error() -> None:
    """A long origin is shortened to one line in the error."""
    told = fault(HTTP_ORIGIN="http://" + "a" * 100_000 + "\n<script>")
    assert told is not None
    assert len(told) < 1000
    assert "\n" not in told
