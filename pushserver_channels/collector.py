"""The public module of :func:`tune_collector`, for a site's ``asgi.py``."""

from __future__ import annotations

from .server.collector import tune_collector

__all__ = ["tune_collector"]
