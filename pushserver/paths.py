"""Convert the paths of URLs to channel ids, and channel ids to paths."""

from __future__ import annotations

import re
from functools import lru_cache
from urllib.parse import quote, unquote_to_bytes

from django.utils.regex_helper import normalize

#: Stands for a slash that was sent as ``%2F``: part of an id, not a boundary, so that
#: ``[^/]+`` matches an id with a slash. No decoded path holds this lone surrogate.
ENCODED_SLASH = "\udc2f"

#: The most channels of one URL.
MAX_CHANNELS = 255

#: Segments that clients remove from a path, and then request another channel.
_DOTS = {".", ".."}

#: The characters besides letters and digits that a path may contain unencoded (RFC
#: 3986, section 3.3).
_SAFE = "/:@!$&'()*+,;="


class IrreversiblePattern(ValueError):
    """A pattern that cannot be turned into a URL."""


def decode_path(raw_path: bytes) -> str:
    """Return a percent-encoded path, decoded so that patterns can match it.

    An encoded slash becomes :data:`ENCODED_SLASH`, and a byte that is not UTF-8 a lone
    surrogate, so that different ids stay different.
    """
    return ENCODED_SLASH.join(
        unquote_to_bytes(part).decode("utf-8", "surrogateescape")
        for part in re.split(rb"%2[fF]", raw_path)
    )


def decode_separated_path(raw_path: bytes, separator: str) -> str:
    """Return a decoded path in which encoded separators remain distinct.

    An encoded separator is part of an id. It becomes a lone surrogate, as an encoded
    slash does in :func:`decode_path`.
    """
    encoded = re.compile(b"%%%02x" % ord(separator), re.IGNORECASE)
    return _encode_apart(separator).join(
        decode_path(part) for part in encoded.split(raw_path)
    )


def _encode_apart(separator: str) -> str:
    """Return the lone surrogate for a separator that is part of an id."""
    return chr(0xDC00 + ord(separator))


def match_channels(
    pattern: re.Pattern[str], path: str, separator: str
) -> tuple[str, ...] | None:
    """Return the channel ids of a decoded path, None if the whole path does not match.

    A repeated id counts once.
    """
    group = match_channel(pattern, path)
    if group is None:
        return None
    ids = [
        each.replace(_encode_apart(separator), separator)
        for each in group.split(separator)
    ]
    return tuple(dict.fromkeys(ids))


def match_channel(pattern: re.Pattern[str], path: str) -> str | None:
    """Return the channel id of a decoded path, None if the whole path does not match.

    The id is empty if its group is optional and did not match.
    """
    match = pattern.fullmatch(path)
    if match is None:
        return None
    return (match[1] or "").replace(ENCODED_SLASH, "/")


@lru_cache(maxsize=1024)
def build_path(pattern: re.Pattern[str], channel_id: str) -> str:
    """Return the percent-encoded path of a channel.

    A slash in the id is kept if the pattern matches it, and encoded otherwise. It is
    also encoded next to a segment that clients and proxies would normalize: an empty
    one, ``.`` or ``..``.

    Raises :class:`IrreversiblePattern` if the pattern cannot be reversed, and
    ``ValueError`` if it cannot match the id.
    """
    for before, after in _split(pattern):
        for encoded in (_encode_except_slashes(channel_id), quote(channel_id, safe="")):
            path = "".join((quote(before, _SAFE), encoded, quote(after, _SAFE)))
            if not path.startswith("/") or path.startswith("//"):
                continue  # It would extend or replace the host name.
            if _DOTS & set(path.split("/")):
                continue  # Encoding does not help: browsers also normalize "%2e".
            if match_channel(pattern, decode_path(path.encode())) == channel_id:
                return path
    raise ValueError(
        f"The channel id {channel_id!r} has no URL: the pattern {pattern.pattern!r}"
        " cannot match it."
    )


@lru_cache(maxsize=1024)
def build_separated_path(
    pattern: re.Pattern[str], channel_ids: tuple[str, ...], separator: str
) -> str:
    """Return the percent-encoded path of several channels, each named once.

    Raises as :func:`build_path` does.
    """
    encodings = (_encode_except_slashes, lambda channel_id: quote(channel_id, safe=""))
    for before, after in _split(pattern):
        for encode in encodings:
            encoded = separator.join(
                # quote() does not encode every separator.
                encode(each).replace(separator, f"%{ord(separator):02X}")
                for each in channel_ids
            )
            path = "".join((quote(before, _SAFE), encoded, quote(after, _SAFE)))
            if not path.startswith("/") or path.startswith("//"):
                continue
            if _DOTS & set(path.split("/")):
                continue
            decoded = decode_separated_path(path.encode(), separator)
            if match_channels(pattern, decoded, separator) == channel_ids:
                return path
    raise ValueError(
        f"The channel ids {', '.join(map(repr, channel_ids))} have no common URL: the"
        f" pattern {pattern.pattern!r} cannot match them, joined by {separator!r}."
    )


def build_template(pattern: re.Pattern[str]) -> str | None:
    """Return the percent-encoded path of a pattern with ``{channels}`` for its group.

    None if the pattern cannot be reversed.
    """
    try:
        before, after = _split(pattern)[0]
    except IrreversiblePattern:
        return None
    return f"{quote(before, _SAFE)}{{channels}}{quote(after, _SAFE)}"


def _encode_except_slashes(channel_id: str) -> str:
    """Return an encoded id, in which slashes that clients keep are unencoded."""
    segments = channel_id.split("/")
    encoded = [quote(segments[0], safe="")]
    for left, right in zip(segments, segments[1:], strict=False):
        is_kept = not ({left, right} & {"", *_DOTS})
        encoded += ("/" if is_kept else "%2F", quote(right, safe=""))
    return "".join(encoded)


@lru_cache
def _split(pattern: re.Pattern[str]) -> list[tuple[str, str]]:
    """Return the texts before and after a pattern's group, for each of its forms."""
    try:
        forms = normalize(pattern.pattern)
    except ValueError:  # Valid for Python, but too complex for Django.
        forms = []
    split = []
    for form, groups in forms:
        if len(groups) == 1:
            before, _, after = form.partition(f"%({groups[0]})s")
            split.append((before, after))
    if not split:
        raise IrreversiblePattern(
            f"The pattern {pattern.pattern!r} cannot be turned into a URL. Put a"
            " location with a plainer pattern before it."
        )
    return split
