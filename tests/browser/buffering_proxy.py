"""A proxy that passes an answer on when it is complete, as some companies' ones do."""

from __future__ import annotations

from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import httpx

from tests import http

#: Headers of a connection, which a proxy does not pass on.
_OWN = {"connection", "keep-alive", "transfer-encoding", "host", "content-length"}


class BufferingProxy:
    """Passes on GET and OPTIONS to a server, as a context manager.

    Args:
        target: The URL of the server.

    Attributes:
        url: Its own URL.
    """

    def __init__(self, target: str) -> None:
        self.target = target
        self._client = http.Client(timeout=None)
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._make_handler())
        self._server.daemon_threads = True
        self._server.block_on_close = False  # Streams that it has begun never end.
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = Thread(target=self._server.serve_forever, args=[0.01])

    def _make_handler(proxy) -> type[BaseHTTPRequestHandler]:  # noqa: N805
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                headers = {
                    name: value
                    for name, value in self.headers.items()
                    if name.lower() not in _OWN
                }
                url = proxy.target + self.path
                try:
                    answer = proxy._client.request(self.command, url, headers=headers)
                except (httpx.HTTPError, RuntimeError):
                    self.close_connection = True
                    return
                self.send_response_only(answer.status_code)
                for name, value in answer.headers.multi_items():
                    if name.lower() not in _OWN:
                        self.send_header(name, value)
                if answer.status_code != 304:
                    self.send_header("Content-Length", str(len(answer.content)))
                self.end_headers()
                self.wfile.write(answer.content)

            do_OPTIONS = do_GET

            def log_message(self, *args: object) -> None:
                pass

        return Handler

    def __enter__(self) -> BufferingProxy:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._client.close()
        self._thread.join()
