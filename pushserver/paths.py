"""Channel ids in URLs: a path to an id, and an id to a path."""

from __future__ import annotations

import re
from functools import lru_cache
from urllib.parse import quote, unquote_to_bytes

from django.utils.regex_helper import normalize

#: Stands for a slash that was sent as ``%2F``: part of an id, not a boundary, so that
#: ``[^/]+`` matches an id with a slash. No decoded path holds this lone surrogate.
ENCODED_SLASH = "\udc2f"

#: Segments that clients resolve away, and so would ask for another channel.
_DOTS = {".", ".."}

#: What stands for itself in a path (RFC 3986, section 3.3), besides letters and digits.
_SAFE = "/:@!$&'()*+,;="


class IrreversiblePattern(ValueError):
    """A pattern that cannot be turned into a URL."""


def decode_path(raw_path: bytes) -> str:
    """Return a percent-encoded path as the text that patterns match.

    An encoded slash is :data:`ENCODED_SLASH`, a byte that is not UTF-8 a lone
    surrogate, so that two ids never become one.
    """
    return ENCODED_SLASH.join(
        unquote_to_bytes(part).decode("utf-8", "surrogateescape")
        for part in re.split(rb"%2[fF]", raw_path)
    )


def match_channel(pattern: re.Pattern[str], path: str) -> str | None:
    """Return the channel id of a decoded path, None if the whole path does not match.

    The id is empty where an optional group took no part.
    """
    match = pattern.fullmatch(path)
    if match is None:
        return None
    return (match[1] or "").replace(ENCODED_SLASH, "/")


@lru_cache(maxsize=1024)
def build_path(pattern: re.Pattern[str], channel_id: str) -> str:
    """Return the percent-encoded path of a channel.

    A slash of the id is kept where the pattern takes it, and encoded elsewhere. It is
    encoded, too, beside a segment that clients and proxies would resolve: an empty one,
    ``.`` or ``..``.

    Raises :class:`IrreversiblePattern` if the pattern cannot be reversed, and
    ``ValueError`` if it cannot match the id.
    """
    for before, after in _split(pattern):
        for encoded in (_encode_but_slashes(channel_id), quote(channel_id, safe="")):
            path = "".join((quote(before, _SAFE), encoded, quote(after, _SAFE)))
            if not path.startswith("/") or path.startswith("//"):
                continue  # It would go on in the name of the host, or be taken for one.
            if _DOTS & set(path.split("/")):
                continue  # No encoding helps: WHATWG's URLs have "%2e" resolved, too.
            if match_channel(pattern, decode_path(path.encode())) == channel_id:
                return path
    raise ValueError(
        f"The channel id {channel_id!r} has no URL: the pattern {pattern.pattern!r}"
        " cannot match it."
    )


def _encode_but_slashes(channel_id: str) -> str:
    """Return an id encoded, with the slashes between segments that clients keep."""
    segments = channel_id.split("/")
    encoded = [quote(segments[0], safe="")]
    for left, right in zip(segments, segments[1:], strict=False):
        is_kept = not ({left, right} & {"", *_DOTS})
        encoded += ("/" if is_kept else "%2F", quote(right, safe=""))
    return "".join(encoded)


@lru_cache
def _split(pattern: re.Pattern[str]) -> list[tuple[str, str]]:
    """Return what a pattern has before and after its group, in each of its forms."""
    try:
        forms = normalize(pattern.pattern)
    except ValueError:  # Valid for Python, but more than Django takes apart.
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
