"""What Django's test environment changes: nothing is sent to a push server.

As with e-mail, messages are recorded there: see :mod:`pushserver.test`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.core import mail

from .conf import get_settings

if TYPE_CHECKING:
    from .publishers import Publisher


class LiveServer:
    """The live server that serves the pages of a test.

    Attributes:
        publisher: Sends it what is published; None while there is none.
    """

    publisher: Publisher | None = None


live_server = LiveServer()


def in_test_environment() -> bool:
    """Return whether Django's ``setup_test_environment()`` is in effect.

    It is while ``django.core.mail.outbox`` exists, which that function sets.
    """
    return hasattr(mail, "outbox")


def find_choice() -> str:
    """Return ``PUSH_SERVER['publisher']``, where tests have ``locmem`` for ``auto``."""
    choice = get_settings().publisher
    return "locmem" if choice == "auto" and in_test_environment() else choice


def reaches_server() -> bool:
    """Return whether what is published reaches a push server, False in most tests."""
    return find_choice() != "locmem" or live_server.publisher is not None
