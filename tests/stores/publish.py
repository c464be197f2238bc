"""A process that publishes and prints the ids of its messages in order.

``python -m tests.stores.publish URL PREFIX CHANNEL PUBLISHERS MESSAGES [STEP]``

With a step, its clock is set back by that number of seconds again and again.
"""

from __future__ import annotations

import asyncio
import sys
import time
from itertools import count

from pushserver.conf import RedisStoreSettings
from pushserver.publishers import Update
from pushserver_channels.stores.redis import RedisStore


class SteppingClock:
    """A clock that is set back again and again.

    Args:
        step: The number of seconds by which it is set back each time.
    """

    def __init__(self, step: float) -> None:
        self._step = step
        self._asked = count()

    def __call__(self) -> float:
        return time.time() - next(self._asked) // 100 * self._step


async def publish(
    url: str, prefix: str, channel_id: str, many: int, each: int, step: float
) -> None:
    settings = RedisStoreSettings(type="redis", url=url, key_prefix=prefix)
    store = RedisStore(settings, SteppingClock(step) if step else None)

    async def publish_some() -> None:
        for _ in range(each):
            message = (await store.append(Update(channel_id, b""))).message
            print(message.id, message.previous or "-")

    await asyncio.gather(*(publish_some() for _ in range(many)))
    await store.aclose()


if __name__ == "__main__":
    url, prefix, channel_id, many, each, *step = sys.argv[1:]
    asyncio.run(
        publish(url, prefix, channel_id, int(many), int(each), float(*step or "0"))
    )
