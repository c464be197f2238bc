"""What is examined through the public URL, and in which order."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from urllib.parse import urlsplit

from pushserver.conf import get_settings

from .findings import Failure, Finding, NotTried
from .limits import check_clock, check_publishing, check_size, check_timeout
from .locations import find_locations
from .messages import (
    check_cache,
    check_delay,
    check_etag,
    check_receiving,
    check_sending,
)
from .pages import check_cross_origin, check_passthrough, check_preflight
from .way import Way

#: Each returns what is well, or raises. The first two find out what the others need.
CHECKS: list[Callable[[Way], str]] = [
    check_sending,
    check_receiving,
    check_etag,
    check_cache,
    check_delay,
    check_cross_origin,
    check_preflight,
    check_passthrough,
    check_clock,
    check_size,
    check_publishing,
]


class Examination:
    """Looks at the way from this process to subscribers and back, once.

    Args:
        url: The public URL of the site, as browsers have it.
        patience: Seconds in which an answer has to come that is not held.
        delay: Seconds that a message may take to a waiting subscriber.
    """

    def __init__(self, url: str, *, patience: float = 5, delay: float = 2) -> None:
        publisher, subscriber = find_locations(get_settings())
        self._way = Way(url, publisher, subscriber, patience=patience, delay=delay)

    def run(self) -> Iterator[Finding]:
        """Yield what each check found, as soon as it is known."""
        way = self._way
        with ThreadPoolExecutor(1) as threads:
            # What takes longest goes on beside the rest.
            waiting = threads.submit(check_timeout, way)
            try:
                for check in CHECKS:
                    yield _find(check.__name__, partial(check, way))
                yield _find(check_timeout.__name__, waiting.result)
            finally:
                waiting.cancel()
                way.clean_up()


def _find(name: str, check: Callable[[], str]) -> Finding:
    name = name.removeprefix("check_").replace("_", "-")
    try:
        return Finding(name, True, check())
    except Failure as failure:
        return Finding(name, False, failure.text, failure.advice)
    except NotTried as reason:
        return Finding(name, None, str(reason))


def check_url(url: str) -> None:
    """Raise ``ValueError``, with a sentence, for what is no public URL."""
    try:
        parts = urlsplit(url)
        host, _ = (parts.hostname or "").encode("idna"), parts.port
    except ValueError:
        host = b""
    is_plain = host and not parts.query and not parts.fragment
    if (
        not is_plain
        or parts.scheme not in ("http", "https")
        or not re.fullmatch("[!-~]*", parts.path)
    ):
        raise ValueError(f"{url!r} is no URL of a site, as https://example.com is one.")
