"""Listening from Python."""

from __future__ import annotations

from pushserver.client import ListenError, Received, listen


def follow(url: str) -> list[bytes]:
    bodies: list[bytes] = []
    try:
        for update in listen(url, after="newest", transport="poll"):
            bodies.append(update.body)
    except ListenError as error:
        print(error.status, error.reason)
    return bodies


async def afollow(url: str) -> Received | None:
    async for update in listen(lambda: url, headers={"Authorization": "Bearer x"}):
        missed: str | None = update.missed
        if missed is None:
            return update
    return None
