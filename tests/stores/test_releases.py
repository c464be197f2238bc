"""Two releases with one shared store: each reads what the other writes."""

from __future__ import annotations

from typing import Any

import pytest
import redis

from pushserver.publishers import Update
from pushserver_channels.messages import START, Message, MessageId
from pushserver_channels.stores.fields import unpack_fields
from pushserver_channels.stores.layer_events import read_message
from tests.valkey import Valkey

from .conftest import Audience, Clock, make_redis_store

UPDATES = [
    Update("a", b"plain", b"text/plain"),
    Update("a", b"no type"),
    Update("a", b"all", b"text/plain", b"gzip", "story", 2.5),
]


def read_entry_as_before(entry: list[Any]) -> tuple[bytes, bytes, bytes, bytes]:
    """Return id, body, type and previous id as the first release parses an entry."""
    name, (_, _, _, previous, _, kind, _, body) = entry
    return name, body, kind[1:], previous


def read_notice_as_before(content: bytes) -> tuple[bytes, bytes, bytes, bytes]:
    """Return id, body, type and previous id as the first release parses a notice."""
    end = content.find(b"\n")
    _, _, *more = content[: end if end >= 0 else None].split(b" ")
    message_id, previous, size = more
    start = end + 1 + int(size)
    return message_id, content[start:], content[end + 2 : start], previous


@pytest.mark.parametrize("update", UPDATES)
async def test_first_release_can_read_entries(valkey: Valkey, update: Update) -> None:
    """An entry and a notice have the parts that the first release expects."""
    store = make_redis_store(valkey, Clock())
    store.attach(Audience())
    channel = store.commands.find("a")
    with redis.Redis(port=valkey.port) as client:
        client.set_response_callback("XRANGE", lambda answer, **options: answer)
        listener = client.pubsub()
        listener.subscribe(channel.topic)
        assert listener.get_message(timeout=10)["type"] == "subscribe"
        message = (await store.append(update)).message
        entries = client.execute_command("XRANGE", channel.keys[0], "-", "+")
        notice = listener.get_message(timeout=10)
        listener.close()
    await store.aclose()
    wanted = (f"{message.id.time}-{message.id.tag}".encode(), update.body)
    kind = update.content_type or b""
    for name, body, content_type, _ in (
        *map(read_entry_as_before, entries),
        read_notice_as_before(notice["data"]),
    ):
        assert (name, body) == wanted
        assert content_type == kind


async def test_entry_with_unknown_fields_is_read(valkey: Valkey) -> None:
    """An entry is read whatever unknown fields it has."""
    store = make_redis_store(valkey, Clock())
    store.attach(Audience())
    await store.create("a")
    stream, channel, _ = store.commands.find("a").keys
    fields = {"type": "=text/plain", "body": "news", "previous": "", "token": "t"}
    with valkey.client() as client:
        client.xadd(stream, fields, "5-0")
        later = {"shade": "red", **fields, "token": "t;version=9&event=e&shade=red"}
        client.xadd(stream, later, "6-1")
        client.hset(channel, mapping={"time": 6, "tag": 1, "shade": "red"})
    first = Message(MessageId(5, 0), b"news", b"text/plain", None)
    assert await store.next("a", START) == first
    second = first._replace(id=MessageId(6, 1), event="e")
    assert await store.page("a", first.id, 2) == [second]
    await store.aclose()


def test_layer_event_of_another_release_is_read() -> None:
    """A message from a layer is read with unknown fields, and with missing ones."""
    message = Message(MessageId(5, 0), b"news", None, MessageId(4, 1))
    words = [[5, 0], b"news", None, [4, 1]]
    assert read_message({"message": words}) == message
    event = {"message": [*words, "more"], "fields": "encoding=br&shade=red", "more": 1}
    assert read_message(event) == message._replace(content_encoding=b"br")


def test_encoded_fields_are_ascii_without_spaces() -> None:
    """Unknown optional fields are ignored."""
    assert unpack_fields("version=9&shade=red") == {}
    assert unpack_fields("") == {}
