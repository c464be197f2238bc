"""Make the body and the Content-Type of a message from data."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from typing import Any

from django.core.serializers.json import DjangoJSONEncoder
from django.db.models import Model, QuerySet
from django.utils.functional import Promise

__all__ = ["serialize"]

#: The Content-Type of JSON.
JSON = b"application/json; charset=utf-8"

#: Characters that would end a header, or that proxies refuse in one.
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")

#: The types of the keys that ``json`` writes as texts.
_KEYS = (str, int, float, bool, type(None))

#: The most characters of a value that an error shows.
_MAX_SHOWN = 60


def serialize(
    data: Any, already_serialized: bool, content_type: str | None
) -> tuple[bytes, bytes]:
    """Return data as a body and its ``Content-Type``.

    Args:
        data: Anything that ``DjangoJSONEncoder`` can serialize, or a text or bytes.
        already_serialized: Whether data is a str or bytes to be sent as it is.
        content_type: The ``Content-Type``, None for that of JSON. If it is set, data
            that is a text or bytes is sent as it is.

    Raises ``TypeError`` and ``ValueError``. If data has no JSON, the error says which
    part of it, as ``data['items'][3]['price']``.
    """
    if content_type is None:
        return _as_bytes(data) if already_serialized else _dump(data), JSON
    header = _check_header(content_type).encode("latin-1")
    if isinstance(data, Promise):
        data = str(data)
    is_text = isinstance(data, str | bytes | bytearray | memoryview)
    return _as_bytes(data) if already_serialized or is_text else _dump(data), header


def _dump(data: Any) -> bytes:
    """Return data as JSON."""
    try:
        # JSON has no NaN: browsers could not parse the update.
        return json.dumps(data, cls=DjangoJSONEncoder, allow_nan=False).encode()
    except (TypeError, ValueError, RecursionError) as error:
        # Only now, because looking at each value is slow.
        try:
            fault = next(_find_faults(data, "data", set()), None)
        except RecursionError:
            fault = ValueError("data is nested too deeply for JSON.")
        if fault is None:  # The default() of a value failed once only.
            raise
        raise fault from error


def _find_faults(value: Any, place: str, above: set[int]) -> Iterator[Exception]:
    """Yield an error for each part of a value that has no JSON.

    Args:
        value: The value.
        place: Its place in the data, as ``data['items'][3]``.
        above: The ids of the objects that contain it.
    """
    if value is None or isinstance(value, str | int):
        return
    if isinstance(value, float):
        if not math.isfinite(value):
            yield ValueError(
                f"{place} is {value!r}, which JSON does not have; send None or a text."
            )
        return
    if id(value) in above:
        yield ValueError(f"{place} contains itself, which JSON cannot express.")
        return
    above.add(id(value))
    if isinstance(value, dict):
        for key, each in value.items():
            yield from _find_key_faults(key, place)
            yield from _find_faults(each, f"{place}[{_show(key)}]", above)
    elif isinstance(value, list | tuple):
        for index, each in enumerate(value):
            yield from _find_faults(each, f"{place}[{index}]", above)
    else:
        yield from _find_object_faults(value, place, above)
    above.discard(id(value))


def _find_key_faults(key: object, place: str) -> Iterator[Exception]:
    """Yield an error if a dict's key cannot be the name of a field."""
    if not isinstance(key, _KEYS):
        yield TypeError(
            f"{place} has the key {_show(key)}, {_describe(key)}; the keys of JSON are"
            " texts: use str() of it."
        )
    elif isinstance(key, float) and not math.isfinite(key):
        yield ValueError(f"{place} has the key {key!r}, which JSON does not have.")


def _find_object_faults(value: Any, place: str, above: set[int]) -> Iterator[Exception]:
    """Yield an error if an object has no JSON."""
    try:
        replacement = DjangoJSONEncoder().default(value)
    except TypeError:
        yield TypeError(
            f"{place} is {_describe(value)}, which has no JSON{_hint(value)}"
        )
    except ValueError as error:
        # For example a time with a time zone.
        yield ValueError(f"{place} is {_describe(value)}: {error}")
    else:
        yield from _find_faults(replacement, place, above)


def _hint(value: object) -> str:
    """Return the end of a sentence: what to send instead of an object."""
    if isinstance(value, Model):
        return "; send its fields, as {'id': story.pk, 'title': story.title}."
    if isinstance(value, QuerySet):
        return "; send list(stories.values('id', 'title'))."
    if isinstance(value, bytes | bytearray | memoryview):
        return "; decode it, or send it with a content_type of its own."
    if isinstance(value, set | frozenset):
        return "; send a list, as sorted() of it."
    if hasattr(value, "__iter__"):
        return "; send a list, as list() of it."
    return "; send a dict, a list, a text, a number or None."


def _describe(value: object) -> str:
    """Return what kind of object a value is, with an article."""
    name = type(value).__name__
    if isinstance(value, Model):
        return f"the model {name}"
    return f"{'an' if name[:1].lower() in 'aeio' else 'a'} {name}"


def _show(value: object) -> str:
    """Return how a value is written in Python, or its beginning if that is long."""
    text = repr(value)
    return text if len(text) <= _MAX_SHOWN else f"{text[:_MAX_SHOWN]}…"


def _check_header(content_type: str) -> str:
    """Return a ``Content-Type`` as it is sent; raise an error if it is invalid."""
    if not isinstance(content_type, str):
        raise TypeError(
            "content_type must be a str, as in 'text/html; charset=utf-8', not"
            f" {type(content_type).__name__}."
        )
    if _CONTROL.search(content_type):
        raise ValueError(f"content_type holds a control character: {content_type!r}.")
    header = content_type.strip(" ")  # Not part of a header's value.
    if not header:
        raise ValueError(
            "content_type is empty; leave it out for JSON, or write what data is, as in"
            " 'text/html; charset=utf-8'."
        )
    try:
        header.encode("latin-1")
    except UnicodeEncodeError:
        raise ValueError(
            f"content_type cannot stand in a header, which is Latin-1: {header!r}."
        ) from None
    return header


def _as_bytes(data: Any) -> bytes:
    if isinstance(data, str):
        return data.encode()
    if isinstance(data, bytes | bytearray | memoryview):
        return bytes(data)
    raise TypeError(
        "Data that is already serialized must be str or bytes, not"
        f" {type(data).__name__}."
    )
