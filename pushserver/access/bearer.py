"""Find the tokens of a request."""

from __future__ import annotations

import re
from urllib.parse import parse_qsl

#: The most tokens that are read of one request.
MAX_TOKENS = 255

_BEARER = re.compile(r"bearer +([A-Za-z0-9._~+/:=-]+) *", re.IGNORECASE | re.ASCII)


def find_bearer_token(authorization: str) -> str | None:
    """Return the token in ``Authorization``, None if there is none.

    Source: RFC 6750, section 2.1.
    """
    match = _BEARER.fullmatch(authorization)
    return None if match is None else match[1]


def find_tokens(authorization: str, query: str) -> list[str]:
    """Return the tokens of a subscriber: in ``Authorization``, and in the URL.

    Args:
        authorization: The value of the header, empty if there is none.
        query: The query of the URL, which may have ``token`` several times.
    """
    bearer = find_bearer_token(authorization)
    tokens = [] if bearer is None else [bearer]
    if "token" in query:
        pairs = parse_qsl(query, keep_blank_values=True)
        tokens += [value for name, value in pairs if name == "token"]
    return tokens[:MAX_TOKENS]
