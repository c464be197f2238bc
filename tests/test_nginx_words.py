from __future__ import annotations

import pytest

from pushserver.nginx.writer import Untranslatable, literal, quote, translate


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("plain", "plain"),
        ("^/updates/([^/]+)$", "^/updates/([^/]+)$"),
        (r"^/(\d+)$", r"^/(\d+)$"),
        ("a b", '"a b"'),
        ("a{2}", '"a{2}"'),
        ('a"b', r'"a\"b"'),
        (r"\n", r"\\n"),
        (r"\\", r"\\\\"),
        ("", '""'),
    ],
)
def test_special_characters_are_quoted(text: str, word: str) -> None:
    """A text with characters that are special in nginx is quoted."""
    assert quote(text) == word


def test_line_breaks_and_variables_are_refused() -> None:
    """Line breaks are refused, and so is a $ where nginx would expand variables."""
    with pytest.raises(Untranslatable, match="cannot be printed"):
        quote("a\nb;")
    with pytest.raises(Untranslatable, match="variable"):
        literal("$host")


@pytest.mark.parametrize(
    ("pattern", "translated"),
    [
        ("/updates/([^/]+)", "/updates/([^/]+)"),
        ("^/updates/([^/]+)$", "/updates/([^/]+)"),
        ("/a/(x|y)", "(?:/a/(x|y))"),
        (r"/price/(.+\$)", r"/price/(.+\$)"),
        ("/(?P<host>[a-z]+)-(?P=host)1", r"/([a-z]+)-(?:\1)1"),
        (r"/\(?P<a>/(.+)", r"/\(?P<a>/(.+)"),
    ],
)
def test_patterns_are_translated(pattern: str, translated: str) -> None:
    """Patterns are translated without anchors, as one group."""
    assert translate(pattern) == translated


@pytest.mark.parametrize(
    "pattern", [r"/(.+)\Z", r"/(\u0041+)", "(?a)/(.+)", "(?x)/(.+) # all"]
)
def test_patterns_that_only_python_understands_are_refused(pattern: str) -> None:
    """Patterns that only Python understands are refused."""
    with pytest.raises(Untranslatable, match="do not know"):
        translate(pattern)
