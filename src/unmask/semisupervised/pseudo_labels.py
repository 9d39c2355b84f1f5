"""Pseudo-labels: the teacher's predicted labels are the truth where two predictions agree.

Filtered by agreement and not by confidence, because networks are also confident in their mistakes
(Bai et al. 2023, arXiv:2303.11790). The second prediction is that of an older copy of the teacher
for the mirrored crop.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Integer
from torch import Tensor, nn

from unmask.semisupervised.strong import strong_view
from unmask.semisupervised.teacher import Teacher
from unmask.tasks.segmenter import Segmenter


class PseudoLabels(nn.Module):
    """The task's own loss on decoded labels.

    Args:
        segmenter: the network that is trained.
        ndim: number of spatial axes.
        decay: decay of the teacher's average per update, in [0, 1).
        every: number of updates after which the older copy is replaced by the teacher.
        overlap: smallest IoU of two objects that count as the same.
    """

    updates: Tensor

    def __init__(
        self,
        segmenter: Segmenter,
        ndim: int,
        *,
        decay: float = 0.99,
        every: int = 100,
        overlap: float = 0.6,
    ) -> None:
        super().__init__()
        self.teacher, self.older = Teacher(segmenter, decay), Teacher(segmenter, decay)
        self.ndim, self.every, self.overlap = ndim, every, overlap
        self.register_buffer("updates", torch.zeros((), dtype=torch.int64))

    def begin(self, segmenter: Segmenter) -> None:
        """Both teachers start with the student's weights."""
        self.teacher.copy(segmenter)
        self.older.copy(segmenter)

    def after_update(self, segmenter: Segmenter) -> None:
        """The teacher follows; now and then the older copy takes its place."""
        self.teacher.follow(segmenter)
        self.updates += 1
        if int(self.updates) % self.every == 0:
            self.older.copy(self.teacher.network)

    def loss(
        self, segmenter: Segmenter, crops: Float[Tensor, "b c *space"], seed: int
    ) -> Float[Tensor, ""]:
        """Loss of the task on pseudo-labels; voxels without agreement do not count."""
        task: Any = segmenter.task
        first = self.teacher.scores(crops).cpu().numpy()
        second = self.older.scores(crops, (seed % self.ndim,)).cpu().numpy()
        targets = [self._target(task, *pair) for pair in zip(first, second, strict=True)]
        values, weight = (
            torch.from_numpy(np.stack(each)).to(crops.device) for each in zip(*targets, strict=True)
        )
        logits = segmenter.logits(strong_view(crops, seed)).float()
        return task.loss(logits, values, weight)

    def _target(
        self, task: Any, first: np.ndarray, second: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Values and weight of one crop."""
        labels, other = (task.decode(scores, None).astype(np.int64) for scores in (first, second))
        same = agree_on_objects(labels, other, self.overlap) if task.context else labels == other
        target = task.encode(labels, None)
        return target.values, target.weight * same.astype(np.float32)


def agree_on_objects(
    first: Integer[np.ndarray, "*space"], second: Integer[np.ndarray, "*space"], overlap: float
) -> Bool[np.ndarray, "*space"]:
    """Voxels that are in matching objects, or in the background, of both label images.

    Args:
        first: label image; 0 is background.
        second: label image of the same shape.
        overlap: smallest IoU of two objects that count as the same.

    Examples:
        >>> first = np.array([1, 1, 0, 0, 2, 2, 2, 2])
        >>> second = np.array([5, 5, 0, 0, 0, 0, 6, 0])
        >>> agree_on_objects(first, second, 0.5).astype(int)
        array([1, 1, 1, 1, 0, 0, 0, 0])
    """
    pairs, counts = np.unique(np.stack([first.ravel(), second.ravel()]), axis=1, return_counts=True)
    sizes = [
        dict(zip(*np.unique(each, return_counts=True), strict=True)) for each in (first, second)
    ]
    kept: tuple[set[int], set[int]] = ({0}, {0})
    for (a, b), shared in zip(pairs.T.tolist(), counts.tolist(), strict=True):
        if a and b and shared >= overlap * (sizes[0][a] + sizes[1][b] - shared):
            kept[0].add(a)
            kept[1].add(b)
    return np.isin(first, list(kept[0])) & np.isin(second, list(kept[1]))
