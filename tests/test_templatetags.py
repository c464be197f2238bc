from __future__ import annotations

import uuid
from typing import Any

import pytest
from django.conf import LazySettings
from django.template import Context, Template
from django.utils.safestring import mark_safe
from django.utils.translation import gettext_lazy

from pushserver.updates import subscriber_url


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
def test_an_expression_becomes_the_url_of_its_channel(
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


def test_the_tag_is_the_function(settings: LazySettings) -> None:
    """The tag and the Python function return the same URL for all locations."""
    settings.PUSH_SERVER = {
        "subscriber_host": {"location": "example.com", "secure": True},
        "locations": [{"type": "subscriber", "url": r"^/updates/([^/]+)/$"}],
    }
    assert render("{% channel_url 'a b' %}") == subscriber_url("a b")
    assert subscriber_url("a b") == "https://example.com/updates/a%20b/"


def test_without_a_host_the_url_is_for_the_host_of_the_page(
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
def test_an_empty_id_is_no_channel(tag: str, settings: LazySettings) -> None:
    """A misspelt variable raises an error instead of writing a useless URL."""
    settings.PUSH_SERVER = {}
    with pytest.raises(ValueError, match="A channel id has from 1 to 512 characters"):
        render(tag)
