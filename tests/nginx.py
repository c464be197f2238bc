"""The configuration of nginx that is written for a block of settings."""

from __future__ import annotations

from typing import Any

from pushserver.conf import read_settings
from pushserver.nginx import (
    Configuration,
    NchanConfiguration,
    Options,
    ProxyConfiguration,
)

PUBLISHER = {"type": "publisher", "url": "/send/([^/]+)"}
SUBSCRIBER = {"type": "subscriber", "url": "/updates/([^/]+)", "create_on_get": True}
KINDS: list[type[Configuration]] = [NchanConfiguration, ProxyConfiguration]


def write(
    kind: type[Configuration] = NchanConfiguration,
    options: Options | None = None,
    **push_server: Any,
) -> tuple[str, list[str]]:
    """Return the configuration of some settings, and the warnings."""
    written = kind(read_settings(push_server), options or Options())
    return written.write(), written.out.warnings
