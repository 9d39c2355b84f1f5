"""Records of a run: journal.jsonl, TensorBoard, trackers, pictures, and a progress bar or lines.

Recording never ends a training: if a file or the terminal cannot be written, one warning is given
and the run continues.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from unmask.atomic import append, atomic_path, atomic_write
from unmask.errors import DataError, message
from unmask.training.progress import Display
from unmask.training.trackers.base import Tracked, Tracker

PICTURES = 4  # samples of a batch that are shown


class Journal:
    """The diary of one run.

    Args:
        folder: the run folder; None tells nothing on disk.
        steps: updates of the whole run, for the bar.
        title: names one of several trainings, such as "fold 2 of 5".
        before: updates of the trainings before it.
        total: updates of all of them, for the bar; None: this is the only one.
        tensorboard: write events too.
        quiet: nothing on the terminal.
    """

    def __init__(
        self,
        folder: Path | str | None,
        *,
        steps: int,
        title: str = "",
        before: int = 0,
        total: int | None = None,
        tensorboard: bool = True,
        quiet: bool = False,
    ) -> None:
        self.path = None if folder is None else Path(folder) / "journal.jsonl"
        self._quiet = quiet
        self._start = 0
        self._events: Any = None
        self._wants_events = tensorboard and folder is not None
        self._warned: set[str] = set()
        self._display = Display(steps, title=title, before=before, total=total)
        self._title = title
        self._recipe: Mapping[str, Any] = {}
        self._trackers: dict[str, Tracker] = {}
        self._tracking: set[str] = set()

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self.close(failed=kind is not None)

    def track(self, trackers: Iterable[Tracker], recipe: Mapping[str, Any]) -> None:
        """Give every later line and picture to trackers too; ``recipe`` as plain values."""
        self._trackers = {type(tracker).__name__: tracker for tracker in trackers}
        self._recipe = recipe

    def resume(self, step: int) -> None:
        """Cut the journal back to ``step``, where the run continues; 0 begins a new one."""
        self._start = step
        if self.path is not None and self.path.exists():
            # A run that begins again validates its initial weights again.
            self._try("journal.jsonl", self._cut, self.path, step or -1)
        if not self._quiet:
            self._try("the terminal", self._display.start, step)

    def log(self, record: Mapping[str, Any]) -> None:
        """Add one line; ``record`` holds "step", numbers, and sentences such as "warning"."""
        record = {name: _number(value) for name, value in record.items()}
        if self.path is not None:
            self._try("journal.jsonl", _append, self.path, json.dumps(record, allow_nan=False))
        if self._wants_events:
            self._try("TensorBoard", self._scalars, record)
        self._to_trackers(self._track, record)
        if not self._quiet:
            self._try("the terminal", self._display.show, record)

    def picture(self, step: int, name: str, *images: Tensor) -> None:
        """Keep a picture of batches ``(B, C, *space)`` as PNG and in TensorBoard.

        Volumes show their middle plane. The first four samples stand side by side, the batches
        below each other, all on one scale.
        """
        self.keep_picture(step, name, montage(*images))

    def keep_picture(self, step: int, name: str, pixels: np.ndarray) -> None:
        """Keep a picture ``(y, x, 3)`` of bytes as PNG and in TensorBoard."""
        if self.path is None:
            return
        path = self.path.parent / "pictures" / f"step-{step:07d}-{name}.png"
        self._try("pictures", _save_png, path, pixels)
        if self._wants_events:
            self._try("TensorBoard", self._image, step, name, pixels)
        self._to_trackers(self._track_picture, step, name, pixels)

    def say(self, message: str) -> None:
        """A sentence for the reader, on standard error."""
        if not self._quiet:
            self._try("the terminal", self._display.say, message)

    def say_lines(self, sentences: Iterable[str]) -> None:
        """Several sentences, one per line."""
        for sentence in sentences:
            self.say(sentence)

    def progress(self, step: int) -> None:
        """Move the bar to ``step`` updates; cheap."""
        self._try("the terminal", self._display.move, step)

    def finish(self) -> None:
        """Stop the progress bar; later messages are printed below it."""
        self._try("the terminal", self._display.close)

    def close(self, *, failed: bool = False) -> None:
        """Stop the bar and write what TensorBoard and trackers still hold."""
        self.finish()
        if self._events is not None:
            self._try("TensorBoard", self._events.close)
            self._events = None
        for name in sorted(self._tracking):
            self._try(name, partial(self._trackers[name].close, failed=failed))
        self._tracking.clear()

    def _try(self, what: str, action: Callable[..., Any], *given: Any) -> bool:
        """Run ``action``; a failure is reported once, does no harm, and gives False."""
        try:
            action(*given)
        except Exception as error:  # noqa: BLE001 - whatever reporting raises, training continues
            if what not in self._warned:
                self._warned.add(what)
                self.say(f"{what}: cannot be written ({error}); training continues without it.")
            return False
        return True

    @staticmethod
    def _cut(path: Path, step: int) -> None:
        kept = [line for line in path.read_text(encoding="utf-8").splitlines() if _upto(line, step)]
        atomic_write(path, "".join(f"{line}\n" for line in kept))

    def _writer(self) -> Any:
        if self._events is None and self.path is not None:
            # Starting TensorBoard takes seconds: only a run that writes events waits for it.
            from torch.utils.tensorboard import SummaryWriter

            self._events = SummaryWriter(str(self.path.parent), purge_step=self._start + 1)
        return self._events

    def _scalars(self, record: Mapping[str, Any]) -> None:
        writer = self._writer()
        for name, value in record.items():
            if name != "step" and isinstance(value, (int, float)):
                writer.add_scalar(name, value, record["step"])

    def _to_trackers(self, action: Callable[..., Any], *given: Any) -> None:
        for name in list(self._trackers):
            if not self._try(name, action, name, *given):
                # A server out of reach would cost its time limit at every line.
                del self._trackers[name]
                self._tracking.discard(name)

    def _track(self, name: str, record: Mapping[str, Any]) -> None:
        numbers = {
            key: value
            for key, value in record.items()
            if key != "step" and isinstance(value, int | float) and not isinstance(value, bool)
        }
        if numbers:
            self._begin(name).log(record["step"], numbers)

    def _track_picture(self, tracker: str, step: int, name: str, pixels: np.ndarray) -> None:
        self._begin(tracker).picture(step, name, pixels)

    def _begin(self, name: str) -> Tracker:
        """A tracker that has begun; of several processes, only the one that logs begins."""
        tracker = self._trackers[name]
        if name not in self._tracking and self.path is not None:
            tracker.start(Tracked(self.path.parent, self._title, self._start, self._recipe))
            self._tracking.add(name)
        return tracker

    def _image(self, step: int, name: str, pixels: np.ndarray) -> None:
        self._writer().add_image(name, pixels, step, dataformats="HWC")


def montage(*images: Tensor) -> np.ndarray:
    """Batches ``(B, C, *space)`` of one shape as one picture ``(height, width, 3)`` of bytes."""
    batches = torch.stack([_planes(image) for image in images])
    low, high = batches.amin(), batches.amax()
    scaled = ((batches - low) / (high - low).clamp(min=1e-12)).numpy()
    rows = [np.concatenate(list(np.moveaxis(batch, 1, -1)), axis=1) for batch in scaled]
    return (np.concatenate(rows) * 255).round().astype(np.uint8)


def _planes(image: Tensor) -> Tensor:
    """Some samples of a batch as color pictures ``(B, 3, y, x)``."""
    batch = image.detach()[:PICTURES].float().cpu()
    while batch.ndim > 4:
        batch = batch[:, :, batch.shape[2] // 2]
    while batch.ndim < 4:
        batch = batch.unsqueeze(2)
    batch = batch if batch.shape[1] == 3 else batch[:, :1].expand(-1, 3, -1, -1)
    return batch.nan_to_num()


def read_journal(folder: Path) -> list[dict[str, Any]]:
    """The lines of a run's journal; a last one that a kill has cut is left out.

    Raises:
        DataError: ``folder`` holds no journal, or one with other content.
    """
    path = folder / "journal.jsonl"
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
        found = [json.loads(line) for line in lines[:-1]]
        return [*found, *(json.loads(line) for line in lines[-1:] if _upto(line, sys.maxsize))]
    except (OSError, ValueError) as error:
        raise DataError(
            message(
                path,
                expected="the journal of a run",
                found="nothing" if isinstance(error, FileNotFoundError) else str(error),
                do="Give the folder of a run, the --out of its training.",
            )
        ) from error


def _append(path: Path, line: str) -> None:
    # Opened again for each line: a journal that was moved away or deleted starts again.
    path.parent.mkdir(parents=True, exist_ok=True)
    append(path, line, durable=False)


def _save_png(path: Path, pixels: np.ndarray) -> None:
    with atomic_path(path) as aside:
        Image.fromarray(pixels).save(aside, format="PNG")


def _upto(line: str, step: int) -> bool:
    """Whether a journal line is whole and not later than ``step``."""
    try:
        return json.loads(line)["step"] <= step
    except (ValueError, KeyError, TypeError):
        return False


def _number(value: Any) -> Any:
    """JSON has no NaN: undefined numbers become null."""
    if isinstance(value, (Tensor, np.generic)):
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value
