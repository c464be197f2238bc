"""Tune Python's garbage collector for a process that holds thousands of requests.

A held request is a few dozen objects. A full collection examines the objects of all
held requests and finds nothing to free. This setting makes collections rare. It affects
the whole process, so a site enables it itself, at the end of its ``asgi.py``::

    from pushserver_channels.collector import tune_collector

    tune_collector()

``runpushserver`` does so by itself.
"""

from __future__ import annotations

import gc

#: The thresholds of gc.set_threshold(). Python's defaults are 700, 10, 10.
THRESHOLDS = (50_000, 5, 100)


def tune_collector() -> None:
    """Collect garbage less often, and exclude all objects that exist now.

    These are mostly modules and classes, which live until the process ends.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*THRESHOLDS)
