"""Validate the values in ``PUSH_SERVER``.

Each dict in it is read into a dataclass whose fields are made by :func:`setting`, with
a reader and a default. A reader takes the place of a value in the settings and the raw
value, and returns the value or raises :class:`InvalidSetting`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import MISSING, Field, field, fields
from difflib import get_close_matches
from ipaddress import ip_address
from typing import Any, TypeVar
from urllib.parse import unquote, urlsplit

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

from pushserver.addresses import LOOPBACK, AllowedClients, known_networks, parse_allowed
from pushserver.origins import normalize_origin
from pushserver.passwords import Password, SecretText, mask

Section = TypeVar("Section")
Reader = Callable[[str, Any], Any]

#: A century. A longer time is a mistake, and more than some clocks can count.
MAX_SECONDS = 100 * 366 * 24 * 3600


class InvalidSetting(ImproperlyConfigured):
    """A value in ``PUSH_SERVER`` is invalid.

    Attributes:
        place: The place of the value, as ``PUSH_SERVER['locations'][0]['polling']``.
        reason: What is wrong with it.
        hint: What to write instead.
    """

    def __init__(self, place: str, reason: str, hint: str) -> None:
        # Any value may hold a mistyped URL of a store, with a password.
        place, reason, hint = mask(place), mask(reason), mask(hint)
        super().__init__(place, reason, hint)
        self.place = place
        self.reason = reason
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.place} {self.reason}. {self.hint}"


def flag(place: str, value: object) -> bool:
    if not isinstance(value, bool):
        raise InvalidSetting(place, f"is {value!r}", "It must be True or False.")
    return value


def count(place: str, value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise InvalidSetting(
            place, f"is {value!r}", "It must be a whole number, 0 or more."
        )
    return value


def port(place: str, value: object) -> int:
    number = count(place, value)
    if number not in range(1, 65536):
        raise InvalidSetting(place, f"is {value!r}", "A port is from 1 to 65535.")
    return number


def seconds(place: str, value: object) -> float:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not 0 <= value <= MAX_SECONDS:  # type: ignore[operator]
        raise InvalidSetting(
            place,
            f"is {value!r}",
            f"It must be a number of seconds, 0 or more, and at most {MAX_SECONDS}.",
        )
    return value  # type: ignore[return-value]


def text(place: str, value: object) -> str:
    if not isinstance(value, str) or not value:
        raise InvalidSetting(place, f"is {value!r}", "It must be a text.")
    return value


def dotted_path(place: str, value: object) -> str:
    path = text(place, value)
    if "." not in path or not all(map(str.isidentifier, path.split("."))):
        raise InvalidSetting(
            place,
            f"is {value!r}",
            "It must be the dotted path of a function, as in 'chat.access.may_listen'.",
        )
    return path


_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", re.ASCII)


def header_names(place: str, value: object) -> tuple[str, ...]:
    names = [value] if isinstance(value, str) else value
    if not isinstance(names, list | tuple | set | frozenset) or not all(
        isinstance(each, str) and _HEADER_NAME.fullmatch(each) for each in names
    ):
        raise InvalidSetting(
            place,
            f"is {value!r}",
            "It must be a list of names of headers, as in ['X-Tenant'].",
        )
    return tuple(sorted({each.lower() for each in names}))


_NAME = re.compile(r"[A-Za-z0-9_-]{1,63}(\.[A-Za-z0-9_-]{1,63})*\.?", re.ASCII)
_HOST = re.compile(
    r"(\[(?P<ipv6>.+)\]|(?P<name>[^:\[\]]+))(:(?P<port>\d{1,5}))?", re.ASCII
)


def _is_address(name: str) -> bool:
    try:
        ip_address(name)
    except ValueError:
        return False
    return True


def _is_host(location: str) -> bool:
    """Return whether this is a host name or address, with or without a port."""
    match = _HOST.fullmatch(location)
    if match is None or int(match["port"] or 1) not in range(1, 65536):
        return False
    if match["ipv6"] is not None:
        return _is_address(match["ipv6"])
    return _NAME.fullmatch(match["name"]) is not None


def positive_seconds(place: str, value: object) -> float:
    number = seconds(place, value)
    if not number:
        raise InvalidSetting(place, "is 0", "It must be a number of seconds above 0.")
    return number


def host(place: str, value: object) -> str:
    location = text(place, value)
    if not _is_host(location):
        raise InvalidSetting(
            place,
            f"is {value!r}",
            "It must be a host, with a port if it is not the usual one, as in"
            " '127.0.0.1:8001'.",
        )
    return location


def address(place: str, value: object) -> str:
    name = text(place, value)
    if not _is_address(name) and not _NAME.fullmatch(name):
        raise InvalidSetting(
            place,
            f"is {value!r}",
            "It must be an address or a host name, without a port.",
        )
    return name


def header(place: str, value: object) -> str:
    line = text(place, value)
    if not line.isascii() or not line.isprintable():
        raise InvalidSetting(place, f"is {value!r}", "A header holds printable ASCII.")
    return line


def one_of(*choices: object) -> Reader:
    def read(place: str, value: object) -> object:
        # Not "in", which takes True for 1 and 304.0 for 304.
        if not any(type(value) is type(each) and value == each for each in choices):
            allowed = ", ".join(repr(choice) for choice in choices)
            near = suggest(value, choices) if isinstance(value, str) else ""
            raise InvalidSetting(
                place, f"is {value!r}", near or f"It must be one of {allowed}."
            )
        return value

    return read


def regex(place: str, value: object) -> re.Pattern[str]:
    try:
        # A channel id may hold any character, so the dot matches newlines, too.
        pattern = re.compile(text(place, value), re.DOTALL)
    except (re.error, OverflowError, RecursionError) as error:
        raise InvalidSetting(
            place,
            f"is {value!r}, which does not compile: {error}",
            "It must be a regular expression.",
        ) from error
    if re.match(r"\^?\w", pattern.pattern):
        raise InvalidSetting(
            place,
            f"is {value!r}, which no path matches",
            "A path begins with a slash, as in r'/updates/([^/]+)'.",
        )
    if pattern.groups != 1:
        raise InvalidSetting(
            place,
            f"is {value!r}, which has {pattern.groups} groups",
            "It needs exactly one, which is the channel id, as in r'/updates/([^/]+)';"
            " write (?:...) for a group that captures nothing.",
        )
    return pattern


def origins(place: str, value: object) -> tuple[str, ...]:
    origins = (value,) if isinstance(value, str) else value
    if not isinstance(origins, list | tuple | set | frozenset) or not origins:
        raise InvalidSetting(
            place, f"is {value!r}", "It must be an origin, a list of origins, or '*'."
        )
    if tuple(origins) == ("*",):
        return ("*",)
    for origin in origins:
        scheme, _, host = str(origin).partition("://")
        if not re.fullmatch(r"[A-Za-z][A-Za-z0-9+.-]*", scheme) or not _is_host(host):
            raise InvalidSetting(
                place,
                f"holds {origin!r}",
                "An origin is a scheme and a host, with a port if it is not the usual"
                " one and without a path, as in 'https://example.com';"
                " '*' stands alone.",
            )
    return tuple(normalize_origin(str(origin)) for origin in origins)


def addresses(place: str, value: object) -> AllowedClients | None:
    if value == "any":
        return None
    addresses = [value] if isinstance(value, str) else value
    if not isinstance(addresses, list | tuple | set | frozenset):
        raise InvalidSetting(
            place, f"is {value!r}", "It must be a list of addresses, or 'any'."
        )
    try:
        return parse_allowed(addresses)
    except ValueError as error:
        raise InvalidSetting(
            place,
            f"holds something that is no address: {error}",
            "Write addresses ('10.0.0.1', '::1'), networks ('10.0.0.0/8'), 'unix' for"
            " clients of a unix socket, or 'any'.",
        ) from error


def internal_addresses() -> AllowedClients:
    return AllowedClients(known_networks(settings.INTERNAL_IPS) or LOOPBACK)


def path(place: str, value: object) -> str:
    hint = "It must be a path ('/passthrough') or a URL with one."
    try:
        url = urlsplit(text(place, value))
    except ValueError:
        raise InvalidSetting(place, f"is {value!r}, which has no path", hint) from None
    if not url.path.startswith("/"):
        raise InvalidSetting(place, f"is {value!r}, which has no path", hint)
    if url.query:
        raise InvalidSetting(
            place, f"is {value!r}, whose query is not passed to the view", hint
        )
    return unquote(url.path)


def names_of(choices: Callable[[], Iterable[str]]) -> Reader:
    """Return a reader of a list of names, or of a single name.

    Args:
        choices: Returns the known names.
    """

    def read(place: str, value: object) -> tuple[str, ...]:
        names = [value] if isinstance(value, str) else value
        if not isinstance(names, list | tuple | set | frozenset) or not names:
            raise InvalidSetting(
                place,
                f"is {value!r}",
                f"It must be a list of these: {', '.join(map(repr, choices()))}.",
            )
        known = tuple(choices())
        for name in names:
            if name not in known:
                raise InvalidSetting(
                    place,
                    f"holds {name!r}",
                    suggest(name, known)
                    or f"It must be a list of these: {', '.join(map(repr, known))}.",
                )
        return tuple(dict.fromkeys(names))

    return read


def first_message(place: str, value: object) -> str | int:
    is_number = isinstance(value, int) and not isinstance(value, bool)
    if (is_number and value < 0) or value in ("oldest", "newest"):  # type: ignore[operator]
        return value  # type: ignore[return-value]
    raise InvalidSetting(
        place,
        f"is {value!r}",
        "It must be 'oldest', 'newest', or a negative number, as -5 for the last five"
        " messages.",
    )


#: The characters that may separate channel ids: those that browsers leave
#: unencoded in a path, except letters, digits, ``/`` and ``.``.
SEPARATORS = "!$&'()*+,;=:@|~_-"


def separator(place: str, value: object) -> str:
    if not isinstance(value, str) or len(value) != 1 or value not in SEPARATORS:
        raise InvalidSetting(
            place,
            f"is {value!r}",
            f"It must be one character of these, such as ',': {SEPARATORS} .",
        )
    return value


def secret(place: str, value: object) -> str:
    if not isinstance(value, str) or not value:
        # The value is not shown, because it may be a secret.
        raise InvalidSetting(place, "is not a text", "It must be a text.")
    return Password(value)


def redis_url(place: str, value: object) -> str:
    url = SecretText(text(place, value))
    # Not by urlsplit(), which rejects some URLs with several hosts. The rest of the URL
    # is not assigned to a variable, because Django's error page shows local variables.
    scheme = url.partition("://")[0]
    schemes = [
        secure + kind
        for kind in ("", "+sentinel", "+cluster")
        for secure in ("redis", "rediss")
    ]
    if scheme not in [*schemes, "unix"] or not url.partition("://")[2]:
        # The URL is not shown, because it may hold a password.
        raise InvalidSetting(
            place,
            "is not a URL of Redis",
            f"It begins with {', '.join(schemes)} or unix, as in"
            " 'redis://127.0.0.1:6379/0'.",
        )
    return url


def key_prefix(place: str, value: object) -> str:
    if not isinstance(value, str) or "{" in value or "}" in value:
        raise InvalidSetting(
            place,
            f"is {value!r}",
            "It must be a text without braces, which mean something to Redis.",
        )
    return value


def layer(place: str, value: object) -> str:
    alias = text(place, value)
    layers = getattr(settings, "CHANNEL_LAYERS", {})
    if alias not in layers:
        raise InvalidSetting(
            place,
            f"is {alias!r}, which is not in CHANNEL_LAYERS",
            suggest(alias, layers) or "Configure the channel layer there.",
        )
    return alias


def no_channel_limit(place: str, value: object) -> int:
    if count(place, value):
        raise InvalidSetting(
            place,
            f"is {value!r}, but a store that processes share does not count its"
            " channels",
            "Leave it out; 'channel_timeout' and Redis's own maxmemory limit them.",
        )
    return 0


def no_size_limit(place: str, value: object) -> int:
    if count(place, value):
        raise InvalidSetting(
            place,
            f"is {value!r}, but a store in Redis does not count its bytes",
            "Leave it out; 'max_messages' and Redis's own maxmemory limit them.",
        )
    return 0


def setting(read: Reader, **default: Any) -> Any:
    """Return a dataclass field with a reader and, if given, a default."""
    return field(metadata={"read": read}, **default)


def suggest(value: object, known: Any) -> str:
    """Return a question that names the most similar known name, or an empty text."""
    names = [name for name in known if isinstance(name, str)]
    near = get_close_matches(str(value), names, n=1)
    return f"Did you mean {near[0]!r}?" if near else ""


def _is_required(setting: Field[Any]) -> bool:
    return setting.default is MISSING and setting.default_factory is MISSING


def read_section(section: type[Section], place: str, raw: object) -> Section:
    """Return a dataclass of settings from a dict, or raise :class:`InvalidSetting`."""
    if not isinstance(raw, Mapping):
        raise InvalidSetting(place, f"is {raw!r}", "It must be a dict.")
    known = {setting.name: setting for setting in fields(section)}  # type: ignore[arg-type]
    for key in raw:
        if key not in known:
            raise InvalidSetting(
                f"{place}[{key!r}]",
                "is not a known setting",
                suggest(key, known) or f"Known are {', '.join(known)}.",
            )
    for name, setting in known.items():
        if name not in raw and _is_required(setting):
            raise InvalidSetting(place, f"has no {name!r}", f"Add the key {name!r}.")
    return section(
        **{
            # None means "not set", as in version 0.3.
            name: known[name].metadata["read"](f"{place}[{name!r}]", value)
            for name, value in raw.items()
            if value is not None or _is_required(known[name])
        }
    )
