from __future__ import annotations

import re
import subprocess
import sys

import pytest
from django.core.management import CommandError

from .conformance.servers import configuration, environment
from .nginx import SUBSCRIBER
from .servers import ROOT

# The command


@pytest.mark.process
def test_configuration_goes_to_stdout_and_warnings_to_stderr() -> None:
    """The configuration is written to stdout and warnings to stderr."""
    ended = subprocess.run(
        [sys.executable, "-m", "django", "pushserver_nginx"],
        env={
            **environment({"locations": [SUBSCRIBER]}),
            "PATH": "",
            "PYTHONPATH": str(ROOT),
        },
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert ended.returncode == 0
    assert "nchan_subscriber eventsource websocket longpoll;" in ended.stdout
    assert "Warning: PUSH_SERVER['locations'][0]['timeout_status']" in ended.stderr


def test_invalid_settings_end_the_command() -> None:
    """A wrong PUSH_SERVER ends the command with an error that names the setting."""
    sentence = re.escape("PUSH_SERVER['prot'] is not a known setting")
    with pytest.raises(CommandError, match=sentence):
        configuration({"prot": 1})


def test_invalid_options_end_the_command() -> None:
    """An option that nginx could not parse ends the command with an error."""
    text = configuration({}, "--listen", "80; include secrets")
    assert 'listen "80; include secrets";' in text
    with pytest.raises(CommandError, match=re.escape("'$user' holds a '$'")):
        configuration({}, "--user", "$user")
