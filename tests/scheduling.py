"""Assign tests to the workers of pytest-xdist."""

from __future__ import annotations

from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling

from .conformance.servers import ROWS
from .faults.faults import FAULTS

#: The names of servers in the parameters of tests.
SERVERS = {
    *ROWS,
    *("Daphne", "runpushserver", "granian"),
    *("uvicorn, h11", "uvicorn, httptools"),
    *("daphne", "h11", "httptools"),
}

#: The faults that share processes, by the test's name.
WORLDS = {
    f"test_a_fault[{fault.name}-{store}]": f"faults {store}"
    for fault in FAULTS
    for store in fault.stores
    if fault.may_share
}

#: The browser tests that share no server with the others.
BROWSER_ALONE = {
    f"tests/browser/test_{name}.py"
    for name in ("board", "messages_as_pages", "nginx", "readme")
}


def group(nodeid: str) -> str:
    """Return the group of a test; tests of one group run in the same worker.

    Each worker starts the servers of its tests, so in the folders tests of one server
    stay together. Other tests stay together by file, because of module fixtures, and
    faults by the processes that they share. Two workers start a browser: one would be
    the last to finish.

    Args:
        nodeid: Its id, like ``tests/live/test_storms.py::test_resets[granian-held]``.
    """
    file, _, test = nodeid.partition("::")
    folder = file.removeprefix("tests/").partition("/")[0]
    if folder == "faults":
        return WORLDS.get(test, nodeid)
    if folder == "browser":
        return f"{folder}, alone" if file in BROWSER_ALONE else folder
    if folder.endswith(".py"):
        return file
    params = test.partition("[")[2].removesuffix("]").split("-")
    server = next((each for each in params if each in SERVERS), "")
    shares = folder == "conformance" or (folder == "live" and server)
    return f"{folder} {server}" if shares else f"{file} {server}"


class ServerScheduling(LoadScopeScheduling):
    """Assigns each group of tests to one worker.

    The order is that of the folders, which has the longest groups first and those
    without processes last.
    """

    def __init__(self, config: pytest.Config, log: Any = None) -> None:
        super().__init__(config, log)
        config.option.loadscopereorder = False

    def _split_scope(self, nodeid: str) -> str:
        return group(nodeid)
