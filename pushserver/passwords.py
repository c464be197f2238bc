"""Keeping passwords in URLs from being shown.

Django's debug page and the mails about errors hide a setting by its name only, and show
local variables with their ``repr()``. So a URL with a password is kept as a text whose
``repr()`` hides it, and which is otherwise the same text.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from django.conf import settings

STARS = "***"

# What stands before a host: up to the last @, as a password may hold any character,
# even where it should have been encoded. Also where the scheme or its slashes were
# forgotten; but no path, or pattern of one, and no address of mail.
_USER = re.compile(r"(?:(?<=://).*|^(?![/^(\[]|[\w+.-]*://)(?=\S*[:/])\S*)@", re.DOTALL)

# Names of settings and of options in a URL, but not passthrough.
_NAMES = "passw|passphrase|secret|token"
_SECRET_NAME = re.compile(_NAMES, re.IGNORECASE)
_OPTION = re.compile(
    rf"([?&][^=&#\s]*(?:{_NAMES})[^=&#\s]*=)[^&#\s'\"]+", re.IGNORECASE
)


def mask(text: str) -> str:
    """Return a text without the users and the passwords of the URLs in it."""
    return _OPTION.sub(rf"\1{STARS}", _USER.sub(f"{STARS}@", text))


def holds_password(text: str) -> bool:
    """Return whether a text is a URL with a password or another secret in it."""
    return mask(text) != text


class SecretText(str):
    """A text that shows itself without passwords."""

    __slots__ = ()

    def __repr__(self) -> str:
        return repr(mask(str(self)))


class Password(SecretText):
    """A text that is a password."""

    __slots__ = ()

    def __repr__(self) -> str:
        return repr(STARS)


def hide(value: Any, *, is_secret: bool = False) -> Any:
    """Return a value in which texts that hold a password show themselves without it.

    Dicts and lists stay the same objects: a settings module has other names for them.

    Args:
        value: Of any type; what is in containers is hidden, too.
        is_secret: Whether each text in it is a password.
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
            value.clear()  # Or the keys would stay as they are.
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
    """Let the passwords in ``PUSH_SERVER`` not be shown from now on."""
    raw = getattr(settings, "PUSH_SERVER", None)
    hidden = hide(raw)
    if hidden is not raw:
        settings.PUSH_SERVER = hidden
