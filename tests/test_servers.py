"""The servers that tests start."""

from __future__ import annotations

import sys

import pytest

from .servers import ROOT, ServerProcess

SCRIPT = """
import socket, sys
print(sys.argv[2], flush=True)
with socket.create_server(("127.0.0.1", int(sys.argv[1]))) as server:
    while True:
        server.accept()[0].close()
"""


@pytest.mark.process
@pytest.mark.parametrize(
    ("line", "fails"),
    [
        (f"{ROOT}/pushserver/views.py:1: RemovedInDjango70Warning: old", True),
        (f"{ROOT}/pushserver_channels/hub/hub.py:1: DeprecationWarning: old", True),
        (f"{ROOT}/pushserver/views.py:1: ResourceWarning: unclosed", False),
        (f"{ROOT}/.venv/lib/other/a.py:1: DeprecationWarning: old", False),
    ],
)
def test_deprecated_calls_of_a_server_are_reported(line: str, fails: bool) -> None:
    """A warning in a server's log fails the test if this package is deprecated."""
    server = ServerProcess(sys.executable, "-c", SCRIPT, "{port}", line)
    server.start()
    if fails:
        with pytest.raises(AssertionError, match="old"):
            server.__exit__()
    else:
        server.__exit__()
