"""Write the text of an nginx configuration: directives, blocks, comments, quoting."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager

WIDTH = 88

# Syntax of Python's patterns that nginx's (PCRE, without UTF-8) lack or read otherwise.
# The x flag, because a comment in a verbose pattern would include the appended end.
_UNKNOWN = re.compile(r"\\[uUNZ]|\(\?[a-z]*[aLux]|\(\?\(")
_NAMED = re.compile(r"(\\.)|\(\?P<\w+>|\(\?P=\w+\)")
_UNICODE = re.compile(r"\\[dDwWsSbB]|[^\x00-\x7f]")


class Untranslatable(ValueError):
    """A value cannot be written in nginx's configuration."""


class Writer:
    """Collects the lines of a configuration, and warnings.

    Attributes:
        warnings: A sentence for each setting that nginx cannot follow.
    """

    def __init__(self) -> None:
        self.warnings: list[str] = []
        self._lines: list[str] = []
        self._indent = ""

    def __str__(self) -> str:
        return "\n".join(self._lines) + "\n"

    def line(self, *directives: str) -> None:
        """Add lines, each with a directive; an empty text adds an empty line."""
        self._lines += [(self._indent + each).rstrip() for each in directives]

    def comment(self, text: str) -> None:
        """Add a comment, wrapped into lines."""
        mark = f"{self._indent}# "
        self._lines += textwrap.wrap(
            text,
            WIDTH,
            initial_indent=mark,
            subsequent_indent=mark,
            break_long_words=False,
            break_on_hyphens=False,
        )

    def warn(self, place: str, reason: str) -> None:
        """Add a warning, also as a comment, that nginx cannot follow a setting."""
        self.warnings.append(f"{place} {reason}")
        self.comment(f"NOT SERVED AS SET: {place} {reason}")

    @contextmanager
    def block(self, head: str) -> Iterator[None]:
        """Add a block that holds the lines added inside the ``with``."""
        self.line(head + " {")
        self._indent += "    "
        yield
        self._indent = self._indent[:-4]
        self.line("}")


def quote(text: str) -> str:
    """Return a text as one word of the configuration, quoted if needed.

    Raises :class:`Untranslatable` for characters that are not printable.
    """
    if not text.isprintable():
        raise Untranslatable(f"{text!r} holds characters that cannot be printed")
    # nginx removes a backslash before these characters only.
    escaped = re.sub(r'\\(?=[\\"\'trn]|$)', r"\\\\", text)
    if re.search(r"[\s;{}\"'#]", text) or not text:
        return '"' + escaped.replace('"', r"\"") + '"'
    return escaped


def literal(text: str) -> str:
    """Return a text as one word of the configuration, without variables.

    Raises :class:`Untranslatable` if it holds a ``$``, which cannot be escaped.
    """
    if "$" in text:
        raise Untranslatable(f"{text!r} holds a '$', which nginx takes for a variable")
    return quote(text)


def translate(pattern: str) -> str:
    """Return the nginx pattern, without anchors, for a Python pattern of whole paths.

    Raises :class:`Untranslatable` if the pattern uses syntax that nginx lacks.
    """
    unknown = _UNKNOWN.search(pattern)
    if unknown:
        raise Untranslatable(
            f"{pattern!r} holds {unknown[0]!r}, which nginx's patterns do not know"
        )
    plain = _NAMED.sub(_unnamed, pattern).removeprefix("^")
    if plain.endswith("$") and not plain.endswith(r"\$"):
        plain = plain[:-1]
    return f"(?:{plain})" if "|" in plain else plain


def _unnamed(named: re.Match[str]) -> str:
    """Return a group, or a reference to the only group, without its name.

    nginx would make a variable of the name, which might replace one of its own.
    """
    if named[1]:
        return named[1]
    return r"(?:\1)" if named[0].endswith(")") else "("


def may_match_otherwise(pattern: str) -> bool:
    """Return whether nginx, which matches bytes, may match other URLs than Python."""
    return bool(_UNICODE.search(pattern))
