"""How close to the floor: ``make bench``, or ``python -m benchmarks``.

Each server gets one core and the load another. The servers take turns, so that a
machine that is slow for a while is slow for all of them, and what counts is the ratio
to a bare ASGI application on the same server in the same turn.
"""
