from __future__ import annotations

from typing import Any

import pytest

from pushserver_channels.passthrough import Dispatcher, Passthrough
from pushserver_channels.types import Scope

from .exchanges import http_scope
from .passthrough_view import VIEW, View

pytestmark = pytest.mark.usefixtures("nothing_left")


async def one_notice(view: View, channel_id: str = "a", **scope: Any) -> Scope:
    scope = {**http_scope("GET", "/updates/a?query=1"), **scope}
    told = Passthrough(Dispatcher(view), VIEW)
    subscription = told.subscribe(scope, channel_id)
    await told.drain_before_exit()
    subscription.unsubscribe()
    await told.drain_before_exit()
    assert len(view.scopes) == 2
    return view.scopes[0]


async def test_view_gets_a_form_with_address_and_headers(view: View) -> None:
    """The view gets a POST of a form with the subscriber's address and headers."""
    scope = await one_notice(view, headers=[(b"cookie", b"a=b")])
    assert view.bodies == [b"channel_id=a&subscribe=1", b"channel_id=a&unsubscribe=1"]
    assert (scope["type"], scope["method"]) == ("http", "POST")
    assert (scope["path"], scope["raw_path"]) == (VIEW, VIEW.encode())
    assert scope["query_string"] == b""
    assert scope["client"] == ["127.0.0.1", 40_000]
    assert (scope["scheme"], scope["http_version"]) == ("http", "1.1")
    headers = dict(scope["headers"])
    assert headers == {
        b"cookie": b"a=b",
        b"content-type": b"application/x-www-form-urlencoded",
        b"content-length": b"24",
    }


async def test_subscriber_headers_are_passed_on(view: View) -> None:
    """Both requests have the subscriber's headers exactly as they were sent."""
    sent = [
        (b"host", b"example.com"),
        (b"cookie", b"sessionid=1"),
        (b"cookie", b"csrftoken=2"),
        (b"if-modified-since", b"Thu, 1 Jan 1970 00:00:00 GMT"),
        (b"if-none-match", b'W/"0"'),
        (b"authorization", b"Bearer \xff"),
        (b"origin", b"https://example.com"),
        (b"x-forwarded-for", b"10.0.0.1"),
        (b"user-agent", b"test"),
        (b"x-cookie", b"3"),
        (b"accept-language", b"sl"),
    ]
    await one_notice(view, headers=sent)
    for scope in view.scopes:
        assert scope["headers"][: len(sent)] == sent


@pytest.mark.parametrize(
    "name",
    [
        b"content-length",
        b"content-type",
        b"content-encoding",
        b"transfer-encoding",
        b"connection",
        b"keep-alive",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"upgrade",
        b"expect",
    ],
)
async def test_connection_headers_are_not_passed_on(view: View, name: bytes) -> None:
    """Headers about the subscriber's connection or body are not passed on."""
    scope = await one_notice(view, headers=[(name, b"100"), (b"x-kept", b"1")])
    assert [key for key, _ in scope["headers"]] == [
        b"x-kept",
        b"content-type",
        b"content-length",
    ]
    assert b"100" not in dict(scope["headers"]).values()


@pytest.mark.parametrize(
    "channel_id",
    ["a b", "a&subscribe=0", "a=b", "%", "+", "\u20ac", "\U0001f600", "a/b", "\x00\n"],
)
async def test_any_channel_id_reaches_the_view(view: View, channel_id: str) -> None:
    """Any channel id reaches the view unchanged."""
    await one_notice(view, channel_id)
    assert view.heard == [f"subscribe {channel_id}", f"unsubscribe {channel_id}"]
    for scope, body in zip(view.scopes, view.bodies, strict=True):
        assert dict(scope["headers"])[b"content-length"] == b"%d" % len(body)


async def test_subscriber_scope_is_not_modified(view: View) -> None:
    """The scope of the subscriber's request is not modified."""
    scope = http_scope("GET", "/updates/a")
    before = {**scope, "headers": list(scope["headers"])}
    told = Passthrough(Dispatcher(view), VIEW)
    told.subscribe(scope, "a")
    await told.drain_before_exit()
    assert scope == before
