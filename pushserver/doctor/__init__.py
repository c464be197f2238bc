"""What ``manage.py pushserver_doctor`` knows: how to tell what is wrong on the way."""

from __future__ import annotations

from .examination import Examination, Finding

__all__ = ["Examination", "Finding"]
