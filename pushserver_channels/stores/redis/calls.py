"""The calls of the script that appends a message, from sync code."""

from __future__ import annotations

import secrets

from pushserver.publishers.deadline import Deadline
from pushserver_channels.exceptions import ChannelNotFound
from pushserver_channels.messages import ChannelInfo
from pushserver_channels.stores.base import Entry

from .asking import ChannelNames, Lost
from .blocking import BlockingConnection
from .connection import ANSWER_TIMEOUT
from .errors import Unanswered
from .replies import Reply, add_fields, add_key


class AppendCall:
    """A call of the script, for one message.

    Args:
        channel: The names of the channel.
        entry: The message.

    Attributes:
        channel: As above.
        since: The Unix time from which on Redis may have the message, 0 if it has not.
        outcome: What it gave, None if that is not known yet.
    """

    __slots__ = ("_entry", "_fields", "channel", "outcome", "since")

    def __init__(self, channel: ChannelNames, entry: Entry) -> None:
        self.channel = channel
        self._entry = entry
        self._fields = add_fields(secrets.token_hex(8), entry.update)
        self.since = 0
        self.outcome: Reply | Exception | None = None

    def build(
        self, connection: BlockingConnection, give_up: float
    ) -> tuple[str | bytes | int, ...]:
        """Return the arguments of EVALSHA, after the digest.

        Args:
            connection: The connection.
            give_up: The deadline, by the clock of Redis.
        """
        update, keep, create, key = self._entry
        _, keys, topic = self.channel
        words = (
            f"now 0 {connection.run_id} {give_up:.6f} {create:d} {keep:d}"
            f" {self._fields} {self.since}{add_key(key)}"
        )
        kind = b"" if update.content_type is None else b"=" + update.content_type
        return (len(keys), *keys, topic, words, kind, update.body)

    def lose(self, error: Lost, deadline: Deadline) -> None:
        """Note that the connection ended before the answer.

        If Redis cannot be asked again, the outcome is :class:`Unanswered`.
        """
        # Redis cannot know whether it had a message that is not kept.
        is_known = self._entry.keep or self._entry.key is not None
        if not is_known or deadline.is_over:
            self.fail(Unanswered(), error)
        self.since = self.since or int(error.clock) - ANSWER_TIMEOUT - 1

    def fail(self, outcome: Exception, cause: Exception) -> None:
        """Set the outcome to an error."""
        outcome.__cause__ = cause
        self.outcome = outcome

    def read_outcome(self) -> tuple[bool, ChannelInfo] | Exception:
        """Return whether it was delivered and the channel info, or an error."""
        outcome = self.outcome
        assert outcome is not None, "Each message has an outcome."
        if isinstance(outcome, Exception):
            return outcome
        if outcome.status == b"none":
            return ChannelNotFound()
        return outcome.info.subscribers > 0, outcome.info
