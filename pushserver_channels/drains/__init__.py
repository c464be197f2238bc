"""The orders of ``manage.py pushserver_drain``, which all processes read."""

from __future__ import annotations

from .orders import DrainOrders

__all__ = ["DrainOrders"]
