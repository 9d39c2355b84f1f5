"""Uncertainty of a prediction: per voxel while scores are joined, and per object as a mean.

A voxel is uncertain if its scores are between yes and no, or if views or models disagree. Both are
computed per window, so the uncertainty of a volume of any size is written in the same pass as its
scores, with the memory of a few lines. The uncertainty of an object is the mean over its voxels. A
curve that was fitted to held-out objects maps it to the probability that the object is right
(`unmask.calibration`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float32
from torch import Tensor

from unmask.calibration import Calibration
from unmask.errors import RecipeError
from unmask.infer.average import activate_in_place
from unmask.infer.tiles import Sink
from unmask.infer.views import Flips, Views
from unmask.io import Image
from unmask.space.box import Box
from unmask.tasks.base import Task
from unmask.tasks.complete import complete

# Scores are processed in pieces of about this size, to limit the memory.
_PIECE_BYTES = 8 << 20


@dataclass(frozen=True)
class ObjectUncertainty:
    """Mean uncertainty per object.

    Attributes:
        ids: ids of the objects, ascending, without background.
        values: mean uncertainty of each object, in [0, 1].
    """

    ids: np.ndarray
    values: np.ndarray

    def columns(self, calibration: Calibration | None) -> dict[str, dict[int, float]]:
        """Columns of the table of objects: ``uncertainty``, and ``score`` by the calibration.

        Without a calibration the score is one minus the uncertainty.
        """
        scores = 1 - self.values if calibration is None else calibration.probability(self.values)
        names = {"uncertainty": self.values, "score": scores}
        keys = [int(each) for each in self.ids]
        return {
            name: dict(zip(keys, column.tolist(), strict=True)) for name, column in names.items()
        }

    def to_json(self) -> dict[str, list[Any]]:
        """JSON values, which resumed runs read; rounded to six digits."""
        return {"ids": self.ids.tolist(), "values": [round(v, 6) for v in self.values.tolist()]}

    @classmethod
    def of_json(cls, entry: Mapping[str, Any]) -> ObjectUncertainty:
        """Read the result of `to_json`."""
        return cls(np.asarray(entry["ids"], np.int64), np.asarray(entry["values"], np.float64))


def voxel_uncertainty(
    task: Task, scores: np.ndarray, spread: np.ndarray | None = None
) -> Float32[np.ndarray, "*space"]:
    """Uncertainty per voxel in [0, 1], from joined scores and the disagreement of views.

    Args:
        task: task that defines the uncertainty of its scores.
        scores: joined scores ``(S, *space)``.
        spread: ``(*space)`` disagreement of views and models in [0, 1]; None: a single view.
    """
    whole, result = complete(task), np.empty(scores.shape[1:], np.float32)
    lines = max(1, _PIECE_BYTES // max(1, scores[:, :1].nbytes))
    for start in range(0, len(result), lines):
        part = slice(start, start + lines)
        result[part] = whole.uncertainty(scores[:, part])
    if spread is not None:
        result = 1 - (1 - result) * (1 - spread.clip(0, 1))
    return result


def disagreement(members: Sequence[Tensor]) -> Float32[Tensor, "b 1 *space"]:
    """Disagreement of scores ``(B, S, *space)`` of several views or models, in [0, 1].

    Twice the root mean square of the standard deviations per channel: the standard deviation of
    probabilities is one half if half of the members are 0 and half are 1.
    """
    variance = torch.stack(list(members)).float().var(dim=0, correction=0)
    return (2 * variance.mean(dim=1, keepdim=True).sqrt()).clamp(max=1)


def compared_flips(task: Task, views: Views, ndim: int) -> Flips:
    """Mirrored views to compare with ``views``; empty if the task cannot mirror its scores."""
    if views.mirror_positions:
        return ()
    trial = torch.zeros((1, task.channels(), *(4 for _ in range(ndim))))
    try:
        scores = task.activate(trial)
        for axis in range(ndim):
            task.flip(scores, axis)
    except RecipeError:
        return ()
    return tuple(axes for axes in Views.of(ndim, tta=True).flips if axes not in views.flips)


class UncertaintySink:
    """Writes joined scores to one sink and their uncertainty to another.

    Args:
        scores: receives ``(S, *space)``.
        uncertainty: receives ``(1, *space)``.
        task: task that defines the uncertainty of its scores.
        spread: whether pieces have the disagreement of views and models as additional last channel.
        raw: whether pieces are raw outputs, which are activated here.
    """

    def __init__(
        self, scores: Sink, uncertainty: Sink, task: Task, *, spread: bool, raw: bool
    ) -> None:
        self._scores, self._uncertainty, self._task = scores, uncertainty, task
        self._spread, self._raw = spread, raw

    def open(self, shape: tuple[int, ...]) -> int:
        """Open both sinks; returns the least common multiple of their lines per piece."""
        space = shape[1:]
        lines = self._scores.open((shape[0] - self._spread, *space))
        return math.lcm(lines, self._uncertainty.open((1, *space)))

    def room(self, box: Box) -> np.ndarray | None:
        """Memory of the score sink; None if pieces have the additional channel."""
        return None if self._spread else self._scores.room(box)

    def write(self, box: Box, scores: np.ndarray) -> None:
        """Write one piece to both."""
        own = scores[:-1] if self._spread else scores
        if self._raw:
            activate_in_place(own, self._task)
        spread = scores[-1] if self._spread else None
        found = voxel_uncertainty(self._task, own, spread)
        self._scores.write(box, own)
        self._uncertainty.write(box, found[None])


def object_uncertainty(labels: Image, uncertainty: Image) -> ObjectUncertainty:
    """Mean uncertainty per object of a label image, read a few lines at a time."""
    sums: dict[int, float] = {}
    counts: dict[int, int] = {}
    space = labels.shape[1:]
    line = max(1, math.prod(space[1:]) * 8)
    lines = max(1, _PIECE_BYTES // line)
    for start in range(0, space[0], lines):
        stop = (min(start + lines, space[0]), *space[1:])
        box = Box((start, *(0 for _ in space[1:])), stop)
        ids, index = np.unique(labels.read(box), return_inverse=True)
        total = np.bincount(index.reshape(-1), uncertainty.read(box).reshape(-1), len(ids))
        for key, value, count in zip(
            ids.tolist(), total.tolist(), np.bincount(index.reshape(-1)).tolist(), strict=True
        ):
            sums[key] = sums.get(key, 0.0) + value
            counts[key] = counts.get(key, 0) + count
    keys = sorted(key for key in sums if key != 0)
    means = [sums[key] / counts[key] for key in keys]
    return ObjectUncertainty(np.array(keys, np.int64), np.array(means, np.float64))
