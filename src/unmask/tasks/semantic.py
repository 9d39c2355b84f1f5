"""Semantic segmentation: one class per voxel, by cross-entropy and soft Dice.

The sum of both losses is the field's robust default (Isensee et al. 2021, nnU-Net,
doi:10.1038/s41592-020-01008-z); the Dice term follows Milletari et al. 2016 (arXiv:1606.04797),
with squared denominators left out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Integer
from torch import Tensor

from unmask.errors import DataError, RecipeError, message
from unmask.tasks.base import Target, TaskDefaults, unique

# Of the published program; ours adds 1, so that small objects do not dominate.
_EPS = 1e-7

# Every class is a channel of the network and of the scores.
_MOST = 65535


@dataclass(frozen=True)
class Semantic(TaskDefaults):
    """Classes 0 .. ``classes`` - 1, or the label values listed in ``values``.

    Attributes:
        classes: number of classes with background.
        values: label values of the classes where they are not 0, 1, 2, ...; background first.
        ignore_label: label value without truth.
        dice: share of the Dice term in the loss, 0 to 1.
        class_weights: weight of each class in the cross-entropy; None: all equal.
        threshold: smallest probability of the foreground, 0 to 1, without the ends. With two
            classes, a voxel is foreground if its probability is higher. With more, background and
            the most probable other class are compared in the same way.
        compat: a published program whose output and loss are reproduced: ``maeseg`` has one logit
            for two classes and the mean over images of 1 - soft Dice, empty truth included.
    """

    classes: int = 2
    values: Sequence[int] | None = None
    ignore_label: int | None = None
    dice: float = 0.5
    class_weights: Sequence[float] | None = None
    compat: str | None = None
    threshold: float = 0.5

    def __post_init__(self) -> None:
        if not 0 < self.threshold < 1:
            raise RecipeError(
                message(
                    "task.threshold",
                    expected="a probability between 0 and 1",
                    found=f"{self.threshold}",
                    do="Correct the recipe.",
                )
            )
        if self.compat not in (None, "maeseg") or (self.compat and self.classes != 2):
            raise RecipeError(
                f"task semantic: expected compat none, or maeseg with 2 classes, found "
                f"compat={self.compat!r} with {self.classes}. Correct the recipe."
            )
        if self.classes > _MOST:
            raise RecipeError(
                f"task semantic: expected at most {_MOST} classes, found {self.classes}. "
                "Correct the recipe."
            )
        listed = self.values or range(self.classes)
        if self.classes < 2 or len(listed) != self.classes or len(set(listed)) != self.classes:
            raise RecipeError(
                f"task semantic: expected at least 2 classes and one different value for each, "
                f"found classes={self.classes}, values={self.values}. Correct the recipe."
            )
        if self.class_weights is not None and len(self.class_weights) != self.classes:
            raise RecipeError(
                f"task semantic: expected {self.classes} class_weights, "
                f"found {len(self.class_weights)}. Give one for each class."
            )

    @property
    def context(self) -> int:
        """Every voxel is decoded alone."""
        return 0

    @property
    def metrics(self) -> tuple[str, ...]:
        """Mean Dice over the classes chooses the best model."""
        return ("dice", "iou", "accuracy")

    @property
    def meaning(self) -> Mapping[str, object]:
        """The label value of every channel."""
        return {"values": list(self.values or range(self.classes)), "compat": self.compat}

    def channels(self) -> int:
        """One logit a class, or the published number."""
        return self.classes if self.compat is None else 1

    def encode(
        self,
        labels: Integer[np.ndarray, "*space"],
        spacing: Sequence[float] | None,  # noqa: ARG002 - classes have no size
    ) -> Target:
        """Class index ``(1, *space)`` and weight ``(1, *space)``.

        Raises:
            DataError: a label value that is not a class.
        """
        values = np.asarray(self.values or range(self.classes))
        order = np.argsort(values)
        place = np.searchsorted(values[order], labels).clip(max=self.classes - 1)
        index = order[place]
        known = values[index] == labels
        strange = ~known
        if self.ignore_label is not None:
            strange &= labels != self.ignore_label
            known &= labels != self.ignore_label
        if strange.any():
            raise DataError(
                f"labels: expected the values {values.tolist()}"
                f"{'' if self.ignore_label is None else f' or {self.ignore_label} (ignored)'}, "
                f"found {np.unique(labels[strange])[:8].tolist()}. "
                "Set task.classes, task.values or task.ignore_label."
            )
        weight = known[None].astype(np.float32)
        return Target(np.where(known, index, 0)[None].astype(np.float32), weight)

    def loss(
        self,
        logits: Float[Tensor, "b c *space"],
        values: Float[Tensor, "b 1 *space"],
        weight: Float[Tensor, "b 1 *space"],
    ) -> Tensor:
        """``(1 - dice) * cross-entropy + dice * (1 - soft Dice over the batch)``."""
        if self.compat is not None:
            return _image_dice(logits.float(), values, weight)
        logits, index = logits.float(), values[:, 0].long()
        weights = None if self.class_weights is None else logits.new_tensor(self.class_weights)
        entropy = F.cross_entropy(logits, index, weight=weights, reduction="none")[:, None]
        entropy = (entropy * weight).sum() / weight.sum().clamp(min=1)
        if self.dice == 0:
            return entropy
        return (1 - self.dice) * entropy + self.dice * self._soft_dice(logits, index, weight)

    def _soft_dice(self, logits: Tensor, index: Tensor, weight: Tensor) -> Tensor:
        scores = logits.softmax(1) * weight
        truth = torch.zeros_like(scores).scatter_(1, index[:, None], 1.0) * weight
        axes = (0, *range(2, logits.ndim))
        both, total = (scores * truth).sum(axes), (scores + truth).sum(axes)
        # Background is left out: it is large and easy, and hides the small classes.
        return 1 - ((2 * both + 1) / (total + 1))[1:].mean()

    def activate(self, logits: Float[Tensor, "b c *space"]) -> Float[Tensor, "b s *space"]:
        """Class probabilities."""
        if self.compat is not None:
            score = logits.float().sigmoid()
            return torch.cat([1 - score, score], dim=1)
        return logits.float().softmax(1)

    def score_names(self) -> list[str]:
        """The label value of each class."""
        return [f"class_{value}" for value in self.values or range(self.classes)]

    def flip(self, scores: Float[Tensor, "b c *space"], axis: int) -> Float[Tensor, "b c *space"]:
        """Probabilities have no direction."""
        return scores.flip(axis + 2)

    def uncertainty(self, scores: Float[np.ndarray, "c *space"]) -> Float[np.ndarray, "*space"]:
        """One minus the distance of the two most probable classes."""
        second, first = np.partition(scores, (-2, -1), axis=0)[-2:]
        return 1 - (first - second)

    def decoding_choices(self) -> dict[str, tuple[object, ...]]:
        """The threshold of the foreground."""
        return {"threshold": unique(self.threshold, 0.3, 0.4, 0.5, 0.6, 0.7)}

    def decode(
        self,
        scores: Float[np.ndarray, "c *space"],
        spacing: Sequence[float] | None,  # noqa: ARG002 - classes have no size
    ) -> Integer[np.ndarray, "*space"]:
        """Label value of the most probable class, background weighted by ``threshold``."""
        values = np.asarray(self.values or range(self.classes))
        best = scores.argmax(0) if self.threshold == 0.5 else self._foreground_first(scores)
        return values.astype(np.min_scalar_type(values.max()))[best]

    def _foreground_first(
        self, scores: Float[np.ndarray, "c *space"]
    ) -> Integer[np.ndarray, "*space"]:
        """Index of the best class besides 0 where p / (p + p0) > ``threshold``, else 0."""
        odds = self.threshold / (1 - self.threshold)
        best = 1 + scores[1:].argmax(0)
        return np.where(scores[1:].max(0) > scores[0] * odds, best, 0)


def _image_dice(logits: Tensor, truth: Tensor, weight: Tensor) -> Tensor:
    """Mean over images of 1 - soft Dice of the one foreground class."""
    axes = tuple(range(1, logits.ndim))
    scores, truth = logits.sigmoid() * weight, truth * weight
    both, total = (scores * truth).sum(axes), (scores + truth).sum(axes)
    return (1 - (2 * both + _EPS) / (total + _EPS)).mean()
