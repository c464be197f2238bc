"""The URLs of several channels."""

from __future__ import annotations

import pytest
from django.conf import LazySettings
from django.template import Context, Template

from pushserver.conf import get_settings
from pushserver.conf.readers import SEPARATORS, InvalidSetting
from pushserver.updates import subscriber_url
from pushserver_channels.routing import PushLocations

LOCATIONS = [
    {"type": "subscriber", "url": "/one/([^/]+)"},
    {"type": "subscriber", "url": "/updates/([^/]+)", "separator": ","},
]


@pytest.mark.parametrize(
    ("channel_ids", "path"),
    [
        (["news", "user/7"], "/updates/news,user%2F7"),
        (("a,b", "c"), "/updates/a%2Cb,c"),
        (["a", "a", 7], "/updates/a,7"),
        (["a"], "/one/a"),
    ],
)
def test_a_list_of_channels_has_one_url(
    channel_ids: list[object], path: str, settings: LazySettings
) -> None:
    settings.PUSH_SERVER = {"locations": LOCATIONS}
    assert subscriber_url(channel_ids) == path


def test_tag_with_a_list_of_channels(settings: LazySettings) -> None:
    settings.PUSH_SERVER = {"locations": LOCATIONS}
    tag = "{% load pushserver %}{% channel_url 'news' user %}"
    assert Template(tag).render(Context({"user": "u/7"})) == "/updates/news,u%2F7"


def test_location_without_a_separator_has_no_url(settings: LazySettings) -> None:
    settings.PUSH_SERVER = {"locations": LOCATIONS[:1]}
    with pytest.raises(ValueError, match="give one a 'separator'"):
        subscriber_url(["a", "b"])


@pytest.mark.parametrize("count", [0, 256])
def test_too_many_or_no_channels_are_refused(
    count: int, settings: LazySettings
) -> None:
    settings.PUSH_SERVER = {"locations": LOCATIONS}
    with pytest.raises(ValueError, match="from 1 to 255"):
        subscriber_url([str(number) for number in range(count)])


@pytest.mark.parametrize("separator", SEPARATORS)
def test_ids_are_read_back_with_each_separator(
    separator: str, settings: LazySettings
) -> None:
    """The server finds the ids in the URL that was built from them."""
    location = {**LOCATIONS[1], "separator": separator}
    settings.PUSH_SERVER = {"locations": [location]}
    ids = ("a/b", f"c{separator}d", separator * 2, "ü %2C")
    for wanted in (ids, ids[1:2]):
        raw = subscriber_url(list(wanted)).encode()
        locations = PushLocations(lambda: None)  # type: ignore[arg-type, return-value]
        scope = {"type": "http", "method": "GET", "path": "", "raw_path": raw}
        found = locations.find_consumer({**scope, "headers": []})
        channel_ids = getattr(found, "channel_ids", (getattr(found, "channel_id", 0),))
        assert channel_ids == wanted


@pytest.mark.parametrize("separator", ["", ",,", "a", "/", "%", "?", "#", " ", 7])
def test_invalid_separators_are_refused(
    separator: object, settings: LazySettings
) -> None:
    settings.PUSH_SERVER = {"locations": [{**LOCATIONS[1], "separator": separator}]}
    with pytest.raises(InvalidSetting, match="one character"):
        get_settings()
