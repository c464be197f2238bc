"""Keep the imports of django-pushserver 0.3 working.

``pushserver.utils.updates`` is :mod:`pushserver.updates`.
"""

from __future__ import annotations

import sys

from pushserver import updates

__all__ = ["updates"]

sys.modules[f"{__name__}.updates"] = updates
