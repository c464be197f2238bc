"""Assign tests to the workers of pytest-xdist."""

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
    """Return the group of a test; tests of one group run in the same worker.

    Each worker starts the servers of its tests, so in the folders tests of one server
    stay together. Other tests stay together by file, because of module fixtures. Each
    fault starts its own processes.

    Args:
        nodeid: Its id, like ``tests/live/test_storms.py::test_resets[granian-held]``.
    """
    file, _, test = nodeid.partition("::")
    folder = file.removeprefix("tests/").partition("/")[0]
    if folder == "faults":
        return nodeid
    if folder == "browser":
        return folder
    if folder.endswith(".py"):
        return file
    params = test.partition("[")[2].removesuffix("]").split("-")
    server = next((each for each in params if each in SERVERS), "")
    return f"{folder} {server}" if folder == "conformance" else f"{file} {server}"


class ServerScheduling(LoadScopeScheduling):
    """Assigns each group of tests to one worker."""

    def _split_scope(self, nodeid: str) -> str:
        return group(nodeid)
