"""The load generator: one C file, compiled when it is first needed.

It is a single thread on epoll that checks every answer byte for byte. That it is never
what limits a result shows in the share of its core that it was busy, which is told with
each line, beside the server's in the JSON file: this one has time left.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from shutil import which
from typing import Any

from . import cores
from .processes import ROOT, Server

SOURCE = Path(__file__).with_name("pushload.c")
PROGRAM = ROOT / "build" / "pushload"

#: Seconds after which a run that does not end by itself is given up.
TIME_LIMIT = 120

#: Clients that connect in a second, how long they are left alone when all are there,
#: and seconds without a message after which a run has failed.
PACE = ("--conn-rate", 4000, "--settle", 0.3, "--warmup", 1, "--stall", 10)

#: What must not happen to any message.
FAULTS = ("lost", "dup", "out_of_order", "corrupt", "errors")


class LoadFailed(Exception):
    """The server did not do what it was measured at."""


def compile_generator() -> None:
    """Compile the generator, unless it was since the source last changed."""
    if PROGRAM.exists() and PROGRAM.stat().st_mtime >= SOURCE.stat().st_mtime:
        return
    compiler = which("cc")
    if compiler is None:
        sys.exit(
            "The load generator is written in C, and there is no compiler here."
            " On Debian and Ubuntu: apt install gcc libc6-dev"
        )
    PROGRAM.parent.mkdir(exist_ok=True)
    subprocess.run([compiler, "-O2", "-o", PROGRAM, SOURCE], check=True)


def run(server: Server, mode: str, *options: object) -> dict[str, Any]:
    """Put a server under load, and return the generator's report.

    Raises :class:`LoadFailed` if a message was lost, doubled, out of order or damaged.
    """
    generator = _start(server, mode, *PACE, *options)
    output, complaints = generator.communicate()
    if generator.returncode not in (0, 1):
        raise LoadFailed(complaints.strip())
    report: dict[str, Any] = json.loads(output)
    if generator.returncode:
        faults = {name: report[name] for name in FAULTS if report.get(name)}
        raise LoadFailed(f"{faults or 'stalled'} {complaints.strip()}")
    return report


@contextmanager
def held(server: Server, clients: int) -> Iterator[None]:
    """Have as many clients wait at a server; they vanish at the end of the block."""
    with tempfile.TemporaryDirectory() as folder:
        ready = Path(folder, "ready")
        generator = _start(
            *(server, "idle", *PACE, "-N", clients),
            *("-d", TIME_LIMIT, "--ready-file", ready),
        )
        try:
            while not ready.exists():
                if generator.poll() is not None:
                    raise LoadFailed(generator.communicate()[1].strip())
                time.sleep(0.05)
            yield
        finally:
            generator.kill()
            generator.communicate()


def _start(server: Server, mode: str, *options: object) -> subprocess.Popen[str]:
    compile_generator()
    command = [PROGRAM, mode, *options, "--timeout", TIME_LIMIT]
    command += ["--pid", ",".join(map(str, server.pids))]
    if mode != "publish":
        command += ["--sub", f"{server.url}/updates/{{ch}}"]
    if mode != "idle":
        command += ["--pub", f"{server.url}/send-update/{{ch}}"]
    return subprocess.Popen(
        [str(part) for part in command],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=cores.pin_to(cores.LOAD),
    )
