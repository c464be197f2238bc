"""``python -m tests.releases [--minutes 10] [--release COMMIT]``: two releases in use.

Four processes on one Redis are rolled to this release and back, while messages are
published through them and by scripts of both, and received by polls and streams.
"""

from __future__ import annotations

import argparse
import asyncio
import sys

from .rolling import LAST_RELEASE, run


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.releases")
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--release", default=LAST_RELEASE, metavar="COMMIT")
    options = parser.parse_args()
    result = asyncio.run(run(options.minutes * 60, options.release))
    outcome = result.outcome
    print(
        f"{outcome.accepted:,} messages, {result.received:,} receptions,"
        f" {result.rolls} processes replaced: {outcome.lost} lost,"
        f" {outcome.doubled} doubled, {outcome.reordered} out of order,"
        f" {len(result.misread)} misread; {outcome.blunt} requests of publishers had no"
        f" answer while a process was replaced, {outcome.refused} were refused;"
        f" the longest wait of one was {outcome.slowest:.1f} s.",
        *result.complain(),
    )
    return min(len(result.complain()), 1)


if __name__ == "__main__":
    sys.exit(main())
