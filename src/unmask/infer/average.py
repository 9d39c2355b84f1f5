"""What is averaged over windows, mirrored views and models: scores, or the network's raw outputs.

Averaging raw outputs first and activating their mean afterwards is the published inference of
MEDIAR (Lee et al. 2022, arXiv:2212.03465).
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch

from unmask.errors import RecipeError
from unmask.infer.tiles import Sink
from unmask.space.box import Box
from unmask.tasks.base import Task

Average = Literal["scores", "logits"]

# Raw outputs held in memory are activated in pieces of about this size.
_PIECE_BYTES = 8 << 20


def check_average(average: str, task: Task, ndim: int) -> None:
    """Refuse raw outputs of a task that cannot be activated after averaging, whatever its name.

    Such a task treats every voxel independently, gives as many scores as there are raw outputs, and
    mirrors both alike.

    Raises:
        RecipeError: the task is another one, or ``average`` is neither scores nor logits.
    """
    if average not in {"scores", "logits"}:
        raise RecipeError(
            f"infer.average={average!r}: expected scores or logits. Correct the recipe."
        )
    if average == "logits" and not _commutes(task, ndim):
        raise RecipeError(
            f"infer.average='logits': expected a task that activates every voxel independently and "
            f"mirrors raw outputs as scores, found {type(task).__name__}. Use infer.average=scores."
        )


def _commutes(task: Task, ndim: int) -> bool:
    chance = torch.Generator().manual_seed(0)
    raw = torch.randn((1, task.channels(), *range(3, 3 + ndim)), generator=chance)
    whole = task.activate(raw).float()
    line = task.activate(raw[:, :, :1].clone()).float()
    if whole.shape != raw.shape or not torch.allclose(whole[:, :, :1], line, atol=1e-6):
        return False
    return all(
        torch.allclose(task.activate(task.flip(raw, axis)), task.flip(whole, axis), atol=1e-6)
        for axis in range(ndim)
    )


def activate_in_place(raw: np.ndarray, task: Task) -> None:
    """Turn joined raw outputs ``(C, *space)`` into scores, a few lines at a time."""
    lines = max(1, _PIECE_BYTES // max(1, raw[:, :1].nbytes))
    for start in range(0, raw.shape[1], lines):
        part = raw[:, start : start + lines]
        part[...] = _activate(part, task)


class ActivatingSink:
    """Hands pieces of raw outputs to another sink as scores."""

    def __init__(self, sink: Sink, task: Task) -> None:
        self._sink, self._task = sink, task

    def open(self, shape: tuple[int, ...]) -> int:
        """As the other sink: there are as many scores as raw outputs."""
        return self._sink.open(shape)

    def room(self, box: Box) -> np.ndarray | None:
        """Where the other sink wants them."""
        return self._sink.room(box)

    def write(self, box: Box, scores: np.ndarray) -> None:
        """Activate one piece and hand it over."""
        scores[...] = _activate(scores, self._task)
        self._sink.write(box, scores)


def _activate(raw: np.ndarray, task: Task) -> np.ndarray:
    return task.activate(torch.from_numpy(raw)[None])[0].float().numpy()
