"""Which tests go to which worker of pytest-xdist."""

from __future__ import annotations

from xdist.scheduler import LoadScopeScheduling

from .conformance.servers import ROWS

#: The names of servers in the parameters of tests.
SERVERS = {
    *ROWS,
    *("Daphne", "runpushserver", "granian"),
    *("uvicorn, h11", "uvicorn, httptools"),
}


def group(nodeid: str) -> str:
    """Return what the tests have in common that belong in one worker.

    Servers are started once for each worker that has a test of theirs, so tests of one
    server stay together. Others stay together by file, for what a module starts; each
    fault starts its own world.

    Args:
        nodeid: The test, like ``tests/live/test_storms.py::test_resets[granian-held]``.
    """
    file, _, test = nodeid.partition("::")
    folder = file.removeprefix("tests/").partition("/")[0]
    if folder == "faults":
        return nodeid
    if folder == "browser":
        return folder
    params = test.partition("[")[2].removesuffix("]").split("-")
    server = next((each for each in params if each in SERVERS), "")
    return f"{folder} {server}" if folder == "conformance" else f"{file} {server}"


class ServerScheduling(LoadScopeScheduling):
    """Gives each worker the whole group of a test."""

    def _split_scope(self, nodeid: str) -> str:
        return group(nodeid)
