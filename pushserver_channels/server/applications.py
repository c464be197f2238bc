"""ASGI applications around the push locations, for ``runpushserver``."""

from __future__ import annotations

import re
from urllib.parse import quote

from pushserver_channels.sandbox import NOSNIFF
from pushserver_channels.types import Application, Receive, Scope, Send

_TARGET = re.compile(
    rb"([A-Za-z][A-Za-z0-9+.-]*://[^/]*(?=/|$)|(?=/))(?P<path>/.*)?", re.DOTALL
)

#: The characters of a path or a query that are not percent-encoded. % is one of them,
#: because the text may be encoded already.
_SAFE = "/%:@!$&'()*+,;=-._~?"


async def not_found(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer 404: no push location matches the path, and nothing else is served."""
    if scope["type"] != "http":
        raise ValueError(f"Only HTTP is served here, not {scope['type']}.")
    await _respond(send, 404, [], b"No push location matches this path.\n")


class ForceHost:
    """Redirects requests for other hosts to one host.

    Args:
        application: Answers the requests for this host.
        host: The host, with a port unless it is the default one.
    """

    def __init__(self, application: Application, host: str) -> None:
        self._application = application
        self._host = host
        self._name = _host_name(host)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = dict(scope.get("headers", ()))
        asked = _host_name(headers.get(b"host", b"").decode("latin-1"))
        if scope["type"] != "http" or asked == self._name:
            await self._application(scope, receive, send)
            return
        path = _read_path(scope["raw_path"])
        if path is None:
            await _respond(send, 400, [], b"The request has no path.\n")
            return
        scheme = "https" if scope["scheme"] == "https" else "http"
        url = f"{scheme}://{self._host}{path}"
        if scope["query_string"]:
            url += "?" + quote(scope["query_string"], safe=_SAFE)
        await _respond(send, 301, [(b"location", url.encode())], b"Moved.\n")


def _read_path(target: bytes) -> str | None:
    """Return the path of a request target, to append to a host; None without a path.

    A target may be an absolute URL (RFC 9112, section 3.2.2), or malicious: appended to
    a host, ``@evil.example/`` would turn the host into a user name.
    """
    match = _TARGET.fullmatch(target.partition(b"?")[0])
    if match is None:
        return None
    return "/" + quote((match["path"] or b"").lstrip(b"/\\"), safe=_SAFE)


def _host_name(host: str) -> str:
    """Return a host in lower case, without its port."""
    name, _, port = host.lower().rpartition(":")
    # The last colon may be inside an IPv6 address in brackets.
    return name if name and not port.endswith("]") else host.lower()


async def _respond(
    send: Send, status: int, headers: list[tuple[bytes, bytes]], body: bytes
) -> None:
    """Send an answer in plain text, with additional headers."""
    headers = [
        (b"content-type", b"text/plain; charset=utf-8"),
        (b"content-length", b"%d" % len(body)),
        NOSNIFF,
        *headers,
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
