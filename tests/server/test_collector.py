from __future__ import annotations

import subprocess
import sys

import pytest

from tests.servers import ROOT

pytestmark = pytest.mark.process

SCRIPT = """
import gc
from pushserver_channels.collector import tune_collector
from pushserver_channels.server.collector import THRESHOLDS

before = gc.get_threshold()
assert before != THRESHOLDS
tune_collector()
assert gc.isenabled()
assert gc.get_threshold() == THRESHOLDS
assert gc.get_freeze_count() > 0

class Ring:
    pass

ring = Ring()
ring.ring = ring
del ring
assert gc.collect() >= 1
"""


def test_garbage_collector_is_set_on_demand() -> None:
    """Existing objects are excluded from collections; new garbage is still freed."""
    subprocess.run([sys.executable, "-c", SCRIPT], cwd=ROOT, check=True)
