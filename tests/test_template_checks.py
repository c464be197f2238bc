"""The check of templates that ask for the URL of several channels."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from django.conf import LazySettings
from django.core import checks
from django.template import Context, Template

from pushserver import template_checks
from pushserver.template_checks import check_templates, find_several

LOCATION = {"type": "subscriber", "url": "/updates/([^/]+)"}
BACKEND = "django.template.backends.django.DjangoTemplates"
LOAD = "{% load pushserver %}\n"


@pytest.fixture
def folder(tmp_path: Path, settings: LazySettings) -> Path:
    """A template directory of a site without a separator."""
    settings.PUSH_SERVER = {"locations": [LOCATION]}
    settings.TEMPLATES = [{"BACKEND": BACKEND, "DIRS": [tmp_path]}]
    return tmp_path


def told() -> list[str]:
    return [each.msg for each in check_templates(None) if each.id == "pushserver.W014"]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("{% channel_url 'a' b %}", 2),
        ("\n\n{% channel_url a|default:'b c' 'd' as url %}", 4),
        ("{% if a %}{% channel_url a b c %}{% endif %}", 2),
        (
            "{% comment %}{% channel_url a b %}{% endcomment %}\n{% channel_url a b %}",
            3,
        ),
        ("{% turbo_stream_from a b since=since %}", 2),
        ("{% turbo_stream_from a since=since %}", None),
        ("{% channel_url 'a b' %}", None),
        ("{% channel_url a as url %}", None),
        ("{% channel_url a expires=3600 %}", None),
        ("{% comment 'why' %}{% channel_url a b %}{% endcomment %}", None),
        ("{% verbatim %}{% channel_url a b %}{% endverbatim %}", None),
        ("{# {% channel_url a b %} #}", None),
        ("channel_url a b {% %} {% channel_url", None),
    ],
)
def test_templates_with_several_channels_are_found(
    folder: Path, text: str, line: int | None
) -> None:
    path = folder / "page.html"
    path.write_text(LOAD + text)
    assert find_several(path) == line
    expected = [] if line is None else [f"{path}, line {line}"]
    assert [each.partition(", asks")[0] for each in told()] == expected


def test_several_channels_without_a_separator_are_a_warning(folder: Path) -> None:
    text = LOAD + "{% channel_url 'a' 'b' %}"
    (folder / "page.html").write_text(text)
    found = checks.run_checks(tags=["pushserver"])
    [message] = [each for each in found if each.id == "pushserver.W014"]
    assert "'separator'" in str(message.hint)
    with pytest.raises(ValueError, match="separator"):
        Template(text).render(Context())


@pytest.mark.parametrize(
    "locations",
    [
        [LOCATION, {**LOCATION, "url": "/more/([^/]+)", "separator": ","}],
        [],
        [{"type": "nothing"}],
    ],
    ids=["separator", "none", "invalid"],
)
def test_no_warning_with_a_separator_or_without_locations(
    folder: Path, settings: LazySettings, locations: list[Any]
) -> None:
    """With a separator, without locations, and with settings that are invalid."""
    (folder / "page.html").write_text("{% channel_url a b %}")
    settings.PUSH_SERVER = {"locations": locations}
    assert told() == []


def test_unreadable_templates_are_skipped(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Files that are no text, too large or links to nothing; all beyond a limit."""
    os.symlink(folder / "nowhere", folder / "link.html")
    (folder / "image.png").write_bytes(b"\xff{% channel_url a b %}")
    (folder / "large.html").write_text("{% channel_url a b %}" + " " * 100)
    monkeypatch.setattr(template_checks, "MAX_SIZE", 100)
    assert [Path(each.partition(",")[0]).name for each in told()] == ["image.png"]
    monkeypatch.setattr(template_checks, "MAX_TEMPLATES", 0)
    assert told() == []


def test_template_directories_are_searched(
    folder: Path, settings: LazySettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In DIRS and, with APP_DIRS or its loader, in apps; once, and not of Jinja."""
    (folder / "page.html").write_text("{% channel_url a b %}")
    monkeypatch.setattr(template_checks, "get_app_template_dirs", lambda _: (folder,))
    loaders = ["django.template.loaders.app_directories.Loader"]
    for engine, count in (
        ({"BACKEND": BACKEND}, 0),
        ({"BACKEND": BACKEND, "APP_DIRS": True}, 1),
        ({"BACKEND": BACKEND, "DIRS": [folder], "APP_DIRS": True}, 1),
        ({"BACKEND": BACKEND, "OPTIONS": {"loaders": loaders}}, 1),
        ({"BACKEND": "django.template.backends.jinja2.Jinja2", "DIRS": [folder]}, 0),
    ):
        settings.TEMPLATES = [engine]
        assert len(told()) == count, engine
