"""The channels that tell who is on another channel. Source: streams, section 7."""

from __future__ import annotations

#: What the id of such a channel begins with; the rest is the id of the other channel.
PREFIX = "presence:"


def is_presence_channel(channel_id: str) -> bool:
    """Return whether a channel tells who is on another one."""
    return channel_id.startswith(PREFIX)


def find_subject(channel_id: str) -> str:
    """Return the channel that a presence channel tells about, else the channel itself.

    Whoever may listen to that channel may listen to the presence channel, too.
    """
    while channel_id.startswith(PREFIX):
        channel_id = channel_id[len(PREFIX) :]
    return channel_id
