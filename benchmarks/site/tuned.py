"""The same with the garbage collector tuned as documented."""

from __future__ import annotations

from pushserver_channels.collector import tune_collector

from .asgi import application

__all__ = ["application"]

tune_collector()
