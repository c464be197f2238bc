"""A process that publishes: its messages' ids, in the order in which it got them.

``python -m tests.stores.publish URL PREFIX CHANNEL PUBLISHERS MESSAGES``
"""

from __future__ import annotations

import asyncio
import sys

from pushserver.conf import RedisStoreSettings
from pushserver_channels.stores.redis import RedisStore


async def publish(url: str, prefix: str, channel_id: str, many: int, each: int) -> None:
    settings = RedisStoreSettings(type="redis", url=url, key_prefix=prefix)
    store = RedisStore(settings)

    async def publish_some() -> None:
        for _ in range(each):
            message = (await store.append(channel_id, b"", None)).message
            print(message.id, message.previous or "-")

    await asyncio.gather(*(publish_some() for _ in range(many)))
    await store.aclose()


if __name__ == "__main__":
    url, prefix, channel_id, many, each = sys.argv[1:]
    asyncio.run(publish(url, prefix, channel_id, int(many), int(each)))
