"""Write the nginx configuration for settings."""

from __future__ import annotations

from typing import Any

from pushserver.conf import read_settings
from pushserver.nginx import (
    Configuration,
    NchanConfiguration,
    Options,
    ProxyConfiguration,
)

#: The settings that the documentation of 0.3 proposed, except for the ports.
OLD_SETTINGS: dict[str, Any] = {
    "port": 8001,
    "address": "127.0.0.1",
    "publisher_host": {"location": "127.0.0.1:8001", "secure": False},
    "subscriber_host": {"location": "127.0.0.1:8001", "secure": False},
    "store": {
        "type": "memory",
        "min_messages": 0,
        "max_messages": 100,
        "message_timeout": 10,
    },
    "locations": (
        {
            "type": "subscriber",
            "url": r"/updates/([^/]+)",
            "polling": "long",
            "create_on_get": True,
            "allow_origin": "http://127.0.0.1:8000",
            "allow_credentials": True,
            "passthrough": "http://127.0.0.1:8000/passthrough",
        },
        {"type": "publisher", "url": r"/send-update/([^/]+)"},
    ),
}

PUBLISHER = {"type": "publisher", "url": "/send/([^/]+)"}
SUBSCRIBER = {"type": "subscriber", "url": "/updates/([^/]+)", "create_on_get": True}
KINDS: list[type[Configuration]] = [NchanConfiguration, ProxyConfiguration]


def write(
    kind: type[Configuration] = NchanConfiguration,
    options: Options | None = None,
    **push_server: Any,
) -> tuple[str, list[str]]:
    """Return the configuration for the settings, and the warnings."""
    written = kind(read_settings(push_server), options or Options())
    return written.write(), written.out.warnings
