"""Weak-to-strong consistency: the student predicts for an augmented crop the teacher's scores.

FixMatch (Sohn et al. 2020, arXiv:2001.07685) with soft scores instead of confident classes, and
the teacher of Mean Teacher (arXiv:1703.01780). It works for every task whose network predicts
scores: classes, flows, affinities, embeddings.
"""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from unmask.semisupervised.strong import strong_view
from unmask.semisupervised.teacher import Teacher
from unmask.tasks.segmenter import Segmenter


class Consistency(nn.Module):
    """Squared difference of the scores, where the teacher agrees with itself on a mirrored crop.

    Args:
        segmenter: the network that is trained.
        ndim: number of spatial axes.
        decay: decay of the teacher's average per update, in [0, 1).
        tolerance: mean difference between the teacher's two predictions, in units of the scores,
            at which the weight of a voxel reaches 0.
    """

    def __init__(
        self, segmenter: Segmenter, ndim: int, *, decay: float = 0.99, tolerance: float = 0.25
    ) -> None:
        super().__init__()
        self.teacher = Teacher(segmenter, decay)
        self.ndim, self.tolerance = ndim, tolerance

    def begin(self, segmenter: Segmenter) -> None:
        """The teacher starts with the student's weights."""
        self.teacher.copy(segmenter)

    def after_update(self, segmenter: Segmenter) -> None:
        """The teacher follows."""
        self.teacher.follow(segmenter)

    def loss(
        self, segmenter: Segmenter, crops: Float[Tensor, "b c *space"], seed: int
    ) -> Float[Tensor, ""]:
        """Mean squared difference over the voxels that the teacher is sure of."""
        wanted, weight = agreed_scores(self.teacher, crops, axis=seed % self.ndim)
        weight = (1 - weight / self.tolerance).clamp(min=0)
        task: Any = segmenter.task
        logits = segmenter.logits(strong_view(crops, seed)).float()
        found = task.activate(logits)
        if logits.requires_grad and not found.requires_grad:
            # Scores of embeddings carry no gradient; teacher and student share one space of them.
            found, wanted = logits, self.teacher.logits(crops)
        squares = (found - wanted).square().mean(dim=1, keepdim=True)
        return (squares * weight).sum() / weight.sum().clamp(min=1)


@torch.no_grad()
def agreed_scores(teacher: Teacher, crops: Tensor, axis: int) -> tuple[Tensor, Tensor]:
    """Mean of the scores of crops and of mirrored crops, and how far they differ per voxel."""
    plain, mirrored = teacher.scores(crops), teacher.scores(crops, (axis,))
    difference = (plain - mirrored).abs().mean(dim=1, keepdim=True)
    return (plain + mirrored) / 2, difference
