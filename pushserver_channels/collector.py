"""Where sites import :func:`tune_collector` from, at the end of their ``asgi.py``."""

from __future__ import annotations

from .server.collector import tune_collector

__all__ = ["tune_collector"]
