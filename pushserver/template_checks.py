"""The system check of the templates that subscribe to channels."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from django.core.checks import CheckMessage, Warning
from django.template import engines
from django.template.backends.django import DjangoTemplates
from django.utils.text import smart_split

from .conf import InvalidSetting, PushServerSettings, SubscriberLocation, get_settings

#: A tag with its arguments.
_TAG = re.compile(r"{%-?\s*channel_url\s+(.*?)\s*-?%}")

#: Templates that are larger are not read.
MAX_SIZE = 1_000_000


def check_templates(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    """Return a warning for each template with a URL of several channels in vain."""
    try:
        conf = get_settings()
    except InvalidSetting:
        return []  # check_settings() reports it.
    if _takes_several(conf):
        return []
    return [
        Warning(
            f"The template {path} asks for the URL of several channels, and no"
            " subscriber location takes several.",
            "Give a location of PUSH_SERVER['locations'] a 'separator', such as ','; or"
            " write one {% channel_url %} for each channel.",
            id="pushserver.W014",
        )
        for path in _find_templates()
        if _asks_for_several(path)
    ]


def _takes_several(conf: PushServerSettings) -> bool:
    return any(
        isinstance(location, SubscriberLocation) and location.separator is not None
        for location in conf.locations
    )


def _find_templates() -> Iterator[Path]:
    """Yield the files of the site's templates, but not those of installed packages."""
    folders: dict[Path, None] = {}
    for engine in engines.all():
        if isinstance(engine, DjangoTemplates):
            folders |= dict.fromkeys(map(Path, engine.template_dirs))
    for folder in folders:
        if "site-packages" not in folder.parts:
            yield from sorted(each for each in folder.rglob("*") if each.is_file())


def _asks_for_several(path: Path) -> bool:
    """Return whether a template has a ``{% channel_url %}`` of several channels."""
    try:
        if path.stat().st_size > MAX_SIZE:
            return False
        text = path.read_text(errors="replace")
    except OSError:
        return False
    return any(_count_channels(match[1]) > 1 for match in _TAG.finditer(text))


def _count_channels(arguments: str) -> int:
    """Return the number of channels among the arguments of a tag."""
    words = list(smart_split(arguments))
    if len(words) > 1 and words[-2] == "as":
        del words[-2:]
    return len(words)
