"""Benchmarks against a bare ASGI application: ``make bench``.

Each server gets one core, and the load generator another. The servers of a comparison
all run and take turns in slices of a tenth of a second, so that a machine that is slow
for a while is slow for all of them. The result is the ratio to a bare ASGI application
on the same server at the same moment.
"""
