"""Python's garbage collector, set for a process that holds thousands of requests.

A held request is a few dozen objects, and a full collection walks those of all of them
to find nothing. This setting leaves most walks out. It counts for the whole process, so
a site asks for it, at the end of its ``asgi.py``::

    from pushserver_channels.collector import tune_collector

    tune_collector()

``runpushserver`` does so by itself.
"""

from __future__ import annotations

import gc

#: New objects after which the youngest are looked at, and how many such looks are
#: followed by one at the older ones. Python's own: 700, 10, 10.
THRESHOLDS = (50_000, 5, 100)


def tune_collector() -> None:
    """Look for garbage less often, and never again among what there is by now.

    What a site has loaded, its modules and classes, stays until the process ends.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*THRESHOLDS)
