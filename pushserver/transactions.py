"""Send updates after the commit of a database transaction."""

from __future__ import annotations

from collections.abc import Callable

from django.db import connections, transaction

from .conf import get_settings, suggest


def waits_for_commit(on_commit: bool | None, using: str | None) -> bool:
    """Return whether an update is to be sent after a commit.

    It is if that is wanted and the database is in an atomic block. If it is in a
    transaction that is not an atomic block, :func:`call_after_commit` will raise
    ``TransactionManagementError``.

    Args:
        on_commit: Whether it is wanted, None for the setting ``on_commit``.
        using: The alias of the database, None for the default one.

    Raises ``ValueError`` if there is no such database.
    """
    check_alias(using)
    if not (get_settings().on_commit if on_commit is None else on_commit):
        return False
    database = transaction.get_connection(using)
    if database.in_atomic_block:
        return True
    # Before it connects, it does not know whether it commits by itself.
    return database.connection is not None and not database.get_autocommit()


def call_after_commit(send: Callable[[], object], using: str | None) -> None:
    """Call a function after the commit, and not at all if there is a rollback.

    What it raises is raised by the end of the atomic block, after the commit, and
    functions that were registered after it are not called.

    Args:
        send: The function.
        using: The alias of the database, None for the default one.

    Raises ``TransactionManagementError`` in a transaction that is not an atomic block.
    """
    transaction.on_commit(send, using=using)


def check_alias(using: str | None) -> None:
    """Raise ``ValueError`` if no database has an alias."""
    if using is not None and using not in connections.settings:
        known = list(connections.settings)
        hint = suggest(using, known) or f"There are {', '.join(map(repr, known))}."
        raise ValueError(f"using is {using!r}, which is not in DATABASES. {hint}")
