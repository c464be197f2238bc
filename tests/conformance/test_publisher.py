"""What our protocol adds to Rev. 2.23 for publishers."""

from __future__ import annotations

import json
import re

import pytest

from .sites import Relay

# The forms of the channel info, as the clients of Nchan parse them.
PLAIN = (
    r"queued messages: 1\r\n"
    r"last requested: -1 sec\. ago\r\n"
    r"active subscribers: 0\r\n"
    r"last message id: \d+:\d+"
)
JSON = (
    r'\{"messages": 1, "requested": -1, "subscribers": 0,'
    r' "last_message_id": "\d+:\d+" \}'
)
XML = (
    r'<\?xml version="1.0" encoding="UTF-8" \?>\r\n'
    r"<channel>\r\n"
    r"  <messages>1</messages>\r\n"
    r"  <requested>-1</requested>\r\n"
    r"  <subscribers>0</subscribers>\r\n"
    r"  <last_message_id>\d+:\d+</last_message_id>\r\n"
    r"</channel>"
)
YAML = (
    r"---\r\n"
    r"messages: 1\r\n"
    r"requested: -1\r\n"
    r"subscribers: 0\r\n"
    r'last_message_id: "\d+:\d+"\r\n'
    r"\r\n"
)


@pytest.mark.parametrize(
    ("accept", "media_type", "form"),
    [
        ("*/*", "text/plain", PLAIN),
        ("text/json", "text/json", JSON),
        ("text/xml", "text/xml", XML),
        ("text/yaml", "text/yaml", YAML),
        ("image/png, text/xml, text/json", "text/xml", XML),
    ],
    ids=["any", "json", "xml", "yaml", "list"],
)
def test_accept_chooses_the_format_of_channel_info(
    relay: Relay, accept: str, media_type: str, form: str
) -> None:
    """The first known type of Accept decides, and otherwise it is plain text."""
    relay.publish()
    answer = relay.request("GET", "publisher", {"Accept": accept})
    assert answer.headers["Content-Type"].partition(";")[0] == media_type
    assert re.fullmatch(form, answer.text)


@pytest.mark.parametrize("kind", ["json", "xml", "yaml"])
def test_channel_info_has_the_content_type_from_accept(relay: Relay, kind: str) -> None:
    """The response has the type that Accept asks for."""
    relay.publish()
    asked = [f"application/{kind}"]
    if kind != "xml":
        asked += [f"application/x-{kind}", f"text/x-{kind}"]
    answers = [relay.request("GET", "publisher", {"Accept": each}) for each in asked]
    types = [each.headers["Content-Type"].partition(";")[0] for each in answers]
    assert types == asked


def test_channel_info_has_the_id_of_the_last_message(relay: Relay) -> None:
    """The id has the seconds and the tag of the message's own headers."""
    for _ in range(3):
        relay.publish()
    told = str(relay.info()["last_message_id"])
    answer = relay.get()
    while f":{answer.headers['Etag']}" not in told:
        answer = relay.get(after=answer)
    assert re.fullmatch(r"\d+:\d+", told)


def test_channel_without_messages_has_the_last_id_zero(relay: Relay) -> None:
    """0:0 is the id if nothing was published yet."""
    relay.get("interval")
    assert relay.info() == {
        "messages": 0,
        "requested": 0,
        "subscribers": 0,
        "last_message_id": "0:0",
    }


def test_channel_info_counts_the_requests_that_were_held(relay: Relay) -> None:
    """The response to a POST counts the requests that it has answered."""
    held = [relay.hold() for _ in range(3)]
    relay.wait_until_held(3)
    answer = relay.request("POST", "publisher", {"Accept": "text/json"}, b"news")
    assert json.loads(answer.text)["subscribers"] == 3
    assert [each.answer().status for each in held] == [200] * 3
    relay.wait_until_held(0)


def test_delete_returns_the_last_channel_info(relay: Relay) -> None:
    """The info in the response counts the deleted messages."""
    relay.publish()
    relay.publish()
    answer = relay.request("DELETE", "publisher", {"Accept": "text/json"})
    assert json.loads(answer.text)["messages"] == 2


def test_put_publishes_nothing(relay: Relay) -> None:
    """The body of a PUT is not a message, and held requests stay held."""
    held = relay.hold()
    relay.wait_until_held(1)
    assert relay.request("PUT", "publisher", body=b"not a message").status == 200
    assert relay.info()["messages"] == 0
    assert not held.is_answered


def test_head_is_get_without_the_body(relay: Relay) -> None:
    """HEAD is 404 or 200 like GET, with the length of GET's body."""
    assert relay.request("HEAD", "publisher").status == 404
    relay.publish()
    head, get = relay.request("HEAD", "publisher"), relay.request("GET", "publisher")
    assert head.status == 200
    assert head.headers["Content-Length"] == get.headers["Content-Length"]


def test_options_of_a_publisher_lists_the_methods(relay: Relay) -> None:
    """OPTIONS is 204 with the allowed methods."""
    answer = relay.request("OPTIONS", "publisher")
    assert answer.status == 204
    allowed = set(re.split(", *", answer.headers["Allow"]))
    assert allowed >= {"GET", "PUT", "POST", "DELETE"}


