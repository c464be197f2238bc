"""What happens to held requests when a server is stopped."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from tests.servers import ServerProcess, daphne, wait_until

from .servers import PATHS, granian, push_server, uvicorn
from .sites import Client, Relay, Site

SERVERS = {"Daphne": daphne, "uvicorn": uvicorn, "granian": granian}

Start = Callable[..., tuple[ServerProcess, Relay]]


@pytest.fixture
def start(request: pytest.FixtureRequest, client: Client) -> Iterator[Start]:
    """Start a server for one test."""
    if request.config.getoption("server", None):
        pytest.skip("a server that runs already is not stopped")
    with ExitStack() as stack:

        def start(name: str) -> tuple[ServerProcess, Relay]:
            server = stack.enter_context(SERVERS[name](push_server(type="memory")))
            relay = Relay(Site(name, (server.url,), PATHS), client)
            stack.callback(relay.hang_up)
            return server, relay

        yield start


def _has_ended(server: ServerProcess) -> Callable[[], bool]:
    return lambda: server.process.poll() is not None


@pytest.mark.parametrize(
    "how", [signal.SIGTERM, signal.SIGINT], ids=lambda how: how.name
)
@pytest.mark.parametrize("name", SERVERS)
def test_held_requests_get_503_at_shutdown(
    start: Start, name: str, how: signal.Signals
) -> None:
    """Each held request is answered with 503 and Retry-After."""
    server, relay = start(name)
    held = [relay.hold() for _ in range(5)]
    relay.wait_until_held(5)
    server.process.send_signal(how)
    for each in held:
        answer = each.answer()
        assert answer.status == 503
        assert int(answer.headers["Retry-After"]) > 0
    wait_until(_has_ended(server))


@pytest.mark.parametrize("name", SERVERS)
def test_idle_server_shuts_down_without_delay(start: Start, name: str) -> None:
    """The push server does not delay the end of an idle server."""
    server, relay = start(name)
    relay.publish()
    assert relay.get().status == 200
    server.process.send_signal(signal.SIGTERM)
    wait_until(_has_ended(server))
