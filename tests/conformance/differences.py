"""Known differences between servers and the protocol, and what they do instead."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tests.servers import wait_until

from .sites import TIMEOUT, Relay, name

FUTURE = {
    "If-Modified-Since": "Fri, 01 Jan 2100 00:00:00 GMT",
    "If-None-Match": "0",
}


@dataclass(frozen=True)
class Difference:
    """A test that a server cannot pass.

    Attributes:
        reason: The reason, in a sentence.
        instead: Asserts what the server does instead.
    """

    reason: str
    instead: Callable[[Relay], None]


# nginx with Nchan 1.3.6, with the configuration of manage.py pushserver_nginx


def put_is_refused(relay: Relay) -> None:
    held = relay.hold()
    relay.wait_until_held(1)
    put = relay.request("PUT", "publisher", body=b"not a message")
    assert put.status == 405
    assert relay.info()["messages"] == 0
    assert not held.is_answered


def put_creates_no_channel(relay: Relay) -> None:
    assert relay.request("PUT", "publisher").status == 405
    assert relay.request("GET", "publisher").status == 404


def deleted_channel_exists_for_some_seconds(relay: Relay) -> None:
    relay.publish(b"old")
    assert relay.request("DELETE", "publisher").status == 200
    assert relay.request("GET", "publisher").status == 200
    relay.publish(b"new")
    assert relay.get().body == b"new"


def statuses_without_put_and_after_a_late_deletion(relay: Relay) -> None:
    methods = ("GET", "PUT", "GET", "POST", "DELETE", "GET")
    statuses = [relay.request(each, "publisher").status for each in methods]
    assert statuses == [404, 405, 404, 202, 200, 200]


def all_successes_but_put_return_channel_info(relay: Relay) -> None:
    put_creates_no_channel(relay)
    for method, status in [("POST", 202), ("GET", 200), ("DELETE", 200)]:
        answer = relay.request(method, "publisher")
        assert answer.status == status
        assert answer.text.startswith("queued messages: ")


def future_id_stays_held(relay: Relay) -> None:
    relay.publish(b"old")
    current, future = relay.hold(after=relay.get()), relay.hold(headers=FUTURE)
    relay.wait_until_held(2)
    assert relay.publish(b"new").status == 201
    assert current.answer().body == b"new"
    assert not future.is_answered


def _both_are_served(relay: Relay, role: str) -> None:
    held = [relay.hold(role), relay.hold(role)]
    relay.wait_until_held(2)
    relay.publish(b"news")
    assert [each.answer().body for each in held] == [b"news"] * 2


def newest_is_not_preferred(relay: Relay) -> None:
    _both_are_served(relay, "last")


def oldest_is_not_preferred(relay: Relay) -> None:
    _both_are_served(relay, "first")


def content_type_is_always_text(relay: Relay) -> None:
    relay.publish()
    for kind in ("json", "xml", "yaml"):
        answer = relay.request("GET", "publisher", {"Accept": f"application/{kind}"})
        assert answer.headers["Content-Type"] == f"text/{kind}"


def head_is_refused(relay: Relay) -> None:
    relay.publish()
    assert relay.request("HEAD", "publisher").status == 405


def options_are_200(relay: Relay) -> None:
    answer = relay.request("OPTIONS", "publisher")
    assert answer.status == 200
    assert answer.headers["Allow"] == "GET, POST, PUT, DELETE"


def post_always_creates_a_channel(relay: Relay) -> None:
    assert relay.publish(role="known").status == 202


def tags_start_from_zero_again(relay: Relay) -> None:
    # After the second is over, the ids differ by their time.
    for _ in range(20):
        other = relay.other()
        ids = []
        for _ in range(2):
            other.publish()
            ids.append(other.info()["last_message_id"])
            other.request("DELETE", "publisher")
        if ids[0] == ids[1]:
            return
    raise AssertionError("The ids of a channel that was made again always differ.")


def encoded_slash_does_not_match(relay: Relay) -> None:
    relay.channel += "/part"
    answer = relay.publish(b"news")
    assert answer.status == 404
    assert "text/html" in answer.headers["Content-Type"]  # Django


def too_long_channel_id_is_403(relay: Relay) -> None:
    relay.channel = relay.channel.ljust(513, "x")
    assert relay.publish().status == 403
    assert relay.get("interval").status == 403


def date_without_a_tag_is_400(relay: Relay) -> None:
    relay.publish()
    headers = name(relay.get())
    del headers["If-None-Match"]
    assert relay.get(headers=headers).status == 400


def time_zone_is_ignored(relay: Relay) -> None:
    relay.publish()
    headers = name(relay.get())
    elsewhere = headers["If-Modified-Since"].replace("GMT", "-0100")
    held = relay.hold(headers={**headers, "If-Modified-Since": elsewhere})
    relay.wait_until_held(1)
    assert not held.is_answered


def invalid_ids_are_partly_ignored(relay: Relay) -> None:
    relay.publish(b"one")
    relay.publish(b"two")
    headers = name(relay.get())
    no_date = {**headers, "If-Modified-Since": "nonsense"}
    assert relay.get(headers=no_date).body == b"one"
    no_tag = {**headers, "If-None-Match": "nonsense"}
    assert relay.get(headers=no_tag).body == b"two"
    two_tags = {**headers, "If-None-Match": "0, 1"}
    assert relay.get(headers=two_tags).text == "Message ID invalid"


def poll_times_out_with_408(relay: Relay) -> None:
    relay.publish(b"old")
    seen = relay.get()
    answer = relay.hold("timed", after=seen).answer()
    assert answer.status == 408
    assert "Last-Modified" not in answer.headers
    relay.publish(b"new")
    assert relay.get(after=seen).body == b"new"


def missing_channel_is_403(relay: Relay) -> None:
    assert relay.get("existing").status == 403
    relay.publish(b"news")
    assert relay.get("existing").body == b"news"


def push_gap_is_missing(relay: Relay) -> None:
    relay.publish(b"one", role="few-publisher")
    first = relay.get("few-subscriber")
    for body in (b"two", b"three", b"four", b"five"):
        relay.publish(body, role="few-publisher")
    answer = relay.get("few-subscriber", after=first)
    assert answer.body == b"three"
    assert "Push-Gap" not in answer.headers


def another_origin_is_403(relay: Relay) -> None:
    relay.publish()
    answer = relay.get("cors", headers={"Origin": "http://elsewhere.example"})
    assert answer.status == 403


def every_request_sends_events(relay: Relay) -> None:
    relay.publish()
    relay.get()
    wait_until(
        lambda: (
            [each["event"] for each in relay.heard()] == ["subscribe", "unsubscribe"]
        )
    )


NCHAN = {
    "test_conflict_gets_409_at_once": Difference(
        "Nchan ignores its setting of who is preferred.", newest_is_not_preferred
    ),
    "test_publisher_statuses_during_the_life_of_a_channel": Difference(
        "PUT would publish, so it is refused, and a deleted channel lingers.",
        statuses_without_put_and_after_a_late_deletion,
    ),
    "test_put_creates_the_channel": Difference(
        "Nchan's PUT publishes, so the configuration refuses it.",
        put_creates_no_channel,
    ),
    "test_delete_removes_the_channel_and_its_messages": Difference(
        "Nchan's memory store tells of a deleted channel for some seconds.",
        deleted_channel_exists_for_some_seconds,
    ),
    "test_post_reaches_every_held_request": Difference(
        "Nchan answers a request for a future id with that message only.",
        future_id_stays_held,
    ),
    "test_every_success_returns_channel_info": Difference(
        "There is no PUT.", all_successes_but_put_return_channel_info
    ),
    "test_serving_the_newest_subscriber_can_be_chosen": Difference(
        "Nchan ignores its setting of who is preferred.", newest_is_not_preferred
    ),
    "test_serving_the_oldest_subscriber_can_be_chosen": Difference(
        "Nchan ignores its setting of who is preferred.", oldest_is_not_preferred
    ),
    "test_channel_info_has_the_content_type_from_accept": Difference(
        "Nchan understands application/json and answers text/json.",
        content_type_is_always_text,
    ),
    "test_put_publishes_nothing": Difference(
        "Nchan's PUT publishes, so the configuration refuses it.", put_is_refused
    ),
    "test_head_is_get_without_the_body": Difference(
        "Nchan never answers HEAD, so the configuration refuses it.", head_is_refused
    ),
    "test_options_of_a_publisher_lists_the_methods": Difference(
        "Nchan answers OPTIONS with 200.", options_are_200
    ),
    "test_location_can_refuse_to_create_channels_on_post": Difference(
        "Nchan has no such setting for publishers.", post_always_creates_a_channel
    ),
    "test_ids_increase_across_a_deletion": Difference(
        "Nchan counts the messages of a second from 0 again.",
        tags_start_from_zero_again,
    ),
    "test_channel_id_may_contain_an_encoded_slash": Difference(
        "nginx decodes a path before it matches it.", encoded_slash_does_not_match
    ),
    "test_too_long_channel_id_is_400": Difference(
        "Nchan answers 403.", too_long_channel_id_is_403
    ),
    "test_date_without_a_tag_returns_the_first_message_of_its_second": Difference(
        "Nchan wants both or none.", date_without_a_tag_is_400
    ),
    "test_date_may_have_a_numeric_zone": Difference(
        "nginx takes each zone for GMT.", time_zone_is_ignored
    ),
    "test_invalid_id_header_is_400": Difference(
        "Nchan takes what it can from a header, and leaves the rest.",
        invalid_ids_are_partly_ignored,
    ),
    "test_long_poll_times_out_with_its_own_id": Difference(
        "Nchan answers 408, with the Etag alone.", poll_times_out_with_408
    ),
    "test_location_can_refuse_to_create_channels_on_get": Difference(
        "Nchan answers 403.", missing_channel_is_403
    ),
    "test_push_gap_names_a_missed_message": Difference(
        "Nchan does not know what a client missed.", push_gap_is_missing
    ),
    "test_page_of_another_origin_may_not_read_responses": Difference(
        "Nchan refuses other origins with 403.", another_origin_is_403
    ),
    "test_requests_answered_at_once_send_no_events": Difference(
        "nginx tells of a request before it knows whether it will be held.",
        every_request_sends_events,
    ),
}


# The faster parser of uvicorn


def unknown_method_is_400(relay: Relay) -> None:
    wire = relay.wire("publisher")
    wire.send("BREW", relay.path("publisher"))
    answer = wire.answer()
    assert answer.status == 400
    assert answer.headers["Connection"] == "close"


HTTPTOOLS = {
    "test_unknown_method_is_405": Difference(
        "httptools knows the registered methods only, and uvicorn answers 400.",
        unknown_method_is_400,
    ),
}


# Two processes on one store in Redis


def post_is_202_only_after_a_moment(relay: Relay) -> None:
    assert relay.publish(b"old").status == 202
    held = relay.hold(after=relay.get())
    relay.wait_until_held(1)
    assert relay.publish(b"new").status == 201
    held.answer()
    wait_until(lambda: relay.publish(b"newer").status == 202)


def each_process_holds_its_newest_request(relay: Relay) -> None:
    # The first two are sent to different processes, the third to the first process.
    held = [relay.hold("last") for _ in range(2)]
    relay.wait_until_held(2)
    assert not any(each.is_answered for each in held)
    newest = relay.hold("last")
    assert held[0].answer().status == 409
    relay.wait_until_held(2)
    relay.publish(b"news")
    assert [held[1].answer().body, newest.answer().body] == [b"news"] * 2


def each_process_holds_its_oldest_request(relay: Relay) -> None:
    held = [relay.hold("first") for _ in range(2)]
    relay.wait_until_held(2)
    assert relay.hold("first").answer().status == 409
    relay.publish(b"news")
    assert [each.answer().body for each in held] == [b"news"] * 2


def another_process_counts_as_one(relay: Relay) -> None:
    held = [relay.hold() for _ in range(6)]
    relay.wait_until_held(6)
    assert relay.info()["subscribers"] == 3 + 1
    relay.publish(b"news")
    assert [each.answer().body for each in held] == [b"news"] * 6


CONCURRENCY = {
    "test_conflict_gets_409_at_once": Difference(
        "A process knows of its own requests only.",
        each_process_holds_its_newest_request,
    ),
    "test_serving_the_newest_subscriber_can_be_chosen": Difference(
        "A process knows of its own requests only.",
        each_process_holds_its_newest_request,
    ),
    "test_serving_the_oldest_subscriber_can_be_chosen": Difference(
        "A process knows of its own requests only.",
        each_process_holds_its_oldest_request,
    ),
}


def polls_create_the_channel_in_their_process(relay: Relay) -> None:
    relay.get("interval")
    assert relay.info() == {}
    relay.get("interval")
    assert relay.info() == {
        "messages": 0,
        "requested": 0,
        "subscribers": 0,
        "last_message_id": "0:0",
    }
    held_elsewhere = relay.other()
    held = held_elsewhere.hold()
    held_elsewhere.wait_until_held(1)
    assert held_elsewhere.info()["subscribers"] == 1
    held_elsewhere.publish(b"news")
    assert held.answer().body == b"news"


PROCESSES = {
    "test_post_is_201_if_a_held_request_got_the_message_else_202": Difference(
        "A process listens on for a moment after its last poll was answered.",
        post_is_202_only_after_a_moment,
    ),
    **CONCURRENCY,
    "test_channel_info_counts_the_requests_that_were_held": Difference(
        "A process counts another one that has requests as one.",
        another_process_counts_as_one,
    ),
    "test_channel_without_messages_has_the_last_id_zero": Difference(
        "A poll that is not held writes nothing to Redis if nobody has published.",
        polls_create_the_channel_in_their_process,
    ),
    "test_location_can_create_channels_on_get": Difference(
        "A poll that is not held writes nothing to Redis if nobody has published.",
        polls_create_the_channel_in_their_process,
    ),
}


# Two processes with a channel layer


def another_process_does_not_count(relay: Relay) -> None:
    held = [relay.hold() for _ in range(6)]
    relay.wait_until_held(6)
    assert relay.info()["subscribers"] == 3
    relay.publish(b"news")
    assert [each.answer().body for each in held] == [b"news"] * 6


def _requests_held_elsewhere_are_not_reported(relay: Relay, role: str) -> None:
    held = relay.hold()
    relay.wait_until_held(1)
    assert relay.publish(b"now", role=role).status == 202
    assert held.answer().body == b"now"


def post_is_202_for_requests_held_elsewhere(relay: Relay) -> None:
    _requests_held_elsewhere_are_not_reported(relay, "publisher")


def unstored_post_is_202_for_requests_held_elsewhere(relay: Relay) -> None:
    _requests_held_elsewhere_are_not_reported(relay, "unstored")
    relay.publish(b"kept")
    assert relay.get().body == b"kept"


def requests_elsewhere_are_not_counted(relay: Relay) -> None:
    relay.get("interval")
    wait_until(lambda: relay.info() != {}, TIMEOUT)
    assert relay.info() == {
        "messages": 0,
        "requested": -1,
        "subscribers": 0,
        "last_message_id": "0:0",
    }


LAYER = {
    **CONCURRENCY,
    "test_held_request_gets_the_next_message_at_once": Difference(
        "A process cannot say whether another one had subscribers.",
        post_is_202_for_requests_held_elsewhere,
    ),
    "test_storing_messages_can_be_turned_off": Difference(
        "A process cannot say whether another one had subscribers.",
        unstored_post_is_202_for_requests_held_elsewhere,
    ),
    "test_channel_info_counts_the_requests_that_were_held": Difference(
        "A process counts its own requests only.", another_process_does_not_count
    ),
    "test_channel_without_messages_has_the_last_id_zero": Difference(
        "A process does not know when another one was asked.",
        requests_elsewhere_are_not_counted,
    ),
}


#: By the server's name in the summary and the name of the test.
DIFFERENCES: dict[str, dict[str, Difference]] = {
    "nginx with Nchan": NCHAN,
    "uvicorn": HTTPTOOLS,
    "two Daphnes, Redis": PROCESSES,
    "two uvicorns, Redis": PROCESSES,
    "two granians, Redis": PROCESSES,
    "two Daphnes, layer": LAYER,
    "two uvicorns, layer": LAYER,
    "two granians, layer": LAYER,
}
