"""``python -m benchmarks.attacks [attack…] [--servers …] [--scale 0.1]``"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
from collections.abc import Awaitable, Callable

from benchmarks import cores
from benchmarks.processes import Server
from benchmarks.servers import Env, daphne, runpushserver, uvicorn

from .clients import (
    Outcome,
    allow_open_files,
    ask_random_ids,
    hold_requests,
    poll_quickly,
    reset_connections,
    send_large_bodies,
    send_slow_headers,
)
from .witness import Witness

APPLICATION = "benchmarks.attacks.asgi:application"

#: Each attack with its size.
ATTACKS: dict[str, tuple[Callable[[int, int], Awaitable[Outcome]], int]] = {
    "random-ids": (ask_random_ids, 1_000_000),
    "held-requests": (hold_requests, 10_000),
    "slow-headers": (send_slow_headers, 2_000),
    "large-bodies": (send_large_bodies, 200),
    "quick-polls": (poll_quickly, 100_000),
    "resets": (reset_connections, 20_000),
}

SERVERS: dict[str, Callable[[Env], Server]] = {
    "daphne": lambda env: daphne(APPLICATION, env),
    "uvicorn": lambda env: uvicorn(APPLICATION, env),
    "runpushserver": lambda env: runpushserver(
        {"DJANGO_SETTINGS_MODULE": "benchmarks.attacks.settings", **env}
    ),
}

COLUMNS = "{:<14} {:<14} {:<7} {:>10} {:>12} {:>22}  {}"


def main() -> None:
    options = parse_options()
    allow_open_files()
    os.sched_setaffinity(0, cores.LOAD)
    head = ("attack", "server", "limits", "memory", "CPU of each", "witness", "outcome")
    print(COLUMNS.format(*head))
    for name in options.attacks or ATTACKS:
        for server in options.servers or SERVERS:
            for limits in ("off", "on"):
                asyncio.run(run(name, server, limits, options.scale))


async def run(name: str, server: str, limits: str, scale: float) -> None:
    """Run an attack against a new server; print a line about it."""
    attack, size = ATTACKS[name]
    env = {"ATTACKS_WITHOUT_LIMITS": "1"} if limits == "off" else {}
    with SERVERS[server](env) as process:
        async with Witness(process.port) as witness:
            await asyncio.sleep(1)
            witness.delays.clear()
            before, cpu = process.memory, process.cpu
            outcome = await attack(process.port, max(int(size * scale), 10))
            memory = (process.memory - before) / 2**20
            used = (process.cpu - cpu) / outcome.count * 1e6
            await asyncio.sleep(1)  # For the last messages.
        print(
            COLUMNS.format(
                name,
                server,
                limits,
                f"{memory:+,.0f} MiB",
                f"{used:,.0f} µs",
                describe(witness),
                outcome.said,
            ),
            flush=True,
        )


def describe(witness: Witness) -> str:
    """Return the median and the maximum of a witness's delays, and its failures."""
    if not witness.delays:
        return "nothing delivered"
    median, most = statistics.median(witness.delays), max(witness.delays)
    text = f"{median * 1000:,.0f}/{most * 1000:,.0f} ms"
    return f"{text}, {witness.failures} failed" if witness.failures else text


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.attacks")
    parser.add_argument("attacks", nargs="*", metavar="attack", help=", ".join(ATTACKS))
    parser.add_argument("--servers", nargs="+", choices=SERVERS, metavar="server")
    parser.add_argument(
        "--scale", type=float, default=1, help="a part of each attack, such as 0.1"
    )
    options = parser.parse_args()
    for name in options.attacks:
        if name not in ATTACKS:
            parser.error(f"there is no attack {name!r}: {', '.join(ATTACKS)}")
    return options


if __name__ == "__main__":
    main()
