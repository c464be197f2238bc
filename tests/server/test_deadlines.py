from __future__ import annotations

import asyncio

from pushserver_channels.deadlines import PRECISION, Deadlines
from tests.waiting import until


async def test_due_items_expire_in_order() -> None:
    """All items that are due expire, in the order in which they were added."""
    expired: list[int] = []
    deadlines: Deadlines[int] = Deadlines(0.01, expired.append)
    for number in range(1_000):
        deadlines.add(number)
    deadlines.restart(0)
    deadlines.discard(1)
    deadlines.discard(-1)
    await until(lambda: len(expired) == 999)
    assert expired == [*range(2, 1_000), 0]


async def test_expiry_may_discard_or_restart_other_items() -> None:
    """An item that an expiry discards or restarts does not expire at its old time."""
    expired: list[tuple[str, float]] = []
    loop = asyncio.get_running_loop()

    def expire(item: str) -> None:
        expired.append((item, loop.time()))
        if len(expired) == 1:
            deadlines.discard("discarded")
            deadlines.restart("anew")

    deadlines: Deadlines[str] = Deadlines(0.05, expire)
    for item in ("first", "discarded", "anew", "last"):
        deadlines.add(item)
    await until(lambda: len(expired) == 3)
    assert [item for item, _ in expired] == ["first", "last", "anew"]
    assert expired[-1][1] - expired[0][1] >= 0.05


async def test_later_items_have_the_full_duration() -> None:
    """An item that is added while others wait has the full duration."""
    expired: list[str] = []
    deadlines: Deadlines[str] = Deadlines(0.05, expired.append)
    deadlines.add("early")
    await asyncio.sleep(0)
    added = asyncio.get_running_loop().time()
    deadlines.add("late")
    await until(lambda: expired == ["early", "late"])
    assert asyncio.get_running_loop().time() - added >= 0.05


async def test_restarted_items_do_not_delay_others() -> None:
    """An item that an expiry restarts does not delay items that are due earlier."""
    expired: list[str] = []

    def expire(item: str) -> None:
        expired.append(item)
        if expired == ["first"]:
            deadlines._seconds = 60  # Much longer than what the other item has left.
            deadlines.restart("first")

    deadlines: Deadlines[str] = Deadlines(0.05, expire)
    deadlines.add("first")
    loop = asyncio.get_running_loop()
    later = loop.time() + PRECISION
    await until(lambda: loop.time() >= later)  # Or both would expire in one run.
    deadlines.add("second")
    await until(lambda: expired == ["first", "second"])
    deadlines.discard("first")
