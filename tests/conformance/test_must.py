"""The thirty MUST requirements of Rev. 2.23, in its order.

The section of each is in parentheses.
"""

from __future__ import annotations

import pytest

from tests.servers import wait_until

from .sites import TIMEOUT, Relay, name

must = pytest.mark.must

FUTURE = {
    "If-Modified-Since": "Fri, 01 Jan 2100 00:00:00 GMT",
    "If-None-Match": "0",
}


@must(1)
def test_publisher_and_subscriber_urls_are_separate(relay: Relay) -> None:
    """A message that is sent to one URL is received at another one (2.1)."""
    assert relay.path("publisher") != relay.path("subscriber")
    assert relay.publish(b"news").status in (201, 202)
    assert relay.get().body == b"news"


@must(2)
def test_url_decides_between_publisher_and_subscriber(relay: Relay) -> None:
    """A GET of the publisher URL gets no message, one of the subscriber URL
    does (2.1).
    """
    relay.publish(b"news")
    assert relay.request("GET", "publisher").body != b"news"
    assert relay.request("GET", "subscriber").body == b"news"


@must(3)
def test_channel_ids_separate_channels(relay: Relay) -> None:
    """A message on one channel is not received on another (2.1)."""
    other = relay.other()
    relay.publish(b"one")
    other.publish(b"two")
    assert relay.get().body == b"one"
    assert other.get().body == b"two"


@must(4)
def test_publisher_responses_are_immediate(relay: Relay) -> None:
    """A publisher's request is answered while subscribers' requests are held (2.1)."""
    held = relay.hold(headers=FUTURE)
    relay.wait_until_held(1)
    other = relay.other()
    for method in ("GET", "PUT", "POST", "DELETE"):
        assert other.request(method, "publisher").status < 500
    assert not held.is_answered


@must(5)
def test_subscriber_responses_may_be_delayed(relay: Relay) -> None:
    """A subscriber's request is accepted, and answered when there is a
    message (2.1).
    """
    held = relay.hold()
    relay.wait_until_held(1)
    assert not held.is_answered
    relay.publish(b"news")
    assert held.answer().status == 200


@must(6)
@pytest.mark.parametrize(
    "headers",
    [
        {"Accept": "image/png"},
        {"Cookie": "sessionid=1"},
        {"Accept-Language": "sl, en;q=0.5", "DNT": "1"},
        {"Pragma": "no-cache", "Cache-Control": "max-age=0"},
        {"X-Requested-With": "XMLHttpRequest", "Referer": "http://pages.example/"},
    ],
    ids=lambda headers: next(iter(headers)),
)
def test_every_valid_subscriber_get_is_accepted(
    relay: Relay, headers: dict[str, str]
) -> None:
    """Headers that do not name a message make no difference (3.1)."""
    relay.publish(b"news")
    answer = relay.get(headers=headers)
    assert (answer.status, answer.body) == (200, b"news")


@must(7)
def test_get_without_a_date_returns_the_oldest_message(relay: Relay) -> None:
    """A GET without If-Modified-Since is answered with the oldest message (3.1)."""
    for body in (b"one", b"two", b"three"):
        relay.publish(body)
    assert relay.get().body == b"one"
    assert relay.get(headers={"If-None-Match": "1"}).body == b"one"


@must(8)
def test_response_headers_lead_to_the_next_message(relay: Relay) -> None:
    """Sending back Last-Modified and Etag gets each message once in order (3.1)."""
    sent = [b"%d" % number for number in range(20)]
    for body in sent:
        relay.publish(body)
    answer = relay.get()
    received = [answer.body]
    while len(received) < len(sent):
        answer = relay.get(after=answer)
        assert answer.status == 200
        received.append(answer.body)
    assert received == sent


@must(9)
def test_response_has_the_content_type_of_its_message(relay: Relay) -> None:
    """Content-Type is the publisher's, and missing if it sent none (3.1)."""
    relay.publish(b"{}", "application/json")
    relay.publish(b"anything", None)
    first = relay.get()
    second = relay.get(after=first)
    assert first.headers["Content-Type"] == "application/json"
    assert "Content-Type" not in second.headers


