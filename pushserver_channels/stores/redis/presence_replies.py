"""Write the arguments of the scripts of presence, and read their answers."""

from __future__ import annotations

from collections.abc import Iterable

from pushserver_channels.messages import MessageId

from .replies import Reply, read_id


def build_arguments(
    changes: Iterable[tuple[str, float | None, str | None]],
) -> list[bytes]:
    """Return the arguments for changes: the member, its grace and its info of each."""
    arguments: list[bytes] = []
    for member, grace, info in changes:
        arguments += (
            member.encode(),
            b"" if grace is None else b"%g" % grace,
            (info or "").encode(),
        )
    return arguments


def read_applied(
    reply: Reply,
) -> tuple[list[tuple[str, bool, str]], float | None, int, bool]:
    """Return who has come or gone, when to flush, and how many members it has.

    The last is whether more members of dead processes have to be removed now.
    """
    found = [bytes(each).decode() for each in reply.entries]
    transitions = [
        (member, sign == "+", info)
        for sign, member, info in zip(found[::3], found[1::3], found[2::3], strict=True)
    ]
    wait, entries, has_more, _ = reply.previous.decode().split(",")
    flush_in = float(wait) if wait else None
    return transitions, flush_in, int(entries), has_more == "1"


def read_beat(reply: Reply) -> tuple[str, bool, list[str]]:
    """Return the epoch, whether the process was known, and the channels due."""
    epoch, _, is_known = reply.previous.decode().partition(",")
    due = [bytes(each).decode() for each in reply.entries]
    return epoch, is_known == "1", due


def read_snapshot(reply: Reply) -> tuple[MessageId, dict[str, str] | None, int, int]:
    """Return the newest id, the named members (None for too many) and the numbers."""
    named, others, *rest = [bytes(each).decode() for each in reply.entries]
    members = dict(zip(rest[1::2], rest[2::2], strict=True)) if rest else None
    # Of a channel without changes it is the time of the answer.
    unchanged = read_id(reply.previous.partition(b",")[0]) or MessageId(0, 1)
    newest = max(reply.info.last_message_id, unchanged)
    return newest, members, int(named), int(others)


def read_epoch(reply: Reply) -> str:
    """Return the epoch of the slot, empty if there was none.

    It is that of an answer to changes, or with a snapshot.
    """
    return reply.previous.rpartition(b",")[2].decode()


def read_count(reply: Reply) -> int:
    """Return how many members there are, named and not."""
    return sum(int(each) for each in reply.entries[:2])  # type: ignore[call-overload]


def read_answer(reply: Reply) -> bool:
    """Return whether a member is on the channel."""
    answer: object = reply.entries[0]
    return answer == b"1"
