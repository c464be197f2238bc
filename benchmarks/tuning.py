"""Daphne with some of ``runpushserver``'s measures: ``python -m benchmarks.tuning``.

The arguments are a port and the names of measures. Without measures it is unmodified
Daphne, with all of them ``runpushserver``.
"""

from __future__ import annotations

import sys
from typing import Any

MEASURES = {
    "collector": "garbage collector looks less often",
    "requests": "finished requests forgotten at once, no sweeps",
    "idle": "one idle timer for all connections",
    "log": "no line formatted for a log that nobody reads",
    "write": "one write for each answer",
    "body": "bodies not searched for forms",
}


def main(port: str, *measures: str) -> None:
    import daphne.server
    from daphne.http_protocol import HTTPFactory, WebRequest
    from twisted.web.http import HTTPChannel

    from pushserver_channels.collector import tune_collector
    from pushserver_channels.server.bodies import find_no_limit
    from pushserver_channels.server.connections import Connection, Factory
    from pushserver_channels.server.daphne import BACKLOG, Server
    from pushserver_channels.server.requests import REQUEST_OPTIONS, Request

    from .site.asgi import application

    class ChosenRequest(Request if "write" in measures else WebRequest):
        def __init__(self, *args: Any) -> None:
            options = REQUEST_OPTIONS if "body" in measures else {}
            WebRequest.__init__(self, *args, **options)

    class ChosenFactory(Factory):
        protocol = Connection if "write" in measures else HTTPChannel

        def buildProtocol(self, addr: Any) -> Any:  # noqa: N802
            connection = HTTPFactory.buildProtocol(self, addr)
            connection.requestFactory = ChosenRequest
            if "idle" in measures:
                connection.callLater = self.call_later
            return connection

        def log(self, request: Any) -> None:
            if "log" not in measures:
                HTTPFactory.log(self, request)

    class ChosenServer(Server if "requests" in measures else daphne.server.Server):
        find_limit = staticmethod(find_no_limit)

        @property
        def http_factory(self) -> Any:
            return self._http_factory

        @http_factory.setter
        def http_factory(self, factory: Any) -> None:
            self._http_factory = ChosenFactory(self)

    ChosenServer(
        application,
        endpoints=[f"tcp:port={port}:interface=127.0.0.1:backlog={BACKLOG}"],
        ready_callable=tune_collector if "collector" in measures else None,
    ).run()


if __name__ == "__main__":
    main(*sys.argv[1:])