@must(10)
def test_subscriber_location_uses_long_or_interval_polling(relay: Relay) -> None:
    """Without a message, a long poll is held and an interval poll gets
    304 (3.1).
    """
    held = relay.hold()
    relay.wait_until_held(1)
    assert not held.is_answered
    if "interval" in relay.site.paths:
        assert relay.get("interval").status == 304


@must(11)
def test_long_poll_for_a_future_message_is_held(relay: Relay) -> None:
    """A client that has the last message waits for the next one (3.1)."""
    relay.publish(b"old")
    held = relay.hold(after=relay.get())
    relay.wait_until_held(1)
    assert not held.is_answered
    relay.publish(b"new")
    assert held.answer().body == b"new"


@must(12)
def test_held_requests_get_a_message_or_410(relay: Relay) -> None:
    """Of two held requests, one gets its message and the other 410 (3.1)."""
    other = relay.other()
    served, ended = relay.hold(), other.hold()
    relay.wait_until_held(1)
    other.wait_until_held(1)
    relay.publish(b"news", "text/css")
    other.request("DELETE", "publisher")
    answer = served.answer()
    assert (answer.status, answer.body) == (200, b"news")
    assert answer.headers["Content-Type"] == "text/css"
    assert ended.answer().status == 410


@must(13)
def test_held_request_gets_the_next_message_at_once(relay: Relay) -> None:
    """A held request gets the message and its type without another request (3.1)."""
    held = relay.hold()
    relay.wait_until_held(1)
    assert relay.publish(b"<p>", "text/html; charset=utf-8").status == 201
    wait_until(lambda: held.is_answered, TIMEOUT)
    answer = held.answer()
    assert (answer.status, answer.body) == (200, b"<p>")
    assert answer.headers["Content-Type"] == "text/html; charset=utf-8"


@must(14)
def test_delayed_response_equals_an_immediate_one(relay: Relay) -> None:
    """Both responses are the same byte for byte, except for Date (3.1)."""
    held = relay.hold()
    relay.wait_until_held(1)
    relay.publish(b"news")
    delayed, immediate = held.answer(), relay.hold().answer()
    assert delayed.status_line == immediate.status_line
    assert [each for each in delayed.fields if each[0].lower() != "date"] == [
        each for each in immediate.fields if each[0].lower() != "date"
    ]
    assert delayed.body == immediate.body


@must(15)
def test_held_request_gets_410_when_its_channel_is_deleted(relay: Relay) -> None:
    """A held request is answered with 410 when its channel is deleted (3.1)."""
    held = relay.hold()
    relay.wait_until_held(1)
    relay.request("DELETE", "publisher")
    assert held.answer().status == 410


@must(16)
def test_conflict_gets_409_at_once(relay: Relay) -> None:
    """Where only the newest request is held, the older one gets 409 (3.1)."""
    older = relay.hold("last")
    relay.wait_until_held(1)
    relay.hold("last")
    assert older.answer().status == 409


@must(17)
def test_interval_poll_for_a_future_message_is_304(relay: Relay) -> None:
    """An interval poll is answered at once: with the message, or with 304 if
    there is none (3.1).
    """
    assert relay.get("interval").status == 304
    relay.publish(b"news")
    answer = relay.get("interval")
    assert (answer.status, answer.body) == (200, b"news")
    assert relay.get("interval", after=answer).status == 304


@must(18)
def test_second_subscriber_is_served_or_one_of_them_gets_409(relay: Relay) -> None:
    """Of two requests both are served, or one of them and the other gets
    409 (3.1).
    """
    older = relay.hold()
    relay.wait_until_held(1)
    newer = relay.hold()
    wait_until(
        lambda: older.is_answered or newer.is_answered or relay.are_held(2), TIMEOUT
    )
    relay.publish()
    statuses = (older.answer().status, newer.answer().status)
    assert statuses in {(200, 200), (409, 200), (200, 409)}


@must(19)
def test_all_subscribers_are_served_by_default(relay: Relay) -> None:
    """Without a setting of the site, all held requests get the message (3.1)."""
    held = [relay.hold() for _ in range(5)]
    relay.wait_until_held(5)
    relay.publish(b"news")
    assert [each.answer().body for each in held] == [b"news"] * 5


