"""The tests' settings with a channel layer, which a process gets as JSON."""

from __future__ import annotations

import json
import os

from tests.settings import *  # noqa: F403

CHANNEL_LAYERS = json.loads(os.environ.get("TEST_CHANNEL_LAYERS", "{}"))
