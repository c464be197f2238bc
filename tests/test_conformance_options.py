"""The conformance tests with the options that run them on another server."""

from __future__ import annotations

import subprocess
import sys

import pytest

from .conformance.conftest import check_options
from .servers import ROOT, free_port

PUBLISHER = "/send-update/{channel}"
SUBSCRIBER = "/updates/{channel}"


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
    ("server", "publisher", "subscriber", "sentence"),
    [
        ("http://[::1", PUBLISHER, SUBSCRIBER, "it has to be http://host:port"),
        ("http://a:b", PUBLISHER, SUBSCRIBER, "it has to be http://host:port"),
        ("http://a", PUBLISHER, None, "--subscriber has to be given"),
        ("http://a", None, SUBSCRIBER, "--publisher has to be given"),
        ("http://a", "/a", SUBSCRIBER, "with {channel} in it"),
    ],
)
def test_invalid_options(
    server: str, publisher: str | None, subscriber: str | None, sentence: str
) -> None:
    """Invalid options are an error that names the option."""
    with pytest.raises(pytest.UsageError) as caught:
        check_options([server], {"publisher": publisher, "subscriber": subscriber})
    assert sentence in str(caught.value)


def test_options_are_optional_without_a_server() -> None:
    """Without a server no option is required."""
    check_options((), {"publisher": None, "subscriber": None})


@pytest.mark.process
def test_a_run_with_invalid_options() -> None:
    """A run with invalid options ends with the error."""
    ended = run("--server", "http://a", "--publisher", PUBLISHER)
    assert ended.returncode == pytest.ExitCode.USAGE_ERROR
    assert "--subscriber has to be given" in ended.stderr


@pytest.mark.process
def test_url_without_a_push_server_ends_the_run() -> None:
    """Without a push server at the URL, the run ends at once with one error message."""
    server = f"http://127.0.0.1:{free_port()}"
    ended = run(
        *("--server", server, "--publisher", PUBLISHER, "--subscriber", SUBSCRIBER)
    )
    assert ended.returncode == 1
    assert f"Nothing can be published at {server}/send-update/" in ended.stdout
