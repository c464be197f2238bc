"""The eight recommendations of Rev. 2.23; one of its sentences may contain several.

The section of each is in parentheses.
"""

from __future__ import annotations

import pytest

from tests.servers import wait_until

from .sites import Early, Relay

should = pytest.mark.should


@should(1)
@pytest.mark.parametrize(
    "method", ["HEAD", "POST", "PUT", "DELETE", "PATCH", "PROPFIND"]
)
def test_other_methods_of_a_subscriber_are_405(relay: Relay, method: str) -> None:
    """Only GET subscribes (3.1). OPTIONS belongs to CORS, which is newer."""
    wire = relay.wire()
    wire.send(method, relay.path(), "Content-Length: 0")
    assert wire.answer().status == 405


@should(2)
def test_long_or_interval_polling_can_be_chosen(relay: Relay) -> None:
    """A site can have long polling and interval polling (3.1)."""
    assert relay.get("interval").status == 304
    held = relay.hold()
    relay.wait_until_held(1)
    relay.publish(b"news")
    assert held.answer().body == relay.get("interval").body == b"news"


@should(3)
def test_serving_all_subscribers_can_be_chosen(relay: Relay) -> None:
    """Broadcast: all held requests are answered with the message (3.1)."""
    held = [relay.hold() for _ in range(3)]
    relay.wait_until_held(3)
    relay.publish(b"news")
    assert [each.answer().status for each in held] == [200] * 3


@should(4)
def test_serving_the_newest_subscriber_can_be_chosen(relay: Relay) -> None:
    """Last in, first out: only the newest request is held, the others end with
    409 (3.1).
    """
    older = relay.hold("last")
    relay.wait_until_held(1)
    newer = relay.hold("last")
    assert older.answer().status == 409
    relay.wait_until_held(1)
    relay.publish(b"news")
    assert newer.answer().body == b"news"


@should(5)
def test_serving_the_oldest_subscriber_can_be_chosen(relay: Relay) -> None:
    """First in, last out: a request beside a held one ends with 409 (3.1)."""
    older = relay.hold("first")
    relay.wait_until_held(1)
    assert relay.hold("first").answer().status == 409
    assert not older.is_answered
    relay.publish(b"news")
    assert older.answer().body == b"news"


@should(6)
def test_the_number_of_stored_messages_can_be_limited(relay: Relay) -> None:
    """Above the limit, the oldest messages are removed (3.2)."""
    for body in (b"one", b"two", b"three", b"four"):
        relay.publish(body, role="few-publisher")
    assert relay.get("few-subscriber").body == b"two"


@should(7)
def test_the_age_of_stored_messages_can_be_limited(early: Early) -> None:
    """A message that is too old is not sent any more (3.2)."""
    relay = early.relay
    relay.path("brief-subscriber")
    assert early.young is not None
    assert early.young.body == b"old"

    def is_held() -> bool:
        return relay.is_any_held("brief-publisher")

    def is_gone() -> bool:
        # A held request was not answered with the old message; close it at once.
        held = relay.hold("brief-subscriber")
        wait_until(lambda: held.is_answered or is_held())
        gone = not held.is_answered
        held.close()
        wait_until(lambda: not is_held())
        return gone

    wait_until(is_gone)


@should(8)
def test_storing_messages_can_be_turned_off(relay: Relay) -> None:
    """A message that is published there reaches held requests, and no later
    one (3.2).
    """
    held = relay.hold()
    relay.wait_until_held(1)
    assert relay.publish(b"now", role="unstored").status == 201
    assert held.answer().body == b"now"
    relay.publish(b"kept")
    assert relay.get().body == b"kept"
