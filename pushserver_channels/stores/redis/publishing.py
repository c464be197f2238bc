"""Publishing into Redis from a process that serves no subscribers.

A WSGI or Celery worker, a shell or a script only appends messages. It runs the same Lua
script as the store, by its digest, in one round trip on a connection that is kept open.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from typing import Any, cast

from pushserver.conf import RedisStoreSettings
from pushserver.publishers.connections import NoConnectionFree
from pushserver.publishers.deadline import Deadline
from pushserver.publishers.update import Update
from pushserver_channels.exceptions import ChannelNotFound, StoreUnavailable
from pushserver_channels.messages import ChannelInfo, MessageId
from pushserver_channels.stores.base import Entry

from .asking import BlockingStore, Lost, MovedAway, NotSent, Refused
from .blocking import BlockingConnection
from .calls import AppendCall
from .connection import ANSWER_TIMEOUT
from .errors import Unanswered, load
from .network import RECONNECT_DELAYS
from .replies import Reply, read_reply
from .scripts import Script, make_scripts


class RedisPublishing:
    """Appends messages to the streams of a store, from any thread or greenlet.

    As in a ``RedisStore``, a message is accepted when Redis has answered. If the
    connection ends before, the message is sent once more, with a token by which Redis
    knows whether it has it already. If no answer comes in time, Redis does not publish
    the message if it runs the script later.

    Args:
        settings: The address of Redis, and the limits of the store.

    Raises ``ImproperlyConfigured``.
    """

    def __init__(self, settings: RedisStoreSettings) -> None:
        self._store = BlockingStore(settings)
        sharded = self._store.servers.sharded
        self._scripts = make_scripts(settings, sharded=sharded)
        self._script = self._scripts["append"]

    def append(
        self,
        update: Update,
        deadline: Deadline,
        *,
        keep: bool,
        create: bool,
        key: str | None = None,
    ) -> tuple[bool, ChannelInfo]:
        """Append a message; return whether it was delivered, and the channel info.

        Args:
            update: The message and its channel.
            deadline: The deadline, at most :data:`ANSWER_TIMEOUT` seconds from now.
            keep: Whether subscribers can get it later.
            create: Whether to create the channel if there is none.
            key: Its idempotency key, None for none.

        Raises :class:`~pushserver_channels.exceptions.ChannelNotFound`,
        :class:`~pushserver_channels.exceptions.StoreUnavailable`, and
        :class:`~pushserver.publishers.connections.NoConnectionFree` at the deadline.
        """
        deadline = _cut(deadline)
        call = AppendCall(
            self._store.find(update.channel_id), Entry(update, keep, create, key)
        )
        with self._store.connections.use(deadline):
            reply = self._append(call, deadline)
        if reply.status == b"none":
            raise ChannelNotFound
        return reply.info.subscribers > 0, reply.info

    def find_last_id(self, channel_id: str, deadline: Deadline) -> MessageId | None:
        """Return the id of the last message of a channel, None if it had none.

        Args:
            channel_id: The channel.
            deadline: The deadline, at most :data:`ANSWER_TIMEOUT` seconds from now.

        Raises as :meth:`append` does, but for ``ChannelNotFound``.
        """
        channel = self._store.find(channel_id)
        deadline = _cut(deadline)
        with self._store.connections.use(deadline):
            for is_last in (False, True):
                try:
                    connection = self._store.connect(channel.shard, deadline)
                    with self._store.asking(connection):
                        second, tag = connection.ask(
                            "HMGET", channel.keys[1], "time", "tag"
                        )
                except (NotSent, MovedAway, Lost, Refused) as error:
                    if is_last or deadline.is_over or isinstance(error, Refused):
                        raise StoreUnavailable from error
                else:
                    return None if second is None else MessageId(int(second), int(tag))
        raise AssertionError("the second attempt returns or raises")

    def read(
        self, script: str, channel_id: str, deadline: Deadline, *words: str
    ) -> Reply:
        """Run a script that only reads, given its name and arguments.

        The rest is as of :meth:`find_last_id`.
        """
        channel = self._store.find(channel_id)
        deadline = _cut(deadline)
        found = self._scripts[script]
        with self._store.connections.use(deadline):
            for is_last in (False, True):
                try:
                    connection = self._store.connect(channel.shard, deadline)
                    first, *others = words
                    first = f"now 0 {connection.run_id} {first}"
                    keys = (len(channel.keys), *channel.keys, channel.topic)
                    return self._ask(connection, found, (*keys, first, *others))
                except (NotSent, MovedAway, Lost, Refused) as error:
                    if is_last or deadline.is_over or isinstance(error, Refused):
                        raise StoreUnavailable from error
        raise AssertionError("the second attempt returns or raises")

    def close(self) -> None:
        """Close the connections."""
        self._store.connections.close()

    def append_several(
        self, entries: Sequence[Entry], deadline: Deadline
    ) -> list[tuple[bool, ChannelInfo] | Exception]:
        """Append messages, in one round trip for each server.

        The messages of a channel are appended in their order. The deadline is that of
        :meth:`append`. Returns, for each message, what :meth:`append` returns or
        raises. Raises ``NoConnectionFree`` at the deadline.
        """
        deadline = _cut(deadline)
        calls = [
            AppendCall(self._store.find(each.update.channel_id), each)
            for each in entries
        ]
        with self._store.connections.use(deadline):
            for some in self._group(calls, deadline):
                self._append_together(some, deadline)
                for call in some:
                    if call.outcome is None:
                        self._append_alone(call, deadline)
        return [call.read_outcome() for call in calls]

    def _group(
        self, calls: Iterable[AppendCall], deadline: Deadline
    ) -> Iterable[list[AppendCall]]:
        """Return the messages of each server."""
        groups: dict[object, list[AppendCall]] = {}
        for call in calls:
            mark = call.channel.shard.mark
            try:
                server = self._store.servers.locate(mark, deadline)
            except Exception:  # connect() will log and report it.
                server = (mark, 0)
            groups.setdefault(server, []).append(call)
        return groups.values()

    def _append_together(self, calls: list[AppendCall], deadline: Deadline) -> None:
        """Append messages in one round trip; set the outcomes of those that are sure.

        The others have to be appended alone.
        """
        try:
            connection = self._store.connect(calls[0].channel.shard, deadline)
            give_up = self._store.limit(connection, deadline)
        except NotSent as error:
            for call in calls:
                call.fail(StoreUnavailable(), error)
            return
        left = calls
        try:
            with self._store.asking(connection):
                # Redis may not know the script yet, or not any more.
                for start in ((), (("SCRIPT", "LOAD", self._script.text),)):
                    left = self._run_several(connection, left, give_up, start)
                    if not left:
                        break
        except Lost as error:
            for call in calls:
                if call.outcome is None:
                    call.lose(error, deadline)
        except (MovedAway, Refused):
            pass  # What is left is appended alone.

    def _run_several(
        self,
        connection: BlockingConnection,
        calls: list[AppendCall],
        give_up: float,
        start: tuple[tuple[str, ...], ...],
    ) -> list[AppendCall]:
        """Run the script for each message; return those for which Redis lacked it."""
        errors = load("redis.exceptions")
        digest = self._script.digest
        commands = [
            ("EVALSHA", digest, *each.build(connection, give_up)) for each in calls
        ]
        answers = connection.ask_several([*start, *commands])
        for _ in start:
            next(answers)
        lacking, clock = [], cast(Any, connection)
        for call, answer in zip(calls, answers, strict=True):
            if isinstance(answer, errors.NoScriptError):
                lacking.append(call)
            elif not isinstance(answer, Exception):
                reply = read_reply(clock, answer, listens=False)
                if reply.status != b"late":
                    call.outcome = reply
        return lacking

    def _append_alone(self, call: AppendCall, deadline: Deadline) -> None:
        """Append a message, and set its outcome."""
        try:
            call.outcome = self._append(call, deadline)
        except StoreUnavailable as error:
            call.outcome = error

    def _append(self, call: AppendCall, deadline: Deadline) -> Reply:
        """Append a message; return the reply ``ok``, ``again`` or ``none``."""
        attempts = 0
        while True:
            attempts += 1
            try:
                connection = self._store.connect(call.channel.shard, deadline)
                give_up = self._store.limit(connection, deadline)
                reply = self._run(connection, call, give_up)
            except Lost as error:
                call.lose(error, deadline)
                if isinstance(call.outcome, Exception):
                    raise call.outcome from error
            except (NotSent, Refused, MovedAway) as error:
                may_try_again = attempts == 1 and isinstance(error, MovedAway)
                if not (call.since or may_try_again):
                    raise StoreUnavailable from error
            else:
                if reply.status != b"late":
                    return reply
                # The script ran after its deadline. Perhaps the clock of Redis was set;
                # if so, this reply has corrected the connection's estimate of it.
                if attempts > 1:
                    raise Unanswered if call.since else StoreUnavailable
            if deadline.is_over:
                raise Unanswered if call.since else StoreUnavailable
            if attempts > 1:
                # Redis knows whether it has the message, as soon as it answers.
                time.sleep(RECONNECT_DELAYS[0])

    def _run(
        self, connection: BlockingConnection, call: AppendCall, give_up: float
    ) -> Reply:
        """Run the script, and keep the connection.

        Raises :class:`Lost`, :class:`MovedAway` or :class:`Refused`.
        """
        return self._ask(connection, self._script, call.build(connection, give_up))

    def _ask(
        self,
        connection: BlockingConnection,
        script: Script,
        arguments: Iterable[str | bytes | int],
    ) -> Reply:
        """Run a script, and keep the connection. Raises as :meth:`_run` does."""
        with self._store.asking(connection):
            try:
                answer = connection.ask("EVALSHA", script.digest, *arguments)
            except load("redis.exceptions").NoScriptError:
                answer = connection.ask("EVAL", script.text, *arguments)
            clock: Any = connection  # read_reply() only sets its clock.
            return read_reply(clock, answer, listens=False)


def _cut(deadline: Deadline) -> Deadline:
    """Return a deadline that is at most :data:`ANSWER_TIMEOUT` seconds from now.

    Raises ``NoConnectionFree`` if it is over.
    """
    try:
        left = deadline.left()
    except TimeoutError:
        raise NoConnectionFree from None
    if left is None or left > ANSWER_TIMEOUT:
        return Deadline(ANSWER_TIMEOUT)
    return deadline