@must(20)
def test_every_valid_publisher_request_is_accepted(relay: Relay) -> None:
    """Each method is answered, and the connection can be used again (3.2)."""
    wire = relay.wire("publisher")
    for method in ("PUT", "GET", "HEAD", "OPTIONS", "PATCH", "PROPFIND", "DELETE"):
        wire.send(method, relay.path("publisher"))
        answer = wire.answer()
        assert 200 <= answer.status < 500, method
        if answer.headers.get("Connection") == "close":
            wire = relay.wire("publisher")
    wire.send("POST", relay.path("publisher"), "Content-Length: 4", body=b"news")
    assert wire.answer().status == 202


@must(21)
def test_publisher_statuses_during_the_life_of_a_channel(relay: Relay) -> None:
    """The statuses of a publisher's requests follow the life of a channel (3.2)."""
    methods = ("GET", "PUT", "GET", "POST", "DELETE", "GET", "DELETE")
    statuses = [relay.request(each, "publisher").status for each in methods]
    assert statuses == [404, 200, 200, 202, 200, 404, 404]


@must(22)
def test_publisher_get_is_404_or_200(relay: Relay) -> None:
    """GET is 404 before the channel is created, and 200 from then on (3.2)."""
    assert relay.request("GET", "publisher").status == 404
    relay.publish()
    assert relay.request("GET", "publisher").status == 200


@must(23)
def test_put_creates_the_channel(relay: Relay) -> None:
    """PUT is 200, whether it creates the channel or the channel exists (3.2)."""
    assert relay.request("PUT", "publisher").status == 200
    assert relay.request("GET", "publisher").status == 200
    assert relay.request("PUT", "publisher").status == 200


@must(24)
def test_delete_removes_the_channel_and_its_messages(relay: Relay) -> None:
    """DELETE is 200; then the channel does not exist, and its messages are
    gone (3.2).
    """
    relay.publish(b"old")
    assert relay.request("DELETE", "publisher").status == 200
    assert relay.request("GET", "publisher").status == 404
    relay.publish(b"new")
    assert relay.get().body == b"new"


@must(25)
def test_delete_ends_every_held_request(relay: Relay) -> None:
    """All held requests are answered with 410 (3.2)."""
    held = [relay.hold() for _ in range(5)]
    relay.wait_until_held(5)
    assert relay.request("DELETE", "publisher").status == 200
    assert [each.answer().status for each in held] == [410] * 5


@must(26)
def test_delete_of_a_missing_channel_is_404(relay: Relay) -> None:
    """Without a channel, DELETE is 404 (3.2)."""
    assert relay.request("DELETE", "publisher").status == 404


@must(27)
def test_post_reaches_every_held_request(relay: Relay) -> None:
    """All held requests are answered, whatever their ids are, even one from the
    future (3.2).
    """
    relay.publish(b"old")
    held = [relay.hold(after=relay.get()), relay.hold(headers=FUTURE)]
    relay.wait_until_held(2)
    assert relay.publish(b"new").status == 201
    assert [each.answer().body for each in held] == [b"new"] * 2


@must(28)
def test_post_is_201_if_a_held_request_got_the_message_else_202(relay: Relay) -> None:
    """201 if a held request was answered with the message, 202 if not (3.2)."""
    assert relay.publish(b"old").status == 202
    held = relay.hold(after=relay.get())
    relay.wait_until_held(1)
    assert relay.publish(b"new").status == 201
    held.answer()
    assert relay.publish(b"newer").status == 202


@must(29)
def test_content_type_is_forwarded_unchanged(relay: Relay) -> None:
    """Parameters, case and spaces of a Content-Type arrive unchanged (3.2)."""
    odd = 'Application/X-Thing;  Charset="utf-8"; q=1'
    relay.publish(b"news", odd)
    assert relay.get().headers["Content-Type"] == odd


@must(30)
def test_every_success_returns_channel_info(relay: Relay) -> None:
    """The bodies of all responses from 200 to 299 contain channel info (3.2)."""
    answers = [
        relay.request("PUT", "publisher"),
        relay.publish(b"news"),
        relay.request("GET", "publisher"),
    ]
    held = relay.hold(headers=name(relay.get()))
    relay.wait_until_held(1)
    answers.append(relay.publish(b"more"))
    assert held.answer().body == b"more"
    answers.append(relay.request("DELETE", "publisher"))
    assert [each.status for each in answers] == [200, 202, 200, 201, 200]
    for answer in answers:
        assert answer.text.strip()
        assert answer.body not in (b"news", b"more")
