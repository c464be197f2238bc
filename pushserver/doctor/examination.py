"""The checks that are made through the public URL, and their order."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

from pushserver.conf import get_settings

from .cross_origin import check_cross_origin, check_preflight
from .delivery import (
    check_cache,
    check_delay,
    check_etag,
    check_receiving,
    check_sending,
)
from .findings import Failure, Finding, NotApplicable, NotChecked
from .limits import check_clock, check_publishing, check_size, check_timeout
from .locations import find_locations, find_stream_locations
from .passthrough import check_passthrough
from .probe import Probe
from .processes import check_processes
from .scripts import check_script
from .streams import (
    check_stream,
    check_stream_timeout,
    check_websocket,
    check_websocket_timeout,
)

#: Returns a sentence if all is well, or raises an exception of :mod:`.findings`.
Check = Callable[[Probe], str]

#: The checks that find out what the others need.
FIRST: list[Check] = [check_sending, check_processes, check_receiving]

#: The checks that do not need a message to be received.
ALWAYS: list[Check] = [check_script, check_publishing]

#: The checks that make sense only if each request finds the same messages.
OTHERS: list[Check] = [
    check_etag,
    check_cache,
    check_delay,
    check_stream,
    check_websocket,
    check_cross_origin,
    check_preflight,
    check_passthrough,
    check_clock,
    check_size,
]

#: The checks that take longest, and run beside the others.
LONG: list[Check] = [check_timeout, check_stream_timeout, check_websocket_timeout]


class Examination:
    """One run of all checks.

    Args:
        url: The public URL of the site.
        patience: Seconds within which a request that is not held must be answered.
        delay: Seconds within which a message must reach a waiting subscriber.
    """

    def __init__(self, url: str, *, patience: float = 5, delay: float = 2) -> None:
        conf = get_settings()
        publisher, subscriber = find_locations(conf)
        store = conf.store[publisher.store]
        self._probe = Probe(
            *(url, publisher, subscriber, store),
            patience=patience,
            delay=delay,
            streams=find_stream_locations(conf, publisher),
        )

    def run(self) -> Iterator[Finding]:
        """Make all checks, and yield the finding of each as soon as it is known."""
        probe = self._probe
        try:
            for check in FIRST:
                yield self._find(check)
            with ThreadPoolExecutor(len(LONG)) as threads:
                waiting = [threads.submit(self._find, each) for each in LONG]
                for check in (*ALWAYS, *OTHERS):
                    yield self._find(check)
                for each in waiting:
                    yield each.result()
        finally:
            probe.clean_up()

    def _find(self, check: Check) -> Finding:
        """Make a check, and return its finding."""
        name = check.__name__.removeprefix("check_").replace("_", "-")
        try:
            return Finding(name, True, check(self._probe))
        except Failure as failure:
            return Finding(name, False, failure.text, failure.advice)
        except NotChecked as reason:
            return Finding(name, None, str(reason))
        except NotApplicable as reason:
            return Finding(name, None, str(reason), applies=False)


def check_url(url: str) -> None:
    """Raise ``ValueError``, with a message to show, unless this is a site's URL."""
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
