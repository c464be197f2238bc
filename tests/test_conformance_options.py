"""The conformance tests with the options that run them on another server."""

from __future__ import annotations

import subprocess
import sys

import pytest

from .servers import ROOT, free_port

pytestmark = pytest.mark.process

PUBLISHER = ("--publisher", "/send-update/{channel}")
SUBSCRIBER = ("--subscriber", "/updates/{channel}")


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "tests/conformance"),
            *("-p", "no:cacheprovider", *arguments),
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=100,
    )


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--server", "http://[::1"), "it has to be http://host:port"),
        (("--server", "http://a:b"), "it has to be http://host:port"),
        (("--server", "http://a", *PUBLISHER), "--subscriber has to be given"),
        (("--server", "http://a", "--publisher", "/a"), "with {channel} in it"),
    ],
)
def test_what_cannot_be_tested(arguments: tuple[str, ...], sentence: str) -> None:
    """Invalid options end the run with an error message and a failure."""
    ended = run(*arguments)
    assert ended.returncode == pytest.ExitCode.USAGE_ERROR
    assert sentence in ended.stderr


def test_what_is_no_push_server() -> None:
    """Without a push server at the URL, the run ends at once with one error message."""
    server = f"http://127.0.0.1:{free_port()}"
    ended = run("--server", server, *PUBLISHER, *SUBSCRIBER)
    assert ended.returncode == 1
    assert f"Nothing can be published at {server}/send-update/" in ended.stdout
