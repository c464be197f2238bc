"""The positions that clients send and receive."""

from __future__ import annotations

import pytest

from pushserver_channels.exceptions import InvalidPosition
from pushserver_channels.messages import MessageId
from pushserver_channels.positions import (
    BEGINNING,
    NEWEST,
    StartPosition,
    build_position,
    find_last_event_id,
    parse_position,
    parse_positions,
    read_first_message,
)

SOURCE = "header Last-Event-ID"


@pytest.mark.parametrize(
    ("headers", "query", "found"),
    [
        ({}, b"", None),
        ({}, b"_=1699", None),
        ({b"last-event-id": b" 1:2 "}, b"last_event_id=3:4", (SOURCE, "1:2")),
        (
            {b"last-event-id": b""},
            b"last_event_id=3:4",
            ("parameter last_event_id", "3:4"),
        ),
        ({}, b"lastEventId=5%3A6", ("parameter lastEventId", "5:6")),
        (
            {},
            b"lastEventId=5:6&last_event_id=%5B1:2%5D,-",
            ("parameter last_event_id", "[1:2],-"),
        ),
        ({}, b"last_event_id=&last_event_id=", None),
    ],
)
def test_first_given_form_of_a_position_is_used(
    headers: dict[bytes, bytes], query: bytes, found: tuple[str, str] | None
) -> None:
    assert find_last_event_id(headers, query) == found


def test_too_many_query_parameters_are_refused() -> None:
    with pytest.raises(InvalidPosition):
        find_last_event_id({}, b"last_event_id=1:2" + b"&a=b" * 2000)


@pytest.mark.parametrize(
    ("value", "position"),
    [
        ("1795350764:3", MessageId(1795350764, 3)),
        ("0:0", BEGINNING),
        ("oldest", BEGINNING),
        ("newest", NEWEST),
    ],
)
def test_position_on_one_channel(value: str, position: StartPosition) -> None:
    assert parse_position(SOURCE, value) == position


@pytest.mark.parametrize(
    "value", ["1", "1:", ":1", "1:-1", "a:b", "1:2:3", "1:2,3:4", "-", "Newest", "١:٢"]
)
def test_invalid_position_is_refused_with_a_sentence(value: str) -> None:
    with pytest.raises(InvalidPosition, match="The header Last-Event-ID is"):
        parse_position(SOURCE, value)


@pytest.mark.parametrize(
    ("value", "positions"),
    [
        ("[9:3],8:12,-", [MessageId(9, 3), MessageId(8, 12), None]),
        ("9:3,[8:12],-", [MessageId(9, 3), MessageId(8, 12), None]),
        ("0:0,0:0,0:0", [BEGINNING] * 3),
        ("-,-,-", [None] * 3),
        ("newest", [NEWEST] * 3),
        ("oldest", [BEGINNING] * 3),
        ("9:[3],-,4", [MessageId(9, 3), None, MessageId(9, 4)]),
        ("9:-,[3],4", [None, MessageId(9, 3), MessageId(9, 4)]),
        ("9:3,-,[4]", [MessageId(9, 3), None, MessageId(9, 4)]),
    ],
)
def test_positions_on_several_channels(
    value: str, positions: list[StartPosition | None]
) -> None:
    """A position may have the form of Nchan, with one time for all channels."""
    assert parse_positions(SOURCE, value, 3) == positions


@pytest.mark.parametrize(
    "value",
    [
        "9:3",
        "9:3,8:12",
        "9:3,8:12,-,-",
        "[9:3],[8:12],-",
        "9:3,8:x,-",
        "9:[3],[4],-",
        "9:[3],-",
        "",
        ",,",
    ],
)
def test_wrong_number_of_parts_is_refused(value: str) -> None:
    with pytest.raises(InvalidPosition):
        parse_positions(SOURCE, value, 3)


def test_position_has_the_latest_channel_in_brackets() -> None:
    ids = ["9:3", "8:12", "-"]
    assert build_position(ids, 1) == "9:3,[8:12],-"
    assert build_position(ids) == "9:3,8:12,-"


def test_first_message_sets_the_start_position() -> None:
    assert read_first_message("oldest") == BEGINNING
    assert read_first_message("newest") == NEWEST
    assert read_first_message(-5) == 5
