"""Measure servers side by side: each works for a moment while the others are suspended.

The speed of a core of a shared machine changes within tenths of a second. So servers
are compared within a round: a short slice of each, in random order. The result is the
ratio of two slices of one round. The other servers are suspended, so that their timers
use no time. Each slice begins with a message that is not measured.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from statistics import median
from typing import Any, TypeVar

from .load import Load, Slice

#: The length of a slice in seconds. A message to thousands takes longer; then the slice
#: is that message.
SECONDS = 0.1

Key = TypeVar("Key")
Guard = Callable[[Any], AbstractContextManager[object]]


def take_slices(
    loads: Mapping[Key, Load], rounds: int, guard: Guard = nullcontext
) -> dict[Key, list[Slice]]:
    """Return the slices of each load, one for each round.

    Args:
        loads: The loads, whose servers are suspended.
        rounds: The number of rounds, after one that is not measured.
        guard: Returns a context manager for a slice, given the key of the load. If it
            suppresses an error, the load is left out.
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
                    # The clients were held for longer than on a busy channel.
                    loads[key].warm_up()
                    mine.append(loads[key].take_slice(SECONDS))
                slices[key] = mine
    return {key: slices[key][1:] for key in loads if key in slices}


def find_median_rate(slices: list[Slice]) -> float:
    """Return the median operations per second."""
    return median(each.rate for each in slices)


def compare(slices: list[Slice], others: list[Slice]) -> float:
    """Return the median ratio of the rates of two loads in the same round."""
    pairs = zip(slices, others, strict=True)
    return median(mine.rate / other.rate for mine, other in pairs)


def find_load(slices: list[Slice]) -> float:
    """Return the median load of the generator, in percent."""
    return median(100 * each.client / each.seconds for each in slices)


def find_busy(slices: list[Slice]) -> float:
    """Return the median load of the server, in percent."""
    return median(100 * each.server / each.seconds for each in slices)
