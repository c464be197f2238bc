"""Data of updates as JSON: what it may contain, and errors that say where it fails."""

from __future__ import annotations

import datetime
import json
import math
import uuid
from collections.abc import Iterator
from decimal import Decimal
from enum import Enum
from typing import Any, NamedTuple

import pytest
from django.db import models
from django.utils.functional import lazystr
from django.utils.html import format_html
from django.utils.safestring import mark_safe
from django.utils.translation import gettext_lazy

from pushserver.serializing import serialize

HTML = "text/html; charset=utf-8"
AWARE = datetime.time(1, tzinfo=datetime.timezone.utc)


class Story(models.Model):
    """A model that has no table."""

    id = models.BigAutoField(primary_key=True)
    title = models.TextField()

    class Meta:
        app_label = "pushserver"
        managed = False


class Point(NamedTuple):
    x: float
    y: float


class Color(str, Enum):
    RED = "red"


class Odd:
    """An object of a site."""


def generate() -> Iterator[int]:
    """Yield a number."""
    yield 1


@pytest.mark.parametrize(
    ("value", "seen"),
    [
        (gettext_lazy("News"), "News"),
        (mark_safe("<b>"), "<b>"),
        (format_html("<b>{}</b>", "&"), "<b>&amp;</b>"),
        (Decimal("9.90"), "9.90"),
        (uuid.UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        (datetime.date(2026, 11, 28), "2026-11-28"),
        (datetime.datetime(2026, 11, 28, 9, 30), "2026-11-28T09:30:00"),
        (datetime.time(9, 30), "09:30:00"),
        (datetime.timedelta(hours=1), "P0DT01H00M00S"),
        (Point(1, 2.5), [1, 2.5]),
        (Color.RED, "red"),
        ("\ud800", "\ud800"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_values_of_django(value: object, seen: object) -> None:
    """Values of a Django project are serialized, at any depth."""
    body, header = serialize({"items": [{"value": value}]}, False, None)
    assert json.loads(body) == {"items": [{"value": seen}]}
    assert header == b"application/json; charset=utf-8"


@pytest.mark.parametrize(
    ("value", "kind", "sentence"),
    [
        (math.nan, ValueError, "is nan, which JSON does not have; send None or a text"),
        (-math.inf, ValueError, "is -inf, which JSON does not have"),
        (
            Story(title="x"),
            TypeError,
            "is the model Story, which has no JSON; send its",
        ),
        (
            Story.objects.all(),
            TypeError,
            "is a QuerySet, which has no JSON; send list(",
        ),
        ({1, 2}, TypeError, "is a set, which has no JSON; send a list, as sorted()"),
        (frozenset(), TypeError, "is a frozenset, which has no JSON"),
        (b"x", TypeError, "is a bytes, which has no JSON; decode it"),
        (bytearray(b"x"), TypeError, "is a bytearray, which has no JSON; decode it"),
        (generate(), TypeError, "is a generator, which has no JSON; send a list, as"),
        (Odd(), TypeError, "is an Odd, which has no JSON; send a dict, a list"),
        (Odd, TypeError, "is a type, which has no JSON"),
        (1j, TypeError, "is a complex, which has no JSON"),
        (AWARE, ValueError, "is a time: JSON can't represent timezone-aware times"),
        ({(1, 2): 3}, TypeError, "has the key (1, 2), a tuple; the keys of JSON are"),
        ({uuid.UUID(int=1): 3}, TypeError, "a UUID; the keys of JSON are texts"),
        ({lazystr("a"): 3}, TypeError, "a __proxy__; the keys of JSON are texts"),
        ({math.inf: 3}, ValueError, "has the key inf, which JSON does not have"),
    ],
    ids=lambda value: value[:30] if isinstance(value, str) else "",
)
def test_errors_say_which_field(
    value: object, kind: type[Exception], sentence: str
) -> None:
    """An error names the path of the first value that has no JSON, and the remedy."""
    data = {"id": 1, "items": [0, {"price": 5}, (), {"name": "a", "price": value}]}
    with pytest.raises(kind) as caught:
        serialize(data, False, None)
    assert str(caught.value).startswith("data['items'][3]['price'] ")
    assert sentence in str(caught.value)
    with pytest.raises(kind) as caught:
        serialize(value, False, None)
    assert str(caught.value).startswith("data ")


def test_error_shows_the_beginning_of_a_long_key() -> None:
    """A long key does not make a long sentence."""
    with pytest.raises(TypeError) as caught:
        serialize({"k" * 10_000: Odd()}, False, None)
    assert len(str(caught.value)) < 250


def test_data_that_contains_itself() -> None:
    """A circle in the data is an error that names its place."""
    data: dict[str, Any] = {"a": [1]}
    data["a"].append({"back": data})
    with pytest.raises(ValueError, match=r"data\['a'\]\[1\]\['back'\] contains itself"):
        serialize(data, False, None)


def test_repeated_object_is_no_circle() -> None:
    """An object that occurs twice is no circle; the error names the other place."""
    same: list[int] = []
    with pytest.raises(TypeError, match=r"^data\[2\] is a set"):
        serialize([same, same, {1}], False, None)


def test_data_that_is_nested_too_deeply() -> None:
    """Data that is nested more deeply than Python can go is an error that says so."""
    data: list[Any] = []
    for _ in range(200_000):
        data = [data]
    with pytest.raises(ValueError, match="data is nested too deeply"):
        serialize(data, False, None)
    while data:  # Freed from outside, because Python frees it recursively.
        data = data.pop()


@pytest.mark.parametrize(
    ("data", "body"),
    [
        ("ä", "ä".encode()),
        (b"\xff", b"\xff"),
        (mark_safe("<p>"), b"<p>"),
        (gettext_lazy("News"), b"News"),
    ],
)
def test_texts_and_bytes_with_a_type_are_sent_as_they_are(
    data: object, body: bytes
) -> None:
    """With content_type, texts (also lazy ones) and bytes are sent as they are."""
    assert serialize(data, False, HTML) == (body, HTML.encode())
