from __future__ import annotations

from collections.abc import Iterator

import pytest
from django.conf import LazySettings
from django.template import Context, Template
from django.urls import get_script_prefix, set_script_prefix

from pushserver.updates import publisher_url, subscriber_url


@pytest.fixture(autouse=True)
def script_prefix() -> Iterator[None]:
    """Restore the script prefix of the site after the test."""
    before = get_script_prefix()
    yield
    set_script_prefix(before)


@pytest.mark.parametrize(
    ("script_name", "url"),
    [
        ("/", "/subscriber/news"),
        ("/app/", "/app/subscriber/news"),
        ("/a/b/", "/a/b/subscriber/news"),
        ("/käse %/", "/k%C3%A4se%20%25/subscriber/news"),
        ("//evil.example/", "/%2Fevil.example/subscriber/news"),
    ],
)
def test_urls_start_with_the_path_of_the_site(
    script_name: str, url: str, settings: LazySettings
) -> None:
    """Channel URLs start with the path of the site, as those of reverse() do."""
    settings.PUSH_SERVER = {}
    set_script_prefix(script_name)
    assert subscriber_url("news") == url
    template = Template("{% load pushserver %}{% channel_url 'news' %}")
    assert template.render(Context()) == url
    # The publisher URL does not depend on the current request.
    assert publisher_url("news") == "http://127.0.0.1:8001/publisher/news"


def test_force_script_name(settings: LazySettings) -> None:
    """With FORCE_SCRIPT_NAME the URLs of channels start with it, too."""
    settings.PUSH_SERVER = {}
    settings.FORCE_SCRIPT_NAME = "/app"
    assert publisher_url("news") == "http://127.0.0.1:8001/app/publisher/news"


def test_subscriber_host_has_no_site_path(
    settings: LazySettings,
) -> None:
    """With subscriber_host set, the path of the site is not used."""
    settings.PUSH_SERVER = {"publisher_host": "a:1", "subscriber_host": "b:2"}
    settings.FORCE_SCRIPT_NAME = "/app"
    set_script_prefix("/app/")
    assert publisher_url("news") == "http://a:1/publisher/news"
    assert subscriber_url("news") == "http://b:2/subscriber/news"
