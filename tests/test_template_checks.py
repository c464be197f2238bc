"""The check of templates that subscribe to several channels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from django.conf import LazySettings

from pushserver.template_checks import check_templates

SEPARATED = [{"type": "subscriber", "url": r"/updates/([^/]+)", "separator": ","}]


@pytest.mark.parametrize(
    ("text", "push_server", "is_reported"),
    [
        ("{% channel_url 'a' 'b' %}", {}, True),
        ("{%channel_url a b|upper as url%}", {}, True),
        ("{% channel_url 'a' 'b' %}", {"locations": SEPARATED}, False),
        ("{% channel_url 'a b' %}", {}, False),
        ("{% channel_url user.channel as url %}", {}, False),
        ("{% channel_urls 'a' 'b' %}", {}, False),
        ("{% url 'page' 1 %}", {}, False),
        ("{% channel_url 'a' 'b' %}", {"locations": 7}, False),
    ],
)
def test_several_channels(
    tmp_path: Path,
    settings: LazySettings,
    text: str,
    push_server: dict[str, Any],
    is_reported: bool,
) -> None:
    """A template needs a location with a separator for a URL of several channels."""
    page = tmp_path / "pages" / "page.html"
    page.parent.mkdir()
    page.write_text("{% load pushserver %}" + text)
    (tmp_path / "picture.png").write_bytes(b"\x89PNG\xff")
    settings.TEMPLATES = [
        {
            "BACKEND": "django.template.backends.django.DjangoTemplates",
            "DIRS": [tmp_path, tmp_path / "none"],
        }
    ]
    settings.PUSH_SERVER = push_server
    messages = check_templates(None)
    assert [each.id for each in messages] == ["pushserver.W014"] * is_reported
    assert all(str(page) in each.msg for each in messages)
