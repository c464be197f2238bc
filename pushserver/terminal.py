"""Show what others have written on a terminal, which it could otherwise command."""

from __future__ import annotations

import unicodedata


def escape(text: str) -> str:
    """Return a text in one line, without characters that a terminal obeys."""
    return "".join(
        each if _is_harmless(each) else each.encode("unicode_escape").decode()
        for each in text
    )


def describe_body(body: bytes, content_type: str) -> str:
    """Return the body of a message in one line, or its size if it is no text.

    Args:
        body: The body.
        content_type: Its Content-Type, empty for none.
    """
    try:
        return escape(body.decode())
    except UnicodeDecodeError:
        kind = f" of {escape(content_type)}" if content_type else ""
        return f"<{len(body)} bytes{kind}>"


def _is_harmless(character: str) -> bool:
    # Controls, and characters that change the direction of others.
    return unicodedata.category(character) not in ("Cc", "Cf", "Cs", "Zl", "Zp")
