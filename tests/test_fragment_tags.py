"""The tags of HTML pages and updates: Turbo, Datastar, and where a page begins."""

from __future__ import annotations

import asyncio
import time

import pytest
from django.conf import LazySettings
from django.template import Context, Template

from pushserver.access.tokens import read_token
from pushserver.positions import Position
from pushserver.updates import asend_update, subscriber_url
from pushserver_channels.hub import hubs

from .test_templatetags import render

SEVERAL = {"type": "subscriber", "url": "/all/([^/]+)", "separator": ","}
SINCE: Position = {"news": "1795350764:3", "user/7": "0:0"}


def test_a_url_that_begins_at_a_position(settings: LazySettings) -> None:
    """The ids are in the order of the channels in the URL, each once."""
    settings.PUSH_SERVER = {"locations": [SEVERAL]}
    news = "/all/news?last_event_id=1795350764:3"
    assert render("{% channel_url 'news' since=since %}", since=SINCE) == news
    assert subscriber_url("news", since=SINCE) == news
    both = "/all/user%2F7,news?last_event_id=0:0,1795350764:3"
    tag = "{% channel_url 'user/7' 'news' 'user/7' since=since %}"
    assert render(tag, since=SINCE) == both


def test_a_signed_url_that_begins_at_a_position(settings: LazySettings) -> None:
    settings.PUSH_SERVER = {"locations": [SEVERAL], "signed": True}
    url = subscriber_url(["news", "user/7"], since=SINCE, expires=60)
    path, _, query = url.partition("?token=")
    token, _, position = query.partition("&last_event_id=")
    assert path == "/all/news,user%2F7"
    assert read_token(token).channel_ids == {"news", "user/7"}
    assert position == "1795350764:3,0:0"


def test_positions_that_are_unknown_or_of_other_channels(
    settings: LazySettings,
) -> None:
    """What is unknown begins now; what is missing is a mistake."""
    settings.PUSH_SERVER = {}
    before = int(time.time())
    url = subscriber_url("news", since={"news": None})
    second = int(url.removeprefix("/subscriber/news?last_event_id=").split(":")[0])
    assert before - 1 <= second < time.time()
    with pytest.raises(ValueError, match=r"position\(\[\.\.\.\]\)"):
        subscriber_url("other", since=SINCE)


def test_the_element_of_turbo(settings: LazySettings) -> None:
    """Its attribute is escaped, and begins at the position."""
    settings.PUSH_SERVER = {"locations": [{**SEVERAL, "url": "/a&b'<>/([^/]+)"}]}
    html = render("{% turbo_stream_from 'news' 'user/7' since=since %}", since=SINCE)
    assert html == (
        '<turbo-stream-source src="/a&amp;b&#x27;%3C%3E/news,user%2F7'
        '?last_event_id=1795350764:3,0:0"></turbo-stream-source>'
    )


def test_the_element_of_turbo_at_a_signed_location(settings: LazySettings) -> None:
    """The tag takes the arguments of ``{% channel_url %}``."""
    settings.PUSH_SERVER = {
        "locations": [
            {**SEVERAL, "url": "/open/([^/]+)", "public": True},
            {**SEVERAL, "name": "private", "signed": True},
        ]
    }
    arguments = "location='private' expires=60 since=since"
    html = render(f"{{% turbo_stream_from 'news' 'user/7' {arguments} %}}", since=SINCE)
    begin, end = '<turbo-stream-source src="/all/news,user%2F7?token=', '"></turbo-'
    assert html.startswith(begin)
    token = html.removeprefix(begin).partition("&amp;last_event_id=")[0]
    content = read_token(token)
    permission = content.permission
    assert content.channel_ids == {"news", "user/7"}
    assert permission.until == pytest.approx(permission.issued_at + 60)
    assert end in html
    open_tag = render("{% turbo_stream_from 'news' since=since %}", since=SINCE)
    assert '"/open/news?last_event_id=1795350764:3"' in open_tag


async def test_a_page_of_turbo_begins_when_it_is_rendered(
    settings: LazySettings,
) -> None:
    """Turbo subscribes anew on each page, which would get old messages again."""
    settings.PUSH_SERVER = {}
    hubs.get("default")
    receipt = await asend_update("news", 1)
    assert receipt is not None
    assert receipt.info is not None
    begin = f"?last_event_id={receipt.info['last_message_id'].partition(':')[0]}"
    page = Template("{% load pushserver %}{% turbo_stream_from 'news' %}")
    assert f"/news{begin}" not in page.render(Context()), "the second before, in a loop"

    html = await asyncio.to_thread(page.render, Context())
    assert f'{receipt.info["last_message_id"]}"' in html


def test_the_data_of_datastar() -> None:
    """Each line of the HTML is named, also those that a user wrote."""
    html = render(
        "{% datastar_elements selector='#list' mode='append' %}\n"
        "<li>\n  {{ text }}\n</li>\n{% enddatastar_elements %}",
        text="a\r\nselector body\rmode remove\n<b>",
    )
    assert html.split("\n") == [
        "selector #list",
        "mode append",
        "elements <li>",
        "elements   a",
        "elements selector body",
        "elements mode remove",
        "elements &lt;b&gt;",
        "elements </li>",
    ]


def test_the_arguments_of_datastar_are_one_line_each() -> None:
    html = render(
        "{% datastar_elements selector=chosen %}<li id=a>{% enddatastar_elements %}",
        chosen="#a,\r\nelements b",
    )
    assert html == "selector #a, elements b\nelements <li id=a>"
    html = render("{% datastar_elements %}<p>1</p>{% enddatastar_elements %}")
    assert html == "elements <p>1</p>"
