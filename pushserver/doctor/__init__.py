"""The checks of ``manage.py pushserver_doctor``."""

from __future__ import annotations

from .examination import Examination
from .findings import Finding

__all__ = ["Examination", "Finding"]
