"""Follow a page of the documentation as its reader does, in the folder of a site."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import replace
from doctest import ELLIPSIS, NORMALIZE_WHITESPACE, OutputChecker
from itertools import groupby
from pathlib import Path
from textwrap import indent

from tests.servers import ServerProcess

from .blocks import Block

#: Runs a command without the tests' settings, which a reader does not have.
CLEAN = ("env", "-u", "DJANGO_SETTINGS_MODULE", "-u", "TEST_PUSH_SERVER")

#: The port of a reader's server, if its command names none. The tests take free ports
#: in place of those in commands and settings.
USUAL_PORT = "8000"

#: The Redis of a reader.
USUAL_REDIS = "redis://127.0.0.1:6379/0"

#: Seconds that a command may take.
PATIENCE = 120


class Reader:
    """Somebody who follows a page in a folder, as a context manager.

    Args:
        folder: The folder of the site.
        redis: The URL of a Redis, None if the page needs none.
    """

    def __init__(self, folder: Path, redis: str | None = None) -> None:
        self.folder = folder
        self.output = ""
        self.servers: dict[str, ServerProcess] = {}
        self._redis = redis
        self._stack = ExitStack()

    @property
    def server(self) -> ServerProcess:
        """The server that was started last."""
        return next(reversed(self.servers.values()))

    def __enter__(self) -> Reader:
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    def follow(self, blocks: Iterable[Block]) -> None:
        """Do what each block says, or raise ``AssertionError`` with its place.

        Blocks to try that follow each other are typed into one shell.
        """
        kept = [block for block in blocks if block.verb != "fragment"]
        for verb, group in groupby(kept, key=lambda block: block.verb):
            same = list(group)
            if verb == "try":
                code = "\n".join(block.code for block in same)
                same = [replace(same[0], code=code)]
            for block in same:
                try:
                    self._do(replace(block, code=self._localize(block.code)))
                except Exception as error:
                    raise AssertionError(f"{block}: {error}") from error

    def check(self) -> None:
        """Check the site as a whole: its settings, its URLs and its application."""
        code = (
            "from django.core.management import call_command\n"
            "call_command('check', fail_level='WARNING')\n"
            "import project.asgi, project.urls"
        )
        self._run(sys.executable, "manage.py", "shell", "-v", "0", "-c", code)

    def _do(self, block: Block) -> None:
        if block.verb == "run":
            self.output = self._run("sh", "-ec", block.code)
        elif block.verb == "try":
            # Without the names that shell imports by itself.
            shell = ("manage.py", "shell", "-v", "0", "-c", block.code)
            self.output = self._run(sys.executable, *shell)
        elif block.verb == "output":
            self._compare(block.code)
        elif block.verb == "serve":
            self._serve(block.code)
        else:
            assert block.verb, "The block is not marked."
            apply(block, self.folder)

    def _serve(self, command: str) -> None:
        found = re.search(r" (?:-p |--port )?(\d{4})$", command.strip())
        usual = USUAL_PORT if found is None else found[1]
        words = shlex.split(command.strip()[: found and found.start()])
        if usual in self.servers:
            self.servers[usual].stop()
        self.servers[usual] = serve(self.folder, words)
        for file in self.folder.rglob("*.py"):
            file.write_text(self._localize(file.read_text()))
        self._stack.enter_context(self.servers[usual])

    def _run(self, *command: str) -> str:
        environment = dict(os.environ)
        bin_folder = Path(sys.executable).parent
        environment["PATH"] = f"{bin_folder}{os.pathsep}{environment['PATH']}"
        done = subprocess.run(
            [*CLEAN, *command],
            cwd=self.folder,
            env=environment,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def _localize(self, text: str) -> str:
        for usual, server in self.servers.items():
            text = text.replace(f"127.0.0.1:{usual}", f"127.0.0.1:{server.port}")
        return text if self._redis is None else text.replace(USUAL_REDIS, self._redis)

    def _compare(self, expected: str) -> None:
        flags = ELLIPSIS | NORMALIZE_WHITESPACE
        fits = OutputChecker().check_output(expected, self.output, flags)
        assert fits, f"Expected:\n{expected}\nGot:\n{self.output}"


def apply(block: Block, folder: Path) -> None:
    """Write what a block says into a file of the site."""
    file = folder / block.path
    file.parent.mkdir(parents=True, exist_ok=True)
    if block.verb == "write":
        file.write_text(block.code)
    elif block.verb == "add to":
        before = file.read_text() if file.exists() else ""
        file.write_text(f"{before}\n\n{block.code}")
    else:
        lines = file.read_text().splitlines(keepends=True)
        found = [at for at, line in enumerate(lines) if block.old in line]
        assert len(found) == 1, f"{block.path} has {len(found)} lines {block.old!r}"
        margin = lines[found[0]][: -len(lines[found[0]].lstrip())]
        lines[found[0]] = indent(block.code, margin)
        file.write_text("".join(lines))


def serve(folder: Path, command: list[str]) -> ServerProcess:
    """Return the server that a command starts, on a free port."""
    program, *arguments = command
    if program == "daphne":
        arguments = ["-m", program, "-p", "{port}", *arguments]
    elif program == "uvicorn":
        arguments = ["-m", program, "--port", "{port}", *arguments]
    else:
        arguments.append("127.0.0.1:{port}")
    if "runserver" in arguments:
        arguments.append("--noreload")  # The reloader would start a child.
    return ServerProcess(*CLEAN, sys.executable, *arguments, cwd=folder)
