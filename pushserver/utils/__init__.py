"""Keeps ``from pushserver.utils import updates`` of django-pushserver 0.3 working."""

from __future__ import annotations

from pushserver import updates

__all__ = ["updates"]
