"""Follow the README as a new user does: apply its code blocks, in order, to a new site.

A comment before a code block says what to do with it::

    .. write project/asgi.py
    .. add to project/settings.py
    .. replace "updates.subscribe(" in templates/page.html
"""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from textwrap import dedent, indent

from django.core.management import call_command

from .servers import ROOT, ServerProcess

#: The titles of the sections that a new user follows.
USE = "Use it in your site"
BEGIN = "Where a page begins"
ELSEWHERE = "Publish from another process"
PRODUCTION = "Production"

#: Runs a command without the tests' settings, which a new user does not have.
CLEAN = ("env", "-u", "DJANGO_SETTINGS_MODULE", "-u", "TEST_PUSH_SERVER")

_MARK = re.compile(
    r"^\.\. (?P<verb>write|add to|replace) "
    r'(?:"(?P<old>.+)" in )?(?P<path>\S+)\n\n'
    r"\.\. code-block:: \w+\n\n(?P<code>(?:    .*\n|\n)+)",
    re.MULTILINE,
)
_COMMANDS = re.compile(r"::\n\n(?P<commands>(?:    .*\n|\n)+)")


@dataclass(frozen=True)
class Step:
    """A code block and what the reader has to do with it.

    Attributes:
        verb: ``write`` a file, ``add to`` its end, or ``replace`` one of its lines.
        path: The file, in the folder of the site.
        code: The text to write.
        old: What the line to be replaced contains.
    """

    verb: str
    path: str
    code: str
    old: str | None

    def apply(self, folder: Path) -> None:
        """Apply this step in the folder of the site."""
        file = folder / self.path
        file.parent.mkdir(exist_ok=True)
        if self.verb == "write":
            file.write_text(self.code)
        elif self.verb == "add to":
            file.write_text(f"{file.read_text()}\n\n{self.code}")
        else:
            assert self.old is not None
            lines = file.read_text().splitlines(keepends=True)
            [index] = [at for at, line in enumerate(lines) if self.old in line]
            margin = lines[index][: -len(lines[index].lstrip())]
            lines[index] = indent(self.code, margin)
            file.write_text("".join(lines))


def read_section(title: str) -> str:
    """Return the text of a section of the README."""
    text = (ROOT / "README.rst").read_text(encoding="utf-8")
    body = text.partition(f"\n{title}\n{'-' * len(title)}\n")[2]
    assert body, f"The README has no section {title!r}"
    return re.split(r"\n\n[^\n]+\n-{3,}\n", body)[0] + "\n"


def steps(section: str) -> Iterator[Step]:
    """Yield the steps of a section of the README, in order."""
    for match in _MARK.finditer(read_section(section)):
        code = dedent(match["code"]).strip("\n") + "\n"
        yield Step(match["verb"], match["path"], code, match["old"])


def commands(section: str) -> list[list[str]]:
    """Return the commands in a section of the README; a quoted one may span lines."""
    found = []
    for block in _COMMANDS.finditer(read_section(section)):
        command = ""
        for line in dedent(block["commands"]).strip("\n").splitlines(keepends=True):
            command += line
            with suppress(ValueError):  # A quoted argument continues in the next line.
                found.append(shlex.split(command))
                command = ""
    return [words for words in found if words]


def make_site(folder: Path, *sections: str) -> Path:
    """Make a new site in a folder by following sections of the README."""
    call_command("startproject", "project", str(folder))
    for section in sections:
        for step in steps(section):
            step.apply(folder)
    return folder


def run(folder: Path, *arguments: str) -> str:
    """Run Python in the folder of the site and return its output."""
    done = subprocess.run(
        [*CLEAN, sys.executable, *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def serve(folder: Path, command: list[str]) -> ServerProcess:
    """Return the server that a command of the README starts, on a free port."""
    program, *arguments = command
    if program == "daphne":
        arguments = ["-m", program, "-p", "{port}", *arguments]
    else:
        arguments.append("127.0.0.1:{port}")
    if "runserver" in arguments:
        arguments.append("--noreload")  # The reloader would start a child.
    return ServerProcess(*CLEAN, sys.executable, *arguments, cwd=folder)
