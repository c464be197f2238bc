"""The optional fields of a message, in the format of stores that processes share.

Processes of several releases may share a store, so each release must be able to read
what the previous and the next release write. A release ignores the fields that it does
not know, and the fields of the first release keep their places.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qsl, urlencode

from pushserver.publishers.update import Update

#: The version of the format. It increases when older releases would misread it.
VERSION = 1


def pack_fields(update: Update) -> str:
    """Return the optional fields as ASCII without spaces, empty if none is set."""
    if update[3:] == (None, None, None, None):
        return ""
    fields: dict[str, object] = {"version": VERSION}
    if update.content_encoding is not None:
        fields["encoding"] = update.content_encoding
    if update.event is not None:
        fields["event"] = update.event
    if update.expires is not None:
        fields["expires"] = update.expires
    if update.exclude is not None:
        fields["exclude"] = update.exclude
    return urlencode(fields)


def unpack_fields(text: str) -> dict[str, Any]:
    """Return the optional fields of a message by the names of its attributes."""
    if not text:
        return {}
    fields = dict(parse_qsl(text, encoding="latin-1"))
    known: dict[str, Any] = {}
    if "encoding" in fields:
        known["content_encoding"] = fields["encoding"].encode("latin-1")
    if "event" in fields:
        known["event"] = fields["event"].encode("latin-1").decode(errors="replace")
    if "expires" in fields:
        known["expires"] = float(fields["expires"])
    if "exclude" in fields:
        known["exclude"] = fields["exclude"]
    return known
