"""The floor, with the collector set as the documentation says."""

from __future__ import annotations

from pushserver_channels.collector import tune_collector

from .bare import application

__all__ = ["application"]

tune_collector()
