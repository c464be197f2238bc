"""Signals for subscribers that come and go, and for updates that are sent.

``channel_subscribe``, ``channel_unsubscribe``
    Sent by the passthrough view at the start and the end of each held request, with
    ``request`` (with the subscriber's user, cookies and headers) and ``channel_id``. A
    page that polls again after each message causes a pair of signals each time. If a
    subscriber has left before its first signal was sent, neither is sent. With
    ``ATOMIC_REQUESTS`` each receiver has a transaction of its own: what one has written
    is kept, even if others raise.

``pre_send_update``
    Sent before an update is published, with ``channel_id``, ``data``,
    ``already_serialized`` and ``request``, a :class:`urllib.request.Request`.

``post_send_update``
    Sent after that, with the same arguments and ``response``: a
    :class:`pushserver.publishers.Receipt`, or the exception if publishing failed. What
    its receivers raise is logged, because the message may have been published.

The receivers of all signals may be coroutine functions.

``member_joined``, ``member_left``
    Sent when somebody comes to a channel with presence, as its first connection over
    all processes, and has gone, with ``channel_id``, ``user`` (the key of the user) and
    ``info``, by one process and at most once: a server that is killed before sends
    none. Anonymous visitors have no signals. Receivers run in a thread of the push
    server, those about one member in their order.

Receivers run in the process of a server, which ``sys.exit()`` would end. So if a
receiver raises ``SystemExit``, ``KeyboardInterrupt`` or another exception that is not
an ``Exception``, :class:`ReceiverExited` is raised instead.
"""

from __future__ import annotations

import threading
from asyncio import CancelledError, current_task
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from functools import wraps
from typing import Any

from django.db import connections, transaction
from django.dispatch import Signal

Receiver = Callable[..., Any]


class ReceiverExited(RuntimeError):
    """A receiver of a signal tried to end the process."""

    def __init__(self, receiver: Receiver, error: BaseException) -> None:
        super().__init__(receiver, error)
        self.receiver = receiver
        self.error = error

    def __str__(self) -> str:
        name = getattr(self.receiver, "__qualname__", repr(self.receiver))
        return (
            f"The receiver {name} raised {self.error!r}, which must not end a server."
        )


class GuardedSignal(Signal):
    """A signal whose receivers cannot end the process of a server.

    Args:
        exits_main_thread: Whether receivers may end the process if they run in its main
            thread, as in a management command.
        atomic: Whether each receiver has a transaction of its own in the databases with
            ``ATOMIC_REQUESTS``. Coroutines have none, as Django has none for async
            code.
    """

    def __init__(self, *, exits_main_thread: bool, atomic: bool) -> None:
        super().__init__()
        self.exits_main_thread = exits_main_thread
        self.atomic = atomic

    def _live_receivers(self, sender: object) -> tuple[list[Receiver], list[Receiver]]:
        # All methods that send use this. It returns functions and coroutine functions.
        plain, coroutines = super()._live_receivers(sender)
        return (
            [self._guard(receiver) for receiver in plain],
            [self._guard_async(receiver) for receiver in coroutines],
        )

    def _guard(self, receiver: Receiver) -> Receiver:
        @wraps(receiver)
        def call(**named: Any) -> Any:
            try:
                with _atomic_requests() if self.atomic else nullcontext():
                    return receiver(**named)
            except Exception:
                raise
            except BaseException as error:
                main = threading.current_thread() is threading.main_thread()
                if main and self.exits_main_thread:
                    raise
                raise ReceiverExited(receiver, error) from error

        return call

    def _guard_async(self, receiver: Receiver) -> Receiver:
        @wraps(receiver)
        async def call(**named: Any) -> Any:
            try:
                return await receiver(**named)
            except (Exception, GeneratorExit):
                # The latter is raised in a coroutine that is closed.
                raise
            except CancelledError as error:
                if _is_being_cancelled():
                    raise
                # Its own. Django 6 would take the receiver for one that succeeded.
                raise ReceiverExited(receiver, error) from error
            except BaseException as error:
                raise ReceiverExited(receiver, error) from error

        return call


def _is_being_cancelled() -> bool:
    """Return whether the current task is being cancelled; Python 3.10 cannot tell."""
    task = current_task()
    return task is None or not hasattr(task, "cancelling") or task.cancelling() > 0


@contextmanager
def _atomic_requests() -> Iterator[None]:
    """Run a block in transactions for ``ATOMIC_REQUESTS``, as Django runs a view."""
    with ExitStack() as transactions:
        for alias in connections:
            if connections.settings[alias].get("ATOMIC_REQUESTS"):
                transactions.enter_context(transaction.atomic(using=alias))
        yield


channel_subscribe = GuardedSignal(exits_main_thread=False, atomic=True)
channel_unsubscribe = GuardedSignal(exits_main_thread=False, atomic=True)

member_joined = GuardedSignal(exits_main_thread=False, atomic=False)
member_left = GuardedSignal(exits_main_thread=False, atomic=False)

pre_send_update = GuardedSignal(exits_main_thread=True, atomic=False)
post_send_update = GuardedSignal(exits_main_thread=True, atomic=False)
