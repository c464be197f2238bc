"""What our protocol adds to Rev. 2.23 for subscribers."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from email.utils import parsedate_to_datetime

import pytest

from .sites import Early, Relay, name

EPOCH = {"If-Modified-Since": "Thu, 01 Jan 1970 00:00:00 GMT", "If-None-Match": "0"}


def _time(headers: dict[str, str]) -> datetime:
    return parsedate_to_datetime(headers["If-Modified-Since"])


def _first_of_two(relay: Relay) -> dict[str, str]:
    """Publish two messages and return the headers with the id of the first one."""
    relay.publish(b"one")
    relay.publish(b"two")
    return name(relay.get())


def test_etag_is_a_number(relay: Relay) -> None:
    """The Etag counts the messages of a second, without quotes, as clients expect."""
    relay.publish()
    assert relay.get().headers["Etag"].isdigit()


def test_response_headers_for_caches(relay: Relay) -> None:
    """Cache-Control repeats the tag; Vary names the headers that select the message."""
    relay.publish()
    answer = relay.get()
    cache_control = answer.headers["Cache-Control"].split(", ")
    tag = f"etag={answer.headers['Etag']}"
    assert {"no-cache", "no-transform", tag} <= set(cache_control)
    vary = answer.headers["Vary"].lower()
    assert "if-modified-since" in vary
    assert "if-none-match" in vary


def test_responses_are_not_compressed(relay: Relay) -> None:
    """A proxy that compressed it would drop or weaken the Etag."""
    relay.publish(b'{"key": "value"}' * 1000, "application/json")
    answer = relay.get(headers={"Accept-Encoding": "gzip"})
    assert "Content-Encoding" not in answer.headers
    assert answer.headers["Etag"].isdigit()


def test_epoch_returns_the_oldest_message(relay: Relay) -> None:
    """Browser clients start with the epoch and 0."""
    relay.publish(b"one")
    relay.publish(b"two")
    assert relay.get(headers=EPOCH).body == b"one"


def test_date_without_a_tag_returns_the_first_message_of_its_second(
    relay: Relay,
) -> None:
    """If-Modified-Since alone asks for the first message of that second or later."""
    headers = _first_of_two(relay)
    del headers["If-None-Match"]
    assert relay.get(headers=headers).body == b"one"


@pytest.mark.parametrize("form", ["{}", '"{}"', 'W/"{}"'])
def test_tag_may_be_quoted_or_weak(relay: Relay, form: str) -> None:
    """Proxies rewrite If-None-Match, so 3, "3" and W/"3" are the same."""
    headers = _first_of_two(relay)
    headers["If-None-Match"] = form.format(headers["If-None-Match"])
    assert relay.get(headers=headers).body == b"two"


@pytest.mark.parametrize("form", ["%A, %d-%b-%y %H:%M:%S GMT", "%a %b %e %H:%M:%S %Y"])
def test_date_may_have_obsolete_formats(relay: Relay, form: str) -> None:
    """Dates in the formats of RFC 850 and asctime are accepted."""
    headers = _first_of_two(relay)
    headers["If-Modified-Since"] = _time(headers).strftime(form)
    assert relay.get(headers=headers).body == b"two"


def test_date_may_have_a_numeric_zone(relay: Relay) -> None:
    """The same time in another zone names the same message."""
    headers = _first_of_two(relay)
    there = _time(headers).astimezone(timezone(timedelta(hours=1)))
    headers["If-Modified-Since"] = there.strftime("%a, %d %b %Y %H:%M:%S %z")
    assert relay.get(headers=headers).body == b"two"


@pytest.mark.parametrize("header", ["If-Modified-Since", "If-None-Match"])
@pytest.mark.parametrize("value", ["nonsense", "", "0, 1"])
def test_invalid_id_header_is_400(relay: Relay, header: str, value: str) -> None:
    """The error names the header."""
    headers = {**_first_of_two(relay), header: value}
    answer = relay.get(headers=headers)
    assert answer.status == 400
    assert header in answer.text


def test_interval_poll_without_a_message_returns_its_own_id(relay: Relay) -> None:
    """304 has no body, and the client's own Last-Modified and Etag."""
    relay.publish()
    headers = name(relay.get())
    answer = relay.get("interval", headers=headers)
    assert (answer.status, answer.body) == (304, b"")
    assert name(answer) == headers


def test_long_poll_times_out_with_its_own_id(relay: Relay, early: Early) -> None:
    """It is 304 with the client's own id, from which it can continue."""
    relay.path("timed")
    assert early.timed is not None
    answer = early.timed.answer()
    assert answer.status == 304
    assert name(answer) == name(early.seen)
    early.relay.publish(b"new")
    assert early.relay.get(after=answer).body == b"new"


def test_location_can_refuse_to_create_channels_on_get(relay: Relay) -> None:
    """A GET is 404 until the channel is created in another way."""
    assert relay.get("existing").status == 404
    relay.publish(b"news")
    assert relay.get("existing").body == b"news"


@pytest.mark.parametrize("role", ["subscriber", "interval"])
def test_location_can_create_channels_on_get(relay: Relay, role: str) -> None:
    """The channel exists from the first GET on."""
    assert relay.info() == {}
    if role == "interval":
        relay.get(role)
    else:
        relay.hold(role)
        relay.wait_until_held(1)
    assert relay.info() != {}


