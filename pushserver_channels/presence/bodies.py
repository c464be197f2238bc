"""The messages of presence channels. Source: streams, section 7."""

from __future__ import annotations

import json
from collections.abc import Mapping

from .base import Snapshot

CONTENT_TYPE = b"application/json"


def build_state(snapshot: Snapshot) -> bytes:
    """Return the message that tells who is on a channel."""
    if snapshot.members is None:
        return build_counts("state", snapshot.named, snapshot.others)
    members = _build_members(snapshot.members)
    return f'{{"type":"state","members":{members},"others":{snapshot.others}}}'.encode()


def build_diff(
    joins: Mapping[str, str], leaves: Mapping[str, str], others: int
) -> bytes:
    """Return the message that tells changes.

    Args:
        joins: What is told about each user who has come, or about whom something else
            is told, as JSON.
        leaves: The same for those who have gone.
        others: How many anonymous members there are.
    """
    return (
        f'{{"type":"diff","joins":{_build_members(joins)},'
        f'"leaves":{_build_members(leaves)},"others":{others}}}'
    ).encode()


def build_counts(kind: str, count: int, others: int) -> bytes:
    """Return the message in which nobody is named, because there are too many.

    Args:
        kind: ``state`` or ``diff``.
        count: How many named members there are.
        others: How many anonymous ones there are.
    """
    return f'{{"type":"{kind}","count":{count},"others":{others}}}'.encode()


def _build_members(members: Mapping[str, str]) -> str:
    """Return members as a JSON object, given what is told about each as JSON."""
    parts = (f'{json.dumps(key)}:{{"info":{info}}}' for key, info in members.items())
    return f"{{{','.join(parts)}}}"
