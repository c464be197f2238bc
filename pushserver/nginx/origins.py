"""The rule of ``pushserver.origins``, which pages may publish, as an nginx map."""

from __future__ import annotations

import re
from collections.abc import Iterator

from django.conf import settings

from pushserver.conf import PublisherLocation
from pushserver.origins import named_hosts, normalize_origin

from .writer import Writer, quote

#: The input of the rule: the browser's two headers and the site's own origin. If both
#: headers are missing, it begins with two spaces.
_KEY = '"$http_sec_fetch_site $http_origin $scheme://$http_host"'


def write_origin_map(out: Writer, variable: str, location: PublisherLocation) -> None:
    """Write a map that makes a variable true if a page may not publish.

    Args:
        out: The configuration.
        variable: The name of the variable, without the dollar sign.
        location: The publisher location.
    """
    with out.block(f"map {_KEY} ${variable}"):
        out.line("default 1;")
        for pattern in _allowed(location):
            out.line(f'{quote("~*^" + pattern)} "";')


def write_origin_refusal(out: Writer, variable: str) -> None:
    """Write the directive that refuses a page that may not publish."""
    out.comment("Pages of other sites, in a browser at an allowed address.")
    with out.block(f"if (${variable})"):
        out.line(
            'return 403 "Pages of this origin may not publish here. Add it to'
            " 'allow_origin' of the publisher location or to CSRF_TRUSTED_ORIGINS (or"
            " its host to ALLOWED_HOSTS, if it is this one), and print nginx's"
            ' configuration again.\\n";'
        )


def _allowed(location: PublisherLocation) -> Iterator[str]:
    """Yield patterns of the requests that are allowed."""
    # Requests without an Origin that do not come from another site's page.
    yield r"(?!cross-site)\S*  \S+$"
    hosts = "|".join(map(_host_pattern, named_hosts()))
    if hosts:
        yield rf"\S* (https?://(?:{hosts})(?::\d+)?) \1$"
    if "*" in location.allow_origin:
        yield r"\S* (?!null )\S+ "
        return
    trusted = map(normalize_origin, settings.CSRF_TRUSTED_ORIGINS)
    origins = [*location.allow_origin, *trusted]
    if origins:
        yield rf"\S* (?:{'|'.join(map(_origin_pattern, origins))}) "


def _host_pattern(host: str) -> str:
    """Return a pattern for an entry of ``ALLOWED_HOSTS``, which may mean subdomains."""
    subdomains = r"(?:[^ /:]+\.)?" if host.startswith(".") else ""
    return subdomains + re.escape(host.lstrip("."))


def _origin_pattern(origin: str) -> str:
    scheme, _, host = origin.partition("://")
    if host.startswith("*."):
        host = host[1:]
    return re.escape(f"{scheme}://") + _host_pattern(host)
