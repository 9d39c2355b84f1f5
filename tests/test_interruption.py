"""A request to end that was lost on the way still ends a training."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import signal
from unmask import interruption
from unmask.training.guard import Stop
interruption.remember()
assert not interruption.is_requested()
try:
    signal.raise_signal(signal.SIGINT)
except KeyboardInterrupt:
    pass  # as a callback of a compiled library loses it
with Stop() as stop:
    print(interruption.is_requested(), stop.code)
"""


def test_a_lost_request_is_kept_in_mind():
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["True", "130"]