def test_push_gap_names_a_missed_message(relay: Relay) -> None:
    """Push-Gap has the id of the newest message that the client has missed."""
    for body in (b"one", b"two", b"three"):
        relay.publish(body, role="few-publisher")
    first = relay.get("few-subscriber")
    second = relay.get("few-subscriber", after=first)
    for body in (b"four", b"five"):
        relay.publish(body, role="few-publisher")
    answer = relay.get("few-subscriber", after=first)
    assert answer.body == b"three"
    time = int(_time(name(second)).timestamp())
    assert answer.headers["Push-Gap"] == f"{time}:{second.headers['Etag']}"


def test_no_push_gap_without_missed_messages(relay: Relay) -> None:
    """A client that starts, or that has all messages, gets no Push-Gap."""
    for body in (b"one", b"two", b"three", b"four"):
        relay.publish(body, role="few-publisher")
    start = relay.get("few-subscriber", headers=EPOCH)
    after = relay.get("few-subscriber", after=start)
    assert (start.body, after.body) == (b"two", b"three")
    assert "Push-Gap" not in start.headers
    assert "Push-Gap" not in after.headers


def test_id_from_before_a_deletion_gets_the_next_message(relay: Relay) -> None:
    """A client with an id from before a deletion gets the next message."""
    for _ in range(3):
        relay.publish(b"old")
    seen = relay.get(after=relay.get(after=relay.get()))
    relay.request("DELETE", "publisher")
    held = relay.hold(after=seen)
    relay.wait_until_held(1)
    relay.publish(b"new")
    assert held.answer().body == b"new"


def test_disconnected_client_is_no_subscriber_any_more(relay: Relay) -> None:
    """The server notices a disconnect, and a POST then reports no subscriber."""
    held = [relay.hold() for _ in range(3)]
    relay.wait_until_held(3)
    for each in held:
        each.close()
    relay.wait_until_held(0)
    assert relay.publish().status == 202


def test_connection_is_reused_for_the_next_poll(relay: Relay) -> None:
    """A connection stays open after a held request for the next one."""
    wire = relay.wire()
    wire.send("GET", relay.path())
    relay.wait_until_held(1)
    relay.publish(b"one")
    first = wire.answer()
    wire.send("GET", relay.path(), *(f"{k}: {v}" for k, v in name(first).items()))
    relay.wait_until_held(1)
    relay.publish(b"two")
    assert (first.body, wire.answer().body) == (b"one", b"two")


def test_query_string_is_ignored(relay: Relay) -> None:
    """Clients add a number to avoid caches."""
    relay.publish(b"news")
    wire = relay.wire()
    wire.send("GET", relay.path() + "?_=1699")
    assert wire.answer().body == b"news"


def test_burst_arrives_complete_and_in_order(relay: Relay) -> None:
    """A client gets all messages, even if they are published faster than it polls."""
    held = relay.hold()
    relay.wait_until_held(1)
    sent = [b"%d" % number for number in range(100)]
    for body in sent:
        relay.publish(body)
    answer = held.answer()
    received = [answer.body]
    while len(received) < len(sent):
        answer = relay.hold(after=answer).answer()
        received.append(answer.body)
    assert received == sent


def test_message_answers_a_hundred_held_requests(relay: Relay) -> None:
    """A message answers a hundred held requests."""
    held = [relay.hold() for _ in range(100)]
    relay.wait_until_held(100)
    assert relay.publish(b"news").status == 201
    assert {each.answer().body for each in held} == {b"news"}
    relay.wait_until_held(0)


# Pages of other origins


def _origin(relay: Relay) -> dict[str, str]:
    relay.path("cors")
    return {"Origin": relay.site.origin or pytest.skip("--origin is not given")}


def test_page_of_an_allowed_origin_may_read_responses(relay: Relay) -> None:
    """Its origin is echoed, cookies are allowed, and the id headers are exposed."""
    origin = _origin(relay)
    relay.publish()
    headers = relay.get("cors", headers=origin).headers
    assert headers["Access-Control-Allow-Origin"] == origin["Origin"]
    assert headers["Access-Control-Allow-Credentials"] == "true"
    exposed = headers["Access-Control-Expose-Headers"].lower()
    for header in ("last-modified", "etag", "cache-control", "push-gap", "retry-after"):
        assert header in exposed


def test_page_of_an_allowed_origin_may_read_errors(relay: Relay) -> None:
    """A page has to see that its channel was deleted."""
    held = relay.hold("cors", headers=_origin(relay))
    relay.wait_until_held(1)
    relay.request("DELETE", "publisher")
    answer = held.answer()
    assert answer.status == 410
    assert answer.headers["Access-Control-Allow-Origin"] == relay.site.origin


def test_page_of_another_origin_may_not_read_responses(relay: Relay) -> None:
    """Without CORS headers, the browser does not let the page read the response."""
    _origin(relay)
    relay.publish()
    answer = relay.get("cors", headers={"Origin": "http://elsewhere.example"})
    assert answer.status == 200
    allowed = answer.headers.get("Access-Control-Allow-Origin")
    assert allowed in (None, relay.site.origin)


def test_preflight_allows_the_id_headers(relay: Relay) -> None:
    """Browsers ask before they send id headers of any client, or a token."""
    asked = {
        **_origin(relay),
        "Access-Control-Request-Method": "GET",
        "Access-Control-Request-Headers": "if-modified-since,if-none-match",
    }
    answer = relay.request("OPTIONS", "cors", asked)
    assert answer.status in (200, 204)
    assert answer.headers["Access-Control-Allow-Origin"] == relay.site.origin
    allowed = answer.headers["Access-Control-Allow-Headers"].lower()
    for header in ("if-modified-since", "if-none-match", "last-event-id", "etag"):
        assert header in allowed
    assert "authorization" in allowed
    assert answer.headers["Access-Control-Max-Age"] == "864000"
