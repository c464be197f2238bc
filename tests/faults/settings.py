"""Settings of the servers for the faults: those of the tests with channel layers."""

from __future__ import annotations

import json
import os

from tests.settings import *  # noqa: F403

CHANNEL_LAYERS = json.loads(os.environ.get("TEST_CHANNEL_LAYERS", "{}"))
