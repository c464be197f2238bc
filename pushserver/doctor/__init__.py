"""What ``manage.py pushserver_doctor`` knows: how to tell what is wrong on the way."""

from __future__ import annotations

from .examination import Examination
from .findings import Finding

__all__ = ["Examination", "Finding"]
