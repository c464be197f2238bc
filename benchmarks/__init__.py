"""How close to the floor: ``make bench``, or ``python -m benchmarks``.

Each server gets one core and the load another. The servers of a comparison are all up
and take turns in slices of a tenth of a second, so that a machine that is slow for a
while is slow for all of them, and what counts is the ratio to a bare ASGI application
on the same server in the same moment.
"""
