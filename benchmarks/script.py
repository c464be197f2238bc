"""A script that publishes into Redis: with ``send_update()``, and with redis-py alone.

``python -m benchmarks.script ROUNDS`` prints the slices of both as JSON. They take
turns in one process, in one thread, with one round trip for each message.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable

import django
import redis

#: The length of a slice in seconds.
SLICE = 0.1

#: What a site would write to publish by itself, with a message of the same size.
BARE = """
redis.call('XADD', KEYS[1], 'MAXLEN', 100, '*', 'body', ARGV[1])
redis.call('EXPIRE', KEYS[1], 3600)
return redis.call('PUBLISH', KEYS[2], ARGV[1])
"""

DATA = {"type": "answer", "value": 42}


def take_slice(publish: Callable[[], object]) -> tuple[int, float]:
    """Return the number of messages published in a slice, and its seconds."""
    count = 0
    start = time.perf_counter()
    while (taken := time.perf_counter() - start) < SLICE:
        publish()
        count += 1
    return count, taken


def main(rounds: int) -> None:
    django.setup()
    from pushserver.updates import send_update

    script = redis.Redis.from_url(os.environ["BENCHMARK_REDIS"]).register_script(BARE)

    def publish_bare() -> object:
        return script(keys=["bare", "bare"], args=[json.dumps(DATA)])

    def publish_ours() -> object:
        return send_update("ours", DATA)

    ways = {"script-bare": publish_bare, "script": publish_ours}
    for publish in ways.values():
        take_slice(publish)  # This connects to Redis and loads the scripts.
    slices = [
        {name: take_slice(publish) for name, publish in ways.items()}
        for _ in range(rounds)
    ]
    print(json.dumps(slices))


if __name__ == "__main__":
    main(int(sys.argv[1]))
