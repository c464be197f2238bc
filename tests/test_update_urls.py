"""The URLs at which a site publishes and subscribes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.conf import LazySettings

from pushserver.updates import publisher_url, subscriber_url


@pytest.mark.parametrize(
    ("block", "publishes_at", "subscribes_at"),
    [
        ({}, "http://127.0.0.1:8001/publisher/a/b", "/subscriber/a/b"),
        (
            {"publisher_host": "push:1", "subscriber_host": "example.com"},
            "http://push:1/publisher/a/b",
            "http://example.com/subscriber/a/b",
        ),
        (
            {
                "publisher_host": {"location": "push:1", "secure": True},
                "subscriber_host": {"location": "example.com", "secure": True},
            },
            "https://push:1/publisher/a/b",
            "https://example.com/subscriber/a/b",
        ),
        (
            {"address": "10.0.0.1", "port": 9000},
            "http://10.0.0.1:9000/publisher/a/b",
            "/subscriber/a/b",
        ),
        (
            {"address": "0.0.0.0"},
            "http://127.0.0.1:8001/publisher/a/b",
            "/subscriber/a/b",
        ),
        (
            {"address": "::", "port": 9000},
            "http://127.0.0.1:9000/publisher/a/b",
            "/subscriber/a/b",
        ),
        (
            {"address": "::1"},
            "http://[::1]:8001/publisher/a/b",
            "/subscriber/a/b",
        ),
    ],
)
def test_the_urls_follow_the_settings(
    block: dict[str, Any],
    publishes_at: str,
    subscribes_at: str,
    settings: LazySettings,
) -> None:
    """Hosts come from the settings, or else from where runpushserver listens."""
    settings.PUSH_SERVER = block
    assert publisher_url("a/b") == publishes_at
    assert subscriber_url("a/b") == subscribes_at


def test_first_location_of_a_type_is_used(settings: LazySettings) -> None:
    """The first location of a type gives the URL."""
    settings.PUSH_SERVER = {
        "publisher_host": "h",
        "locations": [
            {"type": "subscriber", "url": r"^/a/([^/]+)/$"},
            {"type": "subscriber", "prefix": "/b/"},
            {"type": "publisher", "prefix": "/c/"},
            {"type": "publisher", "prefix": "/d/"},
        ],
    }
    assert subscriber_url(5) == "/a/5/"
    assert publisher_url(5) == "http://h/c/5"


@pytest.mark.parametrize("make_url", [publisher_url, subscriber_url])
def test_missing_location_is_an_error(
    make_url: Callable[[object], str], settings: LazySettings
) -> None:
    """A site without such a location gets an error that says so."""
    settings.PUSH_SERVER = {"locations": []}
    with pytest.raises(ValueError, match=r"PUSH_SERVER\['locations'\] has no \w+ loc"):
        make_url("news")


@pytest.mark.parametrize("make_url", [publisher_url, subscriber_url])
def test_too_long_id_is_refused(
    make_url: Callable[[object], str], settings: LazySettings
) -> None:
    """An id with more characters than the server accepts is refused."""
    settings.PUSH_SERVER = {}
    assert make_url("ä" * 512).endswith("%C3%A4" * 512)
    for channel_id in ("", "x" * 513, "x" * 1_000_000):
        with pytest.raises(ValueError, match="from 1 to 512 characters"):
            make_url(channel_id)


@pytest.mark.parametrize("make_url", [publisher_url, subscriber_url])
def test_prefix_accepts_any_text_as_id(
    make_url: Callable[[object], str], settings: LazySettings
) -> None:
    """Below a prefix, ids may contain slashes, line breaks and all other characters."""
    settings.PUSH_SERVER = {}
    for channel_id in ("a/b", "a\nb", "\r", "\u2028", "a\0", "ä", "%", "a;b=c", "-"):
        assert make_url(channel_id)


@pytest.mark.parametrize("make_url", [publisher_url, subscriber_url])
def test_id_that_does_not_match_the_pattern_is_refused(
    make_url: Callable[[object], str], settings: LazySettings
) -> None:
    """The error names the id and the pattern."""
    settings.PUSH_SERVER = {
        "locations": [
            {"type": "publisher", "url": r"/p/(\d+)"},
            {"type": "subscriber", "url": r"/s/(\d+)"},
        ]
    }
    with pytest.raises(ValueError, match=r"'news' has no URL: .*\(\\\\d\+\)"):
        make_url("news")
