"""Passthrough: a Django view hears who comes and goes, whatever serves the polls."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.servers import wait_until

from .sites import Relay, Wire, name


def _events(relay: Relay) -> list[object]:
    return [each["event"] for each in relay.heard()]


def _hold(relay: Relay, **headers: str) -> Wire:
    """Hold a request, and wait until it is held and the view has heard of it."""
    held = relay.hold(headers=headers)
    relay.wait_until_held(1)
    wait_until(lambda: _events(relay) == ["subscribe"])
    return held


@pytest.mark.parametrize("end", ["message", "deletion", "hanging up"])
def test_the_view_hears_of_the_beginning_and_of_the_end(relay: Relay, end: str) -> None:
    """Each held request is a subscribe and an unsubscribe, whatever ended it."""
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


def test_every_end_has_had_its_beginning(relay: Relay) -> None:
    """Clients that hang up at once are told of twice or not at all."""
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


def test_the_view_sees_the_request_of_the_subscriber(relay: Relay) -> None:
    """Both times it has the subscriber's own cookies and headers."""
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
def test_the_view_is_told_the_channel_as_it_is(relay: Relay, text: str) -> None:
    """What is special in a form arrives as a part of the channel id."""
    relay.channel += text
    _hold(relay)
    relay.publish()
    wait_until(lambda: _events(relay) == ["subscribe", "unsubscribe"])


def test_a_channel_id_that_is_not_encoded_is_told_as_it_is(relay: Relay) -> None:
    """A URL may hold & and + bare; they are none of the form's."""
    path = relay.path()
    relay.channel += "&unsubscribe=1&a=b+c"
    held = relay.wire()
    held.send("GET", path + "&unsubscribe=1&a=b+c")
    wait_until(lambda: _events(relay) == ["subscribe"])
    relay.publish()
    assert held.answer().status == 200
    wait_until(lambda: _events(relay) == ["subscribe", "unsubscribe"])


def test_the_view_does_not_hear_of_who_was_never_held(relay: Relay) -> None:
    """A request that is answered at once was no subscription."""
    relay.publish(b"one")
    answer = relay.get()
    assert answer.body == b"one"
    _hold(relay, **name(answer))


@pytest.mark.parametrize(
    "header", ["X-Forwarded-For", "X-Real-IP", "Forwarded", "CF-Connecting-IP"]
)
def test_nobody_can_keep_the_view_from_hearing(relay: Relay, header: str) -> None:
    """Addresses that a subscriber claims to come from make no difference."""
    _hold(relay, **{header: "203.0.113.9"})
    relay.publish()
    wait_until(lambda: _events(relay) == ["subscribe", "unsubscribe"])


def test_a_preflight_is_no_subscription(relay: Relay) -> None:
    """The view hears nothing of OPTIONS, nor of methods that are refused."""
    relay.request("OPTIONS", "subscriber")
    relay.request("POST", "subscriber")
    _hold(relay)


def test_only_the_push_server_may_tell_the_view(relay: Relay) -> None:
    """The world's requests to the view are refused, so nobody can pretend."""
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