def test_other_methods_of_a_publisher_are_405(relay: Relay) -> None:
    """A method that is not supported is 405, with the allowed methods."""
    answer = relay.request("PATCH", "publisher", body=b"not a message")
    assert answer.status == 405
    assert "POST" in answer.headers["Allow"]
    assert relay.info() == {}


def test_unknown_method_is_405(relay: Relay) -> None:
    """An unknown method is refused in the same way."""
    wire = relay.wire("publisher")
    wire.send("BREW", relay.path("publisher"))
    assert wire.answer().status == 405


@pytest.mark.parametrize("role", ["publisher", "subscriber"])
def test_body_of_a_refused_request_is_not_read_as_a_request(
    relay: Relay, role: str
) -> None:
    """The request after a refused one on the same connection is read correctly."""
    body = b"GET / HTTP/1.1\r\nHost: smuggled\r\n\r\n"
    wire = relay.wire(role)
    wire.send("PATCH", relay.path(role), f"Content-Length: {len(body)}", body=body)
    assert wire.answer().status == 405
    wire.send("GET", relay.path("publisher"))
    assert wire.answer().status == 404


def test_message_may_be_empty(relay: Relay) -> None:
    """An empty body is a message, and keeps its type."""
    relay.publish(b"", "text/x-empty")
    answer = relay.get()
    assert (answer.status, answer.body) == (200, b"")
    assert answer.headers["Content-Length"] == "0"
    assert answer.headers["Content-Type"] == "text/x-empty"


def test_message_may_be_any_bytes(relay: Relay) -> None:
    """All 256 values of a byte arrive unchanged."""
    body = bytes(range(256)) * 800
    relay.publish(body, "application/octet-stream")
    assert relay.get().body == body


def test_message_may_be_chunked(relay: Relay) -> None:
    """A POST with Transfer-Encoding: chunked publishes the whole body."""
    wire = relay.wire("publisher")
    chunks = b"5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n"
    wire.send(
        "POST", relay.path("publisher"), "Transfer-Encoding: chunked", body=chunks
    )
    assert wire.answer().status == 202
    assert relay.get().body == b"hello world"


def test_post_without_a_length_publishes_an_empty_message(relay: Relay) -> None:
    """Without Content-Length there is no body."""
    wire = relay.wire("publisher")
    wire.send("POST", relay.path("publisher"))
    assert wire.answer().status == 202
    assert relay.get().body == b""


def test_too_large_message_is_413(relay: Relay) -> None:
    """A message of one megabyte is accepted, and one byte more is refused."""
    assert relay.publish(bytes(1_048_576)).status == 202
    # A server may close a connection with an unread body.
    close = {"Connection": "close"}
    refused = relay.request("POST", "publisher", close, bytes(1_048_577))
    assert refused.status == 413
    assert relay.info()["messages"] == 1


def test_location_can_refuse_to_create_channels_on_post(relay: Relay) -> None:
    """A POST is 404 until the channel is created in another way."""
    assert relay.publish(role="known").status == 404
    relay.request("PUT", "publisher")
    assert relay.publish(role="known").status == 202


def test_unstored_message_is_not_sent_later(relay: Relay) -> None:
    """Without a held request it is 202 and not kept, but its id is reported."""
    assert relay.publish(role="unstored").status == 202
    assert relay.info()["messages"] == 0
    assert relay.info()["last_message_id"] != "0:0"


def test_ids_increase_across_a_deletion(relay: Relay) -> None:
    """The ids of a channel that is created again continue after the old ones."""
    for _ in range(3):
        relay.publish()
    before = _number(relay)
    relay.request("DELETE", "publisher")
    relay.publish()
    assert _number(relay) > before


def _number(relay: Relay) -> tuple[int, int]:
    time, _, tag = str(relay.info()["last_message_id"]).partition(":")
    return int(time), int(tag)


@pytest.mark.parametrize("text", ["100%", "a+b c", "é", "a&b=c;d", "a#b?c"])
def test_channel_id_may_be_any_text(relay: Relay, text: str) -> None:
    """Percent-encoded characters in a URL are part of the id."""
    special = relay.other()
    special.channel = relay.channel + text
    assert special.publish(b"news").status == 202
    assert special.get().body == b"news"
    assert relay.info() == {}


def test_channel_id_may_contain_an_encoded_slash(relay: Relay) -> None:
    """An encoded slash is part of the id, and not a separator of the path."""
    relay.channel += "/part"
    assert relay.publish(b"news").status == 202
    assert relay.get().body == b"news"


def test_encoded_and_unencoded_channel_ids_are_equal(relay: Relay) -> None:
    """%61 is a, so both URLs name one channel."""
    relay.publish(b"news")
    wire = relay.wire()
    path = relay.path()
    wire.send("GET", path[:-1] + f"%{ord(path[-1]):02x}")
    assert wire.answer().body == b"news"


def test_too_long_channel_id_is_400(relay: Relay) -> None:
    """An id has at most 512 characters."""
    relay.channel = relay.channel.ljust(512, "x")
    assert relay.publish().status == 202
    long = relay.other()
    long.channel = relay.channel + "x"
    assert long.publish().status == 400
    assert long.get("interval").status == 400
