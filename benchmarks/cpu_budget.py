"""Ends a training when its CPU seconds are used up; minutes.py gives it to the run as a tracker.

``plan.json`` next to the run folder holds ``limit`` and ``before``: CPU seconds in all, and those
of earlier processes of the same run. Each line of the journal adds a line to ``cpu.jsonl``.
"""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

PLAN, SPENT = "plan.json", "cpu.jsonl"


class CpuBudget:
    """Asks the training to end before the next line of the journal would be too late."""

    def __init__(self) -> None:
        self._folder = Path()
        self._limit = self._before = self._last = 0.0

    def start(self, run: Any) -> None:
        """Read the limit."""
        self._folder = run.folder.parent
        plan = json.loads((self._folder / PLAN).read_text(encoding="utf-8"))
        self._limit, self._before = plan["limit"], plan["before"]
        self._last = self._before + time.process_time()

    def log(self, step: int, numbers: Mapping[str, float]) -> None:
        """Note what was spent, and ask for the end with the signal that the loop obeys."""
        now = self._before + time.process_time()
        line = json.dumps({"step": step, "cpu": now, "loss": numbers.get("loss")})
        with (self._folder / SPENT).open("a", encoding="utf-8") as lines:
            lines.write(line + "\n")
        if now + (now - self._last) > self._limit:
            os.kill(os.getpid(), signal.SIGTERM)
        self._last = now

    def picture(self, step: int, name: str, pixels: Any) -> None:
        """Not of interest."""

    def close(self, *, failed: bool) -> None:
        """Nothing to end."""


def read_spent(folder: Path) -> list[dict[str, float]]:
    """The lines, oldest first; of a resumed run some steps come twice."""
    path = folder / SPENT
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    return [json.loads(line) for line in lines]
