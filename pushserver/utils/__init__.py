"""Keeps the imports of django-pushserver 0.3 working.

``from pushserver.utils import updates`` and ``from pushserver.utils.updates import
send_update`` are :mod:`pushserver.updates`.
"""

from __future__ import annotations

import sys

from pushserver import updates

__all__ = ["updates"]

sys.modules[f"{__name__}.updates"] = updates
