from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pushserver_channels.stores.redis.errors import (
    CommandError,
    ConnectionLost,
    Moved,
    Refused,
    UnknownScript,
)
from pushserver_channels.stores.redis.resp import AnswerProtocol, pack

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.binary(),
    lambda values: st.lists(values, max_size=4),
    max_leaves=12,
)
#: What a server sends: a kind and a value.
SENT = st.lists(st.tuples(st.sampled_from([b"*", b">"]), VALUES), max_size=5)


class Heard:
    """Records what a protocol passes on, in order."""

    def __init__(self) -> None:
        self.values: list[tuple[str, Any]] = []
        self.protocol = AnswerProtocol(
            lambda answer: self.values.append(("answer", answer)),
            lambda push: self.values.append(("push", push)),
            lambda error: self.values.append(("end", error)),
        )

    def feed(self, data: bytes) -> list[tuple[str, Any]]:
        """Return what the protocol passes on after each part of the data."""
        before = len(self.values)
        self.protocol.data_received(data)
        return self.values[before:]


def write(value: Any, kind: bytes = b"*") -> bytes:
    """Encode a value as a server does; a list has a kind."""
    if value is None:
        return b"_\r\n"
    if isinstance(value, bool):
        return b"#%b\r\n" % (b"t" if value else b"f")
    if isinstance(value, int):
        return b":%d\r\n" % value
    if isinstance(value, bytes):
        return pack(value)
    return b"%b%d\r\n%b" % (kind, len(value), b"".join(map(write, value)))


@given(SENT, st.lists(st.integers(min_value=0), max_size=8))
def test_values_may_be_split_anywhere(
    sent: list[tuple[bytes, Any]], cuts: list[int]
) -> None:
    """Values are the same and in order, however the network splits the data."""
    expected = []
    parts = []
    for kind, value in sent:
        if kind == b">":
            value = [value]  # A push is a list.
        expected.append(("push" if kind == b">" else "answer", value))
        parts.append(write(value, kind))
    data = b"".join(parts)
    places = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    heard = Heard()
    for start, end in zip(places, places[1:], strict=False):
        heard.feed(data[start:end])
    assert heard.values == expected


@pytest.mark.parametrize(
    ("data", "value"),
    [
        (b"+OK\r\n", b"OK"),
        (b"=8\r\ntxt:info\r\n", b"info"),
        (b"$-1\r\n", None),
        (b"*-1\r\n", None),
        (b"$0\r\n\r\n", b""),
        (b"*0\r\n", []),
        (b",1.5\r\n", 1.5),
        (b"~1\r\n:1\r\n", [1]),
        (b"%1\r\n+key\r\n:1\r\n", {b"key": 1}),
    ],
)
def test_types_of_values(data: bytes, value: object) -> None:
    """A value of each type is passed on with its last byte, and not before."""
    heard = Heard()
    for index in range(len(data) - 1):
        assert not heard.feed(data[index : index + 1])
    assert heard.feed(data[-1:]) == [("answer", value)]


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("ERR no", Refused),
        ("OOM command not allowed when used memory > 'maxmemory'.", Refused),
        ("NOSCRIPT No matching script.", UnknownScript),
        ("MOVED 3999 127.0.0.1:6381", Moved),
        ("READONLY You can't write against a read only replica.", Moved),
        ("MASTERDOWN Link with MASTER is down", Moved),
        ("LOADING Redis is loading the dataset in memory", Moved),
    ],
)
def test_errors(text: str, kind: type[CommandError]) -> None:
    """An error is passed on as an answer, with the class for its code."""
    [(event, error)] = Heard().feed(f"-{text}\r\n".encode())
    assert event == "answer"
    assert type(error) is kind
    assert str(error) == text


def test_error_text_may_be_any_bytes() -> None:
    """The text of an error may have any bytes."""
    [(_, error)] = Heard().feed(b"-ERR \xff\r\n")
    assert str(error) == "ERR \N{REPLACEMENT CHARACTER}"


@pytest.mark.parametrize("data", [b"HTTP/1.1 400 Bad Request\r\n", b"$?\r\n"])
def test_invalid_data_ends_the_connection(data: bytes) -> None:
    """Invalid data ends the connection, after earlier values are passed on."""
    first, (event, error) = Heard().feed(b":1\r\n" + data)
    assert first == ("answer", 1)
    assert event == "end"
    assert isinstance(error, ConnectionLost)


def test_exception_of_a_callback_ends_the_connection() -> None:
    """An exception of a callback ends the connection and is reported."""
    ends: list[CommandError] = []

    def fail(value: object) -> None:
        raise ValueError(f"no {value}")

    AnswerProtocol(fail, fail, ends.append).data_received(b":1\r\n:2\r\n")
    assert [str(error) for error in ends] == ["no 1"]


def test_long_value_may_arrive_in_parts() -> None:
    """A long value may arrive in many parts."""
    body = bytes(1_000_000)
    data = pack(body) + b":1\r\n:2"
    heard = Heard()
    for start in range(0, len(data), 4096):
        heard.feed(data[start : start + 4096])
    assert heard.values == [("answer", body), ("answer", 1)]
    assert heard.feed(b"3\r\n") == [("answer", 23)]


def test_reason_of_an_ended_connection_is_reported() -> None:
    """The reason why a connection ended is reported."""
    heard = Heard()
    heard.protocol.connection_lost(None)
    heard.protocol.connection_lost(ConnectionResetError("reset"))
    texts = [str(error) for _, error in heard.values]
    assert texts == ["Connection closed by server.", "reset"]
