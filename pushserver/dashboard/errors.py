"""The error of the dashboard."""

from __future__ import annotations


class DashboardError(Exception):
    """The push server or its store was not reached. The text says why."""
