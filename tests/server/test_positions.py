"""Where clients say that they begin."""

from __future__ import annotations

import pytest

from pushserver_channels.exceptions import InvalidPosition
from pushserver_channels.messages import MessageId
from pushserver_channels.positions import (
    BEGINNING,
    NEWEST,
    Place,
    build_position,
    find_last_event_id,
    parse_place,
    parse_places,
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
def test_the_first_that_is_there_counts(
    headers: dict[bytes, bytes], query: bytes, found: tuple[str, str] | None
) -> None:
    assert find_last_event_id(headers, query) == found


def test_a_query_of_too_many_parameters_is_refused() -> None:
    with pytest.raises(InvalidPosition):
        find_last_event_id({}, b"last_event_id=1:2" + b"&a=b" * 2000)


@pytest.mark.parametrize(
    ("value", "place"),
    [
        ("1795350764:3", MessageId(1795350764, 3)),
        ("0:0", BEGINNING),
        ("oldest", BEGINNING),
        ("newest", NEWEST),
    ],
)
def test_a_place_on_one_channel(value: str, place: Place) -> None:
    assert parse_place(SOURCE, value) == place


@pytest.mark.parametrize(
    "value", ["1", "1:", ":1", "1:-1", "a:b", "1:2:3", "1:2,3:4", "-", "Newest", "١:٢"]
)
def test_what_is_no_place_is_refused_with_a_sentence(value: str) -> None:
    with pytest.raises(InvalidPosition, match="The header Last-Event-ID is"):
        parse_place(SOURCE, value)


@pytest.mark.parametrize(
    ("value", "places"),
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
def test_places_on_several_channels(value: str, places: list[Place | None]) -> None:
    """Also in the form of Nchan, where one time is for all channels."""
    assert parse_places(SOURCE, value, 3) == places


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
def test_too_few_parts_and_too_many_are_refused(value: str) -> None:
    with pytest.raises(InvalidPosition):
        parse_places(SOURCE, value, 3)


def test_a_position_has_the_speaker_in_brackets() -> None:
    ids = ["9:3", "8:12", "-"]
    assert build_position(ids, 1) == "9:3,[8:12],-"
    assert build_position(ids) == "9:3,8:12,-"


def test_the_setting_first_message() -> None:
    assert read_first_message("oldest") == BEGINNING
    assert read_first_message("newest") == NEWEST
    assert read_first_message(-5) == 5
