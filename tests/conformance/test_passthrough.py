"""Passthrough: a Django view is told when subscribers come and go, on any server."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.servers import wait_until

from .sites import Relay, Wire, name


def _events(relay: Relay) -> list[object]:
    return [each["event"] for each in relay.heard()]


def _hold(relay: Relay, **headers: str) -> Wire:
    """Hold a request, and wait until the view has received a passthrough request."""
    held = relay.hold(headers=headers)
    relay.wait_until_held(1)
    wait_until(lambda: _events(relay) == ["subscribe"])
    return held


@pytest.mark.parametrize("end", ["message", "deletion", "hanging up"])
def test_held_requests_send_subscribe_and_unsubscribe(relay: Relay, end: str) -> None:
    """Each held request sends subscribe and unsubscribe, however it ends."""
    held = _hold(relay)
    if end == "message":
        relay.publish()
        held.answer()
    elif end == "deletion":
        relay.request("DELETE", "publisher")
        held.answer()
    else:
        held.close()
    wait_until(lambda: _events(relay) == ["subscribe", "unsubscribe"])


def test_every_unsubscribe_follows_a_subscribe(relay: Relay) -> None:
    """Clients that disconnect at once cause two passthrough requests or none."""
    for _ in range(20):
        relay.hold().close()
    last = relay.hold(headers={"Cookie": "last=1"})

    def told_of_the_last() -> list[object]:
        return [each["event"] for each in relay.heard() if each["cookies"]]

    wait_until(lambda: told_of_the_last() == ["subscribe"])
    relay.publish()
    assert last.answer().status == 200
    wait_until(lambda: told_of_the_last() == ["subscribe", "unsubscribe"])

    def is_paired() -> bool:
        counts = Counter(_events(relay))
        return counts["subscribe"] == counts["unsubscribe"]

    wait_until(is_paired)


def test_view_gets_the_headers_of_the_subscriber(relay: Relay) -> None:
    """Both passthrough requests have the subscriber's cookies and headers."""
    _hold(
        relay,
        **{
            "Cookie": "sessionid=abc; other=1",
            "If-Modified-Since": "Thu, 01 Jan 1970 00:00:00 GMT",
            "If-None-Match": "0",
        },
    )
    relay.publish()
    wait_until(lambda: len(relay.heard()) == 2)
    for each in relay.heard():
        assert each["cookies"] == {"sessionid": "abc", "other": "1"}
        assert each["if_modified_since"] == "Thu, 01 Jan 1970 00:00:00 GMT"
        assert each["if_none_match"] == "0"


@pytest.mark.parametrize("text", ["100%", "a+b c", "é", "a&subscribe=&channel_id=b"])
def test_view_gets_the_channel_id_unchanged(relay: Relay, text: str) -> None:
    """Special characters in a channel id arrive as part of the id."""
    relay.channel += text
    _hold(relay)
    relay.publish()
    wait_until(lambda: _events(relay) == ["subscribe", "unsubscribe"])


def test_view_gets_an_unencoded_channel_id_unchanged(relay: Relay) -> None:
    """Unencoded & and + in a URL are not special in the form."""
    path = relay.path()
    relay.channel += "&unsubscribe=1&a=b+c"
    held = relay.wire()
    held.send("GET", path + "&unsubscribe=1&a=b+c")
    wait_until(lambda: _events(relay) == ["subscribe"])
    relay.publish()
    assert held.answer().status == 200
    wait_until(lambda: _events(relay) == ["subscribe", "unsubscribe"])


def test_requests_answered_at_once_send_no_events(relay: Relay) -> None:
    """A request that is answered at once causes no passthrough request."""
    relay.publish(b"one")
    answer = relay.get()
    assert answer.body == b"one"
    _hold(relay, **name(answer))


@pytest.mark.parametrize(
    "header", ["X-Forwarded-For", "X-Real-IP", "Forwarded", "CF-Connecting-IP"]
)
def test_claimed_addresses_do_not_suppress_events(relay: Relay, header: str) -> None:
    """Addresses that a subscriber claims in headers make no difference."""
    _hold(relay, **{header: "203.0.113.9"})
    relay.publish()
    wait_until(lambda: _events(relay) == ["subscribe", "unsubscribe"])


def test_options_and_refused_methods_send_no_events(relay: Relay) -> None:
    """OPTIONS and refused methods cause no passthrough request."""
    relay.request("OPTIONS", "subscriber")
    relay.request("POST", "subscriber")
    _hold(relay)


def test_view_refuses_requests_of_other_clients(relay: Relay) -> None:
    """The view refuses requests of other clients."""
    if relay.site.heard is None:
        pytest.skip("the path of the view is known of the tests' own site only")
    form = f"channel_id={relay.channel}&subscribe=1".encode()
    for path in ("/passthrough", "/with-slash/"):
        wire = relay.wire()
        wire.send(
            *("POST", path, "X-Forwarded-For: 203.0.113.9"),
            "Content-Type: application/x-www-form-urlencoded",
            f"Content-Length: {len(form)}",
            body=form,
        )
        assert wire.answer().status == 403
    assert relay.heard() == []
