"""``python -m tests.restart [--clients 5000] [--drain 10]``: restart under load.

Four Daphnes behind nginx, with a store in Redis, are restarted one after the other
while half of the clients hold streams, and the other half long polls.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import resource

import django

from .restarting import restart_all


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.restart")
    parser.add_argument("--clients", type=int, default=5000)
    parser.add_argument("--channels", type=int, default=50)
    parser.add_argument(
        "--interval", type=float, default=5, help="between messages of a channel (s)"
    )
    parser.add_argument("--drain", type=float, default=10)
    options = parser.parse_args()
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")
    django.setup()
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    result = asyncio.run(restart_all(**vars(options)))
    for name, value in vars(result).items():
        print(f"{name:10} {value}")


if __name__ == "__main__":
    main()
