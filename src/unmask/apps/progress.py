"""Progress of tiles: a bar on a terminal, a line every ten seconds elsewhere."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from rich.console import Console

from unmask.progress import TimeLeft

if TYPE_CHECKING:
    from rich.progress import Progress

_SECONDS = 10.0
# Seconds of which the speed of the bar is a mean: a block of a volume may take minutes.
_PERIOD = 600.0


class WindowProgress:
    """A callback for the number of tiles done and the total, image after image."""

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console(stderr=True)
        self._bar: Progress | None = None
        self._shown = time.monotonic()
        self._left, self._before = TimeLeft(0), (0, 0)

    def __call__(self, done: int, total: int) -> None:
        """Show the progress of the current image; without a terminal, only of long work."""
        before, of = self._before
        self._before = (done, total)
        if total != of or done < before or before == of:
            # Another image, which may have been begun by an ended run.
            self._left = TimeLeft(done)
        if self._console.is_terminal:
            self._show(done, total)
        elif 0 < done < total and time.monotonic() - self._shown > _SECONDS:
            # The last window needs no line, because the result of the file follows.
            self._shown = time.monotonic()
            left = self._left.describe(done, total)
            line = f"window {done} of {total}{left and f'  {left}'}"
            self._console.print(line, highlight=False)

    def _show(self, done: int, total: int) -> None:
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

        if self._bar is None:
            columns = (BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
            self._bar = Progress(
                *columns, console=self._console, transient=True, speed_estimate_period=_PERIOD
            )
            self._bar.add_task("windows")
            self._bar.start()
        self._bar.update(self._bar.task_ids[0], completed=done, total=total)
        if done >= total:
            self.close()

    def close(self) -> None:
        """Remove the bar, which hides the cursor of the terminal, wherever the work has ended."""
        if self._bar is not None:
            bar, self._bar = self._bar, None
            bar.stop()
