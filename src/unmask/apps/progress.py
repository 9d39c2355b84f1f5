"""Progress of windows: a bar on a terminal, now and then a line elsewhere."""

from __future__ import annotations

import time

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

_SECONDS = 10.0


class WindowProgress:
    """Called with (windows done, windows in all) of one image after the other."""

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console(stderr=True)
        self._bar: Progress | None = None
        self._told = time.monotonic()

    def __call__(self, done: int, total: int) -> None:
        """Show where the image in work stands; short work shows nothing elsewhere."""
        if self._console.is_terminal:
            self._show(done, total)
        elif time.monotonic() - self._told > _SECONDS:
            self._told = time.monotonic()
            self._console.print(f"window {done} of {total}", highlight=False)

    def _show(self, done: int, total: int) -> None:
        if self._bar is None:
            columns = (BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
            self._bar = Progress(*columns, console=self._console, transient=True)
            self._bar.add_task("windows")
            self._bar.start()
        self._bar.update(self._bar.task_ids[0], completed=done, total=total)
        if done >= total:
            self._bar.stop()
            self._bar = None
