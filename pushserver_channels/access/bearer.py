"""Read the token in ``Authorization``. Source: RFC 6750, section 2.1."""

from __future__ import annotations

import re
from collections.abc import Mapping

_BEARER = re.compile(rb"bearer +([A-Za-z0-9._~+/:=-]+) *", re.IGNORECASE)


def find_bearer_token(headers: Mapping[bytes, bytes]) -> str | None:
    """Return the token of a request, None if it has none."""
    match = _BEARER.fullmatch(headers.get(b"authorization", b""))
    return None if match is None else match[1].decode()
