"""System check of the site's templates, which are read and not rendered."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Warning
from django.template.base import Lexer, TokenType
from django.template.utils import get_app_template_dirs

from .conf import SubscriberLocation, get_settings
from .conf.readers import InvalidSetting

#: The tags that take several channels.
_TAGS = ("channel_url", "turbo_stream_from")

#: Finds them quickly.
_ANY_TAG = re.compile("|".join(_TAGS).encode())

#: An argument that is not a channel: ``expires=3600``.
_KEYWORD = re.compile(r"\w+=")

#: The most templates that are read, and the most bytes of one: the check runs before
#: each command.
MAX_TEMPLATES = 2000
MAX_SIZE = 1_048_576


def check_templates(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    """Return a warning for each template whose URLs of several channels cannot be."""
    try:
        conf = get_settings()
    except InvalidSetting:
        return []  # check_settings() reports it.
    subscribers = [
        each for each in conf.locations if isinstance(each, SubscriberLocation)
    ]
    if not subscribers or any(each.separator for each in subscribers):
        return []
    return [
        Warning(
            f"{path}, line {line}, asks for the URL of several channels, but no"
            " subscriber location has a 'separator', so rendering it fails.",
            "Add 'separator': ',' to a subscriber location, or give each channel a"
            " tag of its own.",
            id="pushserver.W014",
        )
        for path in islice(_find_templates(), MAX_TEMPLATES)
        if (line := find_several(path)) is not None
    ]


def _find_templates() -> Iterator[Path]:
    """Yield the files in the template directories of Django's own engine."""
    seen = set()
    for folder in _find_folders():
        for root, _, names in os.walk(folder):
            for name in names:
                path = Path(root, name)
                if path not in seen:
                    seen.add(path)
                    yield path


def _find_folders() -> Iterator[Path]:
    for engine in settings.TEMPLATES:
        if engine.get("BACKEND", "").endswith(".Jinja2"):
            continue
        yield from map(Path, engine.get("DIRS", ()))
        loaders = str(engine.get("OPTIONS", {}).get("loaders", ""))
        if engine.get("APP_DIRS") or "app_directories" in loaders:
            yield from map(Path, get_app_template_dirs("templates"))


def find_several(path: Path) -> int | None:
    """Return the first line on which a template asks for the URL of several channels.

    Returns None if it does not, or cannot be read.
    """
    try:
        if path.stat().st_size > MAX_SIZE:
            return None
        content = path.read_bytes()
    except OSError:
        return None
    if _ANY_TAG.search(content) is None:
        return None
    is_comment = False
    for token in Lexer(content.decode(errors="replace")).tokenize():
        if token.token_type is not TokenType.BLOCK:
            continue
        name, *arguments = token.split_contents() or [""]
        is_comment = name == "comment" or (is_comment and name != "endcomment")
        if not is_comment and name in _TAGS and _count(arguments) > 1:
            return token.lineno
    return None


def _count(arguments: list[str]) -> int:
    """Return how many of a tag's arguments are channels."""
    if arguments[-2:-1] == ["as"]:
        arguments = arguments[:-2]
    return sum(_KEYWORD.match(each) is None for each in arguments)
