"""HTTP requests from tests to local servers, with httpx."""

from __future__ import annotations

import ssl
from functools import partial

import httpx

#: Used for all clients. Without it, each new client, and so each ``httpx.get()``, reads
#: the certificates of all authorities, which takes 50 ms of CPU time.
_CONTEXT = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)

get = partial(httpx.get, verify=_CONTEXT)
post = partial(httpx.post, verify=_CONTEXT)
put = partial(httpx.put, verify=_CONTEXT)
delete = partial(httpx.delete, verify=_CONTEXT)
Client = partial(httpx.Client, verify=_CONTEXT)
AsyncClient = partial(httpx.AsyncClient, verify=_CONTEXT)
HTTPTransport = partial(httpx.HTTPTransport, verify=_CONTEXT)
