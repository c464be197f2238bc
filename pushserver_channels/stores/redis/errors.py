"""The errors of a command to Redis.

::

    CommandError
    ├── ConnectionLost          it is unknown whether Redis ran the command
    │   └── AnswerTimeout
    ├── Moved                   Redis did not run the command
    └── Refused                 Redis did not run the command
        └── UnknownScript
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

from django.core.exceptions import ImproperlyConfigured

from pushserver_channels.exceptions import StoreUnavailable


class CommandError(Exception):
    """A command to Redis failed; the text says why."""

    def copy(self) -> CommandError:
        """Return the same error for another task.

        One error raised in many tasks would collect their tracebacks.
        """
        return type(self)(*self.args)


class ConnectionLost(CommandError):
    """The connection ended before the answer: the command may have been run."""


class AnswerTimeout(ConnectionLost):
    """There was no answer in time: the command may have been run."""


class Moved(CommandError):
    """The server does not have the key or the topic, or not yet; nothing was run."""


class Refused(CommandError):
    """Redis answered with an error; the command was not run."""


class UnknownScript(Refused):
    """Redis does not know the script."""


class Unanswered(StoreUnavailable):
    """It is unknown whether Redis ran a command. It will not run it later."""

    def __str__(self) -> str:
        return "The message store did not answer; it may have done what it was asked."


def load(module: str) -> Any:
    """Return a module of redis-py or hiredis. Raises ``ImproperlyConfigured``."""
    try:
        return import_module(module)
    except ImportError as error:
        raise ImproperlyConfigured(
            "A store of the type 'redis' needs the packages redis and hiredis. Install"
            " them with: pip install django-pushserver[redis]"
        ) from error


def describe(error: Exception) -> str:
    """Return the text of an error, or its name if it has none."""
    return str(error) or type(error).__name__


def parse_error(text: str) -> CommandError:
    """Return the :class:`CommandError` for the text of an error that Redis answered."""
    return _ERRORS.get(text.partition(" ")[0], Refused)(text)


_ERRORS: dict[str, type[CommandError]] = {
    "ASK": Moved,
    "CLUSTERDOWN": Moved,
    "LOADING": Moved,
    "MASTERDOWN": Moved,
    "MOVED": Moved,
    "NOSCRIPT": UnknownScript,
    "READONLY": Moved,
    "TRYAGAIN": Moved,
}
