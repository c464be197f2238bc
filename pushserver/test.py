"""For the tests of a site: what was published, and a server for its pages.

In Django's test environment ``PUSH_SERVER['publisher']``, if it is ``"auto"``, is
``"locmem"``: messages are recorded in :data:`sent_updates` and sent nowhere.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, overload

from django.core.serializers.json import DjangoJSONEncoder
from django.db import DEFAULT_DB_ALIAS
from django.test import TestCase
from django.utils.functional import classproperty
from django.utils.module_loading import import_string

from .publishers.locmem import SentUpdate, outbox
from .test_environment import find_choice

__all__ = [
    "PushLiveServerMixin",
    "SentUpdate",
    "assertNothingPushed",
    "assertPushed",
    "captureUpdates",
    "sent_updates",
]

#: Stands for an argument that was not given: None is data, too.
_ANY: Any = object()


class _SentUpdates(Sequence[SentUpdate]):
    """The messages that were published in the current test, like ``mail.outbox``."""

    @overload
    def __getitem__(self, index: int) -> SentUpdate: ...

    @overload
    def __getitem__(self, index: slice) -> list[SentUpdate]: ...

    def __getitem__(self, index: int | slice) -> SentUpdate | list[SentUpdate]:
        return outbox.read()[index]

    def __len__(self) -> int:
        return len(outbox.read())

    def __eq__(self, other: object) -> bool:
        return list(self) == other

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return repr(outbox.read())

    def clear(self) -> None:
        """Forget the messages. Each test begins without any."""
        outbox.clear()


sent_updates = _SentUpdates()


def assertPushed(  # noqa: N802 (named as Django's assertions)
    channel_id: object,
    data: Any = _ANY,
    *,
    event: str | None = _ANY,
    count: int | None = None,
) -> list[SentUpdate]:
    """Assert that a message was published on a channel, and return those that match.

    Args:
        channel_id: The channel.
        data: The data of the message, as it was given to ``send_update()`` or as a page
            gets it. Any if it is left out.
        event: The name of its event, None for none. Any if it is left out.
        count: How many messages match; at least one if it is left out.

    Raises ``AssertionError``, which lists what was published instead.
    """
    expected = _ANY if data is _ANY else _as_received(data)
    matching = [
        each
        for each in sent_updates
        if each.channel_id == str(channel_id)
        and (event is _ANY or each.event == event)
        and (data is _ANY or each.data in (expected, data))
    ]
    if len(matching) != count if count is not None else not matching:
        wanted = "A message" if count is None else f"{count} messages"
        details = "" if data is _ANY else f" with data {data!r}"
        details += "" if event is _ANY else f" with event {event!r}"
        raise AssertionError(
            f"{wanted} on {str(channel_id)!r}{details} should have been published, but"
            f" {len(matching)} of these match: {_describe(list(sent_updates))}"
        )
    return matching


def assertNothingPushed(channel_id: object = _ANY) -> None:  # noqa: N802
    """Assert that nothing was published: on a channel, or on any if it is left out.

    Raises ``AssertionError``, which lists what was published.
    """
    sent = [
        each
        for each in sent_updates
        if channel_id is _ANY or each.channel_id == str(channel_id)
    ]
    if sent or not _is_recorded():
        raise AssertionError(
            f"Nothing should have been published, but this was: {_describe(sent)}"
        )


@contextmanager
def captureUpdates(  # noqa: N802 (named as Django's captureOnCommitCallbacks)
    *, using: str = DEFAULT_DB_ALIAS
) -> Iterator[list[SentUpdate]]:
    """Give a list of the messages that are published in the context.

    At its end the on-commit callbacks that were registered in it are run, so that
    updates with ``on_commit`` go out although the transaction of a ``TestCase`` is
    never committed.

    Args:
        using: The alias of the database whose callbacks are run.
    """
    callbacks = TestCase.captureOnCommitCallbacks(using=using, execute=True)
    with outbox.capturing() as captured, callbacks:
        yield captured


class PushLiveServerMixin:
    """Serves the push locations, too, in a ``LiveServerTestCase``.

    ``class ChatTests(PushLiveServerMixin, LiveServerTestCase)`` has the whole site on
    Daphne at ``live_server_url``, in this process. What is published in it, by the site
    or by the tests, is recorded and sent to the pages that wait. All stores are in
    memory, and empty at the start of each class.
    """

    if TYPE_CHECKING:
        server_thread_class: Any
    else:

        @classproperty
        def server_thread_class(cls):  # noqa: N805
            # Not imported: a site with nginx as its push server installs only this app.
            return import_string("pushserver_channels.live_server.PushServerThread")


def _as_received(data: Any) -> Any:
    """Return data as a page gets it."""
    try:
        return json.loads(json.dumps(data, cls=DjangoJSONEncoder))
    except (TypeError, ValueError):
        return data  # It can only have been published as it is, such as bytes.


def _is_recorded() -> bool:
    return find_choice() == "locmem"


def _describe(sent: Sequence[SentUpdate]) -> str:
    if not _is_recorded():
        return (
            f"nothing is recorded, because PUSH_SERVER['publisher'] is"
            f" {find_choice()!r}. Use 'auto' or 'locmem' in tests."
        )
    if not sent:
        return "nothing."
    return "".join(
        f"\n  {each.channel_id!r}: {each.data!r}"
        + ("" if each.event is None else f" (event {each.event!r})")
        for each in sent
    )
