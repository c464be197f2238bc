"""nginx configurations from ``PUSH_SERVER``, for ``manage.py pushserver_nginx``."""

from __future__ import annotations

from .configuration import Configuration, Options
from .nchan import NchanConfiguration
from .proxy import ProxyConfiguration

__all__ = ["Configuration", "NchanConfiguration", "Options", "ProxyConfiguration"]
