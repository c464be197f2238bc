"""The limits on what subscribers may hold, and their defaults."""

from __future__ import annotations

from collections.abc import Iterable

from pushserver.addresses import AllowedClients, parse_allowed

from .readers import InvalidSetting

try:
    import resource
except ImportError:  # On Windows.
    resource = None  # type: ignore[assignment]

#: The most that one address holds by default.
MAX_HELD_PER_CLIENT = 1000

#: The open files of a process where the system does not limit them, or does not say.
USUAL_FILES = 8192

#: The least number of open files that are left to the site and its publishers.
MIN_RESERVE = 100


def trusted_proxies(place: str, value: object) -> AllowedClients:
    proxies = [value] if isinstance(value, str) else value
    hint = (
        "Write the addresses ('10.0.0.1', '::1') and networks ('10.0.0.0/8') of your"
        " proxies, and 'unix' for one that uses a unix socket."
    )
    if not isinstance(proxies, Iterable):
        raise InvalidSetting(place, f"is {value!r}", hint)
    try:
        return parse_allowed(proxies)
    except ValueError as error:
        raise InvalidSetting(
            place, f"holds something that is no address: {error}", hint
        ) from error


def find_open_files() -> int | None:
    """Return how many files this process may open, None if there is no limit."""
    if resource is None:
        return None
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return None if soft == resource.RLIM_INFINITY else soft


def find_max_held() -> int:
    """Return the default of ``max_held`` in this process.

    It is three quarters of the files that the process may open, and leaves 100 of them
    to the site and its publishers, or half of them if there are fewer than 200.
    """
    files = find_open_files() or USUAL_FILES
    return files - min(max(files // 4, MIN_RESERVE), files // 2)


def find_max_held_per_client(max_held: int) -> int:
    """Return the default of ``max_held_per_client``.

    Args:
        max_held: The limit of the process, 0 for none.
    """
    if not max_held:
        return MAX_HELD_PER_CLIENT
    return max(min(MAX_HELD_PER_CLIENT, max_held // 4), 1)
