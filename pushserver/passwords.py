"""Keep passwords in URLs from being shown.

Django's debug page and error mails hide a setting only by its name, and show local
variables by their ``repr()``. So a URL with a password is kept as a string whose
``repr()`` hides the password, and which is otherwise unchanged.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from django.conf import settings

STARS = "***"

# The user and the password before a host, up to the last @, because a password may hold
# characters that should have been encoded. It also matches a URL without scheme or
# slashes, but no path, no pattern of a path, and no mail address.
_USER = re.compile(r"(?:(?<=://).*|^(?![/^(\[]|[\w+.-]*://)(?=\S*[:/])\S*)@", re.DOTALL)

# Parts of the names of secret settings and URL options; not "pass", because of
# "passthrough".
_NAMES = "passw|passphrase|secret|token"
_SECRET_NAME = re.compile(_NAMES, re.IGNORECASE)
_OPTION = re.compile(
    rf"([?&][^=&#\s]*(?:{_NAMES})[^=&#\s]*=)[^&#\s'\"]+", re.IGNORECASE
)


def mask(text: str) -> str:
    """Return a text with the users and passwords of URLs replaced by stars."""
    return _OPTION.sub(rf"\1{STARS}", _USER.sub(f"{STARS}@", text))


def holds_password(text: str) -> bool:
    """Return whether a text holds a URL with a password or another secret."""
    return mask(text) != text


class SecretText(str):
    """A string whose ``repr()`` hides the passwords in it."""

    __slots__ = ()

    def __repr__(self) -> str:
        return repr(mask(str(self)))


class Password(SecretText):
    """A password, hidden by its ``repr()``."""

    __slots__ = ()

    def __repr__(self) -> str:
        return repr(STARS)


def hide(value: Any, *, is_secret: bool = False) -> Any:
    """Return a value in which the ``repr()`` of each string hides its passwords.

    Dicts and lists are changed in place, because other names in a settings module may
    refer to them.

    Args:
        value: A value of any type; the contents of containers are treated as well.
        is_secret: Whether each string in it is a password.
    """
    if isinstance(value, str):
        if is_secret:
            return Password(value)
        return SecretText(value) if holds_password(value) else value
    if isinstance(value, Mapping):
        items = {
            hide(key): hide(each, is_secret=is_secret or _is_secret_name(key))
            for key, each in value.items()
        }
        if not isinstance(value, dict):
            return MappingProxyType(items)
        if any(map(holds_password, filter(_is_text, value))):
            value.clear()  # update() alone would keep the old keys.
        value.update(items)
    elif isinstance(value, list):
        value[:] = [hide(each, is_secret=is_secret) for each in value]
    elif type(value) in (tuple, set, frozenset):
        return type(value)(hide(each, is_secret=is_secret) for each in value)
    return value


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _is_secret_name(key: object) -> bool:
    return isinstance(key, str) and _SECRET_NAME.search(key) is not None


def hide_passwords() -> None:
    """Hide the passwords in ``PUSH_SERVER`` from ``repr()``."""
    raw = getattr(settings, "PUSH_SERVER", None)
    hidden = hide(raw)
    if hidden is not raw:
        settings.PUSH_SERVER = hidden
