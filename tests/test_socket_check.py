"""The check that warns if uvicorn cannot serve WebSockets."""

from __future__ import annotations

import importlib.util
from typing import Any

import pytest
from django.conf import LazySettings

from pushserver.checks import check_settings


@pytest.mark.parametrize(
    ("installed", "options", "told"),
    [
        ({"uvicorn"}, {}, True),
        ({"uvicorn"}, {"transports": ["poll"]}, False),
        ({"uvicorn", "wsproto"}, {}, False),
        ({"uvicorn", "websockets"}, {}, False),
        (set(), {}, False),
    ],
)
def test_uvicorn_without_a_websocket_package_is_a_warning(
    installed: set[str],
    options: dict[str, Any],
    told: bool,
    settings: LazySettings,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def find(name: str) -> object:
        return name if name in installed else None

    location = {"type": "subscriber", "url": "/updates/([^/]+)", **options}
    settings.PUSH_SERVER = {"locations": [location]}
    monkeypatch.setattr(importlib.util, "find_spec", find)
    ids = {each.id for each in check_settings(None)}
    assert ("pushserver.W013" in ids) is told
