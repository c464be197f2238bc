"""HTTP requests from tests to local servers, with httpx."""

from __future__ import annotations

import ssl
from functools import partial
from typing import Any

import httpx

from .waiting import PATIENCE

#: Without this ``verify``, each new client, and so each ``httpx.get()``, reads the
#: certificates of all authorities, which takes 50 ms of CPU time. The other option is
#: the seconds to wait for a server on a busy machine.
_DEFAULTS: dict[str, Any] = {
    "verify": ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT),
    "timeout": PATIENCE,
}

get = partial(httpx.get, **_DEFAULTS)
post = partial(httpx.post, **_DEFAULTS)
put = partial(httpx.put, **_DEFAULTS)
delete = partial(httpx.delete, **_DEFAULTS)
options = partial(httpx.options, **_DEFAULTS)
Client = partial(httpx.Client, **_DEFAULTS)
AsyncClient = partial(httpx.AsyncClient, **_DEFAULTS)
HTTPTransport = partial(httpx.HTTPTransport, verify=_DEFAULTS["verify"])
