"""Progress of a training: a bar with the number of updates and the ETA, or plain lines."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Column

from unmask.plain_text import printable
from unmask.progress import TimeLeft

# Seconds between two lines without a terminal.
_SECONDS = 10.0
_VALIDATION = "validation/"


class Display:
    """Shows a run on standard error: a bar on a terminal, lines elsewhere.

    The bar shows the count, the time that is left and the loss, which fit into 80 columns.
    Everything else is printed above it, so that it stays readable.

    Args:
        steps: updates of the run.
        title: names one of several trainings, such as "fold 2 of 5".
        before: updates of the trainings before it.
        total: updates of all of them, for the bar; None: this is the only one.
        console: where the bar is drawn; None: standard error.
    """

    def __init__(
        self,
        steps: int,
        *,
        title: str = "",
        before: int = 0,
        total: int | None = None,
        console: Console | None = None,
    ) -> None:
        self._steps, self._title, self._before = steps, title, before
        self._total = steps if total is None else total
        self._console = console
        self._bar: Progress | None = None
        self._left = TimeLeft(0)
        self._shown = time.monotonic()

    def start(self, step: int) -> None:
        """Begin at ``step`` updates: the ETA counts from here."""
        self._left = TimeLeft(step)
        self._shown = -math.inf
        console = self._console or Console(stderr=True)
        if not console.is_terminal:
            return
        bar = Progress(
            TextColumn(self._title or "training"),
            BarColumn(bar_width=None, table_column=Column(ratio=1, min_width=8)),
            MofNCompleteColumn(table_column=Column(no_wrap=True)),
            TimeRemainingColumn(table_column=Column(no_wrap=True)),
            TextColumn("{task.description}", table_column=Column(no_wrap=True)),
            console=console,
            expand=True,
        )
        bar.add_task("", total=self._total, completed=self._before + step)
        bar.start()
        self._bar = bar

    def say(self, text: str) -> None:
        """Print a sentence; above the bar, if there is one."""
        text = printable(text)
        if self._bar is not None:
            self._bar.console.print(text, markup=False, highlight=False, soft_wrap=True)
        else:
            print(text, file=sys.stderr, flush=True)

    def move(self, step: int) -> None:
        """Move the bar to ``step`` updates; cheap."""
        if self._bar is not None:
            self._bar.update(self._bar.task_ids[0], completed=self._before + step)

    def show(self, record: Mapping[str, Any]) -> None:
        """Show a line of the journal: new scores as a line, the loss in the bar."""
        step, loss = record["step"], record.get("loss")
        text = "" if loss is None else f"loss {loss:.4g}"
        scores = {
            name.removeprefix(_VALIDATION): value
            for name, value in record.items()
            if name.startswith(_VALIDATION)
        }
        head = f"{self._title}: " if self._title else ""
        head += f"step {step}/{self._steps}  {text}"
        if scores:
            self.say(f"{head}  {_list_scores(scores)}")
        if self._bar is not None:
            self.move(step)
            self._bar.update(self._bar.task_ids[0], description=text)
        elif not scores and self._is_time(step):
            left = self._left.describe(step, self._steps)
            self.say(f"{head}{left and f'  {left}'}")

    def close(self) -> None:
        """Stop the bar; later lines are printed below it."""
        if self._bar is not None:
            bar, self._bar = self._bar, None
            bar.stop()

    def _is_time(self, step: int) -> bool:
        now = time.monotonic()
        if step != self._steps and now - self._shown < _SECONDS:
            return False
        self._shown = now
        return True


def _list_scores(scores: Mapping[str, Any]) -> str:
    return "  ".join(
        f"{name} {'undefined' if value is None else f'{value:.4f}'}"
        for name, value in scores.items()
    )
