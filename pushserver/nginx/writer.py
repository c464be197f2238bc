"""The text of an nginx configuration: directives, blocks, comments, and its quoting."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager

WIDTH = 88

# What Python's patterns have and nginx's (PCRE, without UTF-8) have not, or not so. In
# a verbose pattern a comment would swallow the end that is put after it.
_UNKNOWN = re.compile(r"\\[uUNZ]|\(\?[a-z]*[aLux]|\(\?\(")
_NAMED = re.compile(r"(\\.)|\(\?P<\w+>|\(\?P=\w+\)")
_UNICODE = re.compile(r"\\[dDwWsSbB]|[^\x00-\x7f]")


class Untranslatable(ValueError):
    """A value that cannot be written in nginx's configuration."""


class Writer:
    """Collects lines, and what has to be warned of.

    Attributes:
        warnings: What a setting could not become, a sentence each.
    """

    def __init__(self) -> None:
        self.warnings: list[str] = []
        self._lines: list[str] = []
        self._indent = ""

    def __str__(self) -> str:
        return "\n".join(self._lines) + "\n"

    def line(self, *directives: str) -> None:
        """Add directives, each a line; an empty one is an empty line."""
        self._lines += [(self._indent + each).rstrip() for each in directives]

    def comment(self, text: str) -> None:
        """Add a comment, wrapped."""
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
        """Say, in the text and as a warning, what a setting does not become."""
        self.warnings.append(f"{place} {reason}")
        self.comment(f"NOT SERVED AS SET: {place} {reason}")

    @contextmanager
    def block(self, head: str) -> Iterator[None]:
        """Add a block with what is added inside the ``with``."""
        self.line(head + " {")
        self._indent += "    "
        yield
        self._indent = self._indent[:-4]
        self.line("}")


def quote(text: str) -> str:
    """Return a text as one word of the configuration.

    Raises :class:`Untranslatable` for control characters, which have no place in it.
    """
    if not text.isprintable():
        raise Untranslatable(f"{text!r} holds characters that cannot be printed")
    # nginx takes a backslash away before these characters, and before no others.
    escaped = re.sub(r'\\(?=[\\"\'trn]|$)', r"\\\\", text)
    if re.search(r"[\s;{}\"'#]", text) or not text:
        return '"' + escaped.replace('"', r"\"") + '"'
    return escaped


def literal(text: str) -> str:
    """Return a text as one word in which nginx sees no variable.

    Raises :class:`Untranslatable` where it would: there is no way to write a ``$``.
    """
    if "$" in text:
        raise Untranslatable(f"{text!r} holds a '$', which nginx takes for a variable")
    return quote(text)


def translate(pattern: str) -> str:
    """Return a pattern for whole paths without its anchors, as nginx understands it.

    Raises :class:`Untranslatable`.
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
    """Return a group, or a reference to the only one, without its name.

    nginx would make a variable of the name, and has some of its own.
    """
    if named[1]:
        return named[1]
    return r"(?:\1)" if named[0].endswith(")") else "("


def depends_on_text(pattern: str) -> bool:
    """Return whether a pattern means other things in bytes, which nginx matches."""
    return bool(_UNICODE.search(pattern))
