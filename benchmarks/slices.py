"""Servers side by side: all are up, and each works for a moment while the others rest.

A core of a shared machine is now fast and now slow, within tenths of a second. So what
is compared is measured next to each other: a round is a short slice of each server, in
random order, and what counts is the ratio of two slices of one round. Servers that rest
are stopped, so that their timers take nothing from the one that works; each begins with
a message that is not measured.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from statistics import median
from typing import Any, TypeVar

from .load import Load, Slice

#: Seconds; a message to thousands takes longer, and is a slice of its own.
SECONDS = 0.1

Key = TypeVar("Key")
Guard = Callable[[Any], AbstractContextManager[object]]


def take_slices(
    loads: Mapping[Key, Load], rounds: int, guard: Guard = nullcontext
) -> dict[Key, list[Slice]]:
    """Return the slices of each load, one of each round; all servers rest before.

    Args:
        loads: Who takes turns.
        rounds: How often. Before them is one that is not measured.
        guard: A context manager for each slice, which gets the key of the load. If it
            swallows an error, the load has no more slices, and is not in the answer.
    """
    slices: dict[Key, list[Slice]] = {key: [] for key in loads}
    shuffle = random.Random(rounds).shuffle
    for _ in range(rounds + 1):
        keys = list(slices)
        shuffle(keys)
        for key in keys:
            mine = slices.pop(key)
            with guard(key):
                with loads[key].server.awake():
                    # Its clients have been held for longer than in a busy channel.
                    loads[key].warm_up()
                    mine.append(loads[key].take_slice(SECONDS))
                slices[key] = mine
    return {key: slices[key][1:] for key in loads if key in slices}


def find_median_rate(slices: list[Slice]) -> float:
    """Return the operations a second of the slice in the middle."""
    return median(each.rate for each in slices)


def compare(slices: list[Slice], others: list[Slice]) -> float:
    """Return the rate of a load as a part of another's, in the round in the middle."""
    pairs = zip(slices, others, strict=True)
    return median(mine.rate / other.rate for mine, other in pairs)


def find_load(slices: list[Slice]) -> float:
    """Return how busy the generator was, in percent of the slice in the middle."""
    return median(100 * each.client / each.seconds for each in slices)


def find_busy(slices: list[Slice]) -> float:
    """Return how busy the server was, in percent of the slice in the middle."""
    return median(100 * each.server / each.seconds for each in slices)
