"""The example of units for systemd."""

from __future__ import annotations

import configparser
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from . import http
from .conformance.servers import environment, need
from .servers import LOCATIONS, ROOT, ServerProcess

UNITS = ROOT / "example_project/systemd"
INSTALL = "apt install systemd"

pytestmark = pytest.mark.process


def read_command() -> list[str]:
    """Return the command that the service starts."""
    unit = configparser.RawConfigParser(strict=False)
    unit.read(UNITS / "site.service")
    return shlex.split(unit["Service"]["ExecStart"])


def test_systemd_accepts_the_units(tmp_path: Path) -> None:
    """systemd finds no fault in the units, if the program is where they say."""
    need(shutil.which("systemd-analyze"), "systemd-analyze", INSTALL)
    files = []
    for name in ("site.socket", "site.service"):
        text = (UNITS / name).read_text().replace(read_command()[0], sys.executable)
        files.append(tmp_path / name)
        files[-1].write_text(text.replace("/srv/site", str(tmp_path)))
    done = subprocess.run(
        ["systemd-analyze", "verify", *files], capture_output=True, text=True
    )
    ours = [line for line in done.stderr.splitlines() if "site." in line]
    assert ours == []


def test_daphne_knows_clients_of_the_socket() -> None:
    """On the socket that systemd opens, Daphne knows that a publisher is local."""
    need(shutil.which("systemd-socket-activate"), "systemd-socket-activate", INSTALL)
    _, *arguments, _ = read_command()
    server = ServerProcess(
        *("systemd-socket-activate", "--listen", "{port}", "--fdname", "site"),
        *("-E", "DJANGO_SETTINGS_MODULE", "-E", "TEST_PUSH_SERVER"),
        *(sys.executable, "-m", "daphne", *arguments, "tests.asgi:application"),
        env=environment({"locations": LOCATIONS}),
    )
    with server:
        answer = http.post(f"{server.url}/send-update/a", content=b"hello")
        assert answer.status_code == 202
