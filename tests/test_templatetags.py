from __future__ import annotations

import asyncio
import json
import time
import uuid
from typing import Any

import pytest
from django.conf import LazySettings
from django.template import Context, Template
from django.utils.safestring import mark_safe
from django.utils.translation import gettext_lazy

from pushserver.updates import asend_update, subscriber_url
from pushserver_channels.hub import hubs


def render(tag: str, **context: Any) -> str:
    """Render a template that loads the tags."""
    text: str = Template("{% load pushserver %}" + tag).render(Context(context))
    return text


@pytest.mark.parametrize(
    ("tag", "path"),
    [
        ("{% channel_url 'news' %}", "news"),
        ('{% channel_url "news" %}', "news"),
        ("{% channel_url name %}", "a/b%3Cc%3E"),
        ("{% channel_url object.pk %}", "17"),
        ("{% channel_url name|lower|slugify %}", "abc"),
        ("{% channel_url 17 %}", "17"),
        ("{% channel_url 'käse' %}", "k%C3%A4se"),
        ("{% channel_url uuid %}", "00000000-0000-0000-0000-000000000011"),
        ("{% channel_url lazy %}", "news"),
        ("{% channel_url safe %}", "%3Cb%3E"),
        ("{% channel_url 'news' as url %}[{{ url }}]", None),
    ],
)
def test_tag_accepts_any_expression(
    tag: str, path: str | None, settings: LazySettings
) -> None:
    """The tag accepts any template expression and writes the subscriber URL."""
    settings.PUSH_SERVER = {"subscriber_host": "push.example.com:8001"}
    rendered = render(
        tag,
        name="a/B<c>".lower(),
        object={"pk": 17},
        uuid=uuid.UUID(int=17),
        lazy=gettext_lazy("news"),
        safe=mark_safe("<b>"),
    )
    base = "http://push.example.com:8001/subscriber/"
    assert rendered == (f"[{base}news]" if path is None else base + path)


def test_tag_and_function_return_the_same_url(settings: LazySettings) -> None:
    """The tag and the Python function return the same URL for all locations."""
    settings.PUSH_SERVER = {
        "subscriber_host": {"location": "example.com", "secure": True},
        "locations": [{"type": "subscriber", "url": r"^/updates/([^/]+)/$"}],
    }
    assert render("{% channel_url 'a b' %}") == subscriber_url("a b")
    assert subscriber_url("a b") == "https://example.com/updates/a%20b/"


def test_url_is_a_path_without_subscriber_host(
    settings: LazySettings,
) -> None:
    """Without subscriber_host the tag writes a path."""
    settings.PUSH_SERVER = {}
    assert render("{% channel_url 'news' %}") == "/subscriber/news"


def test_markup_in_a_pattern_is_escaped(settings: LazySettings) -> None:
    """The URL is escaped for use in an HTML attribute."""
    settings.PUSH_SERVER = {"locations": [{"type": "subscriber", "prefix": "/a&b'/"}]}
    assert render("{% channel_url 'x' %}") == "/a&amp;b&#x27;/x"


@pytest.mark.parametrize("tag", ["{% channel_url missing %}", "{% channel_url '' %}"])
def test_empty_id_is_an_error(tag: str, settings: LazySettings) -> None:
    """A misspelt variable raises an error instead of writing a useless URL."""
    settings.PUSH_SERVER = {}
    with pytest.raises(ValueError, match="A channel id has from 1 to 512 characters"):
        render(tag)


def read_channels(html: str) -> dict[str, Any]:
    """Return the subscriptions that ``{% push_channels %}`` has written."""
    begin, end = '<script type="application/json" data-push-channels>', "</script>"
    assert html.startswith(begin)
    assert html.endswith(end)
    text = html.removeprefix(begin).removesuffix(end)
    assert not set("<>&") & set(text)
    found: dict[str, Any] = json.loads(text)
    return found


def test_channels_of_a_page(settings: LazySettings) -> None:
    """Each channel has its URL, and the id after which the page begins."""
    settings.PUSH_SERVER = {}
    html = render(
        "{% push_channels news='news' me=channel since=since %}",
        channel="user/<7>&",
        since={"news": "1795350764:1", "user/<7>&": "0:0"},
    )
    assert read_channels(html) == {
        "news": {"url": "/subscriber/news", "after": "1795350764:1"},
        "me": {"url": subscriber_url("user/<7>&"), "after": "0:0"},
    }


def test_channels_that_share_a_connection(settings: LazySettings) -> None:
    """A page knows at once how to join the URLs of its channels."""
    settings.PUSH_SERVER = {
        "locations": [{"type": "subscriber", "url": r"/updates/(.+)", "separator": ","}]
    }
    html = render("{% push_channels news='news' since=since %}", since={"news": "0:0"})
    assert read_channels(html)["news"] == {
        "url": "/updates/news",
        "after": "0:0",
        "location": '/updates/{channels}; separator=","',
    }


def test_channels_of_several_locations(settings: LazySettings) -> None:
    """Each channel has the location that takes it, which need not be the first."""
    settings.PUSH_SERVER = {
        "locations": [
            {"type": "subscriber", "url": r"/updates/([a-z]+)", "separator": ","},
            {"type": "subscriber", "url": r"/updates/(user-\d+)"},
            {"type": "subscriber", "url": r"/updates/rooms/(.+)", "separator": ";"},
        ]
    }
    html = render(
        "{% push_channels news='news' me='user-7' room='Room 1' since=since %}",
        since={"news": "0:0", "user-7": "0:0", "Room 1": "0:0"},
    )
    found = read_channels(html)
    assert {name: each.get("location") for name, each in found.items()} == {
        "news": '/updates/{channels}; separator=","',
        "me": None,
        "room": '/updates/rooms/{channels}; separator=";"',
    }


def test_channels_of_an_unknown_position(settings: LazySettings) -> None:
    """A page whose position is unknown begins now, and reports a gap."""
    settings.PUSH_SERVER = {}
    before = int(time.time())
    html = render("{% push_channels news='news' since=since %}", since={"news": None})
    (found,) = read_channels(html).values()
    assert found.pop("url") == "/subscriber/news"
    assert found.pop("missed") is True
    second, tag = found.pop("after").split(":")
    assert before - 1 <= int(second) < time.time()
    assert (tag, found) == ("0", {})


def test_channels_that_are_missing_in_a_position(settings: LazySettings) -> None:
    settings.PUSH_SERVER = {}
    with pytest.raises(ValueError, match=r"position\(\[\.\.\.\]\)"):
        render("{% push_channels news='news' since=since %}", since={"other": "0:0"})


async def test_channels_without_a_position(settings: LazySettings) -> None:
    """The tag looks the position up; in an event loop it would have to wait for it."""
    settings.PUSH_SERVER = {}
    hubs.get("default")
    receipt = await asend_update("news", 1)
    assert receipt is not None
    assert receipt.info is not None
    tag = "{% push_channels news='news' %}"
    html = await asyncio.to_thread(render, tag)
    assert read_channels(html)["news"]["after"] == receipt.info["last_message_id"]
    assert read_channels(render(tag))["news"]["missed"] is True
