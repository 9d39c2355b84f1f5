"""Instances by three classes: background, interior and boundary of objects.

Caicedo et al. 2019 (doi:10.1002/cyto.a.23863); as the baseline of the NeurIPS 2022 cell
segmentation challenge with ``compat`` (Ma et al. 2024, doi:10.1038/s41592-024-02233-6).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Integer
from torch import Tensor

from unmask.errors import RecipeError, message
from unmask.labels.dropped import Tally
from unmask.labels.interiors import UNKNOWN, growth, interiors_to_labels, labels_to_interiors
from unmask.models import nd
from unmask.tasks.base import Answer, Target, TaskDefaults, size_choices, unique
from unmask.tasks.semantic import Semantic

_CLASSES = ("background", "interior", "boundary")


@dataclass(frozen=True)
class Boundary(TaskDefaults):
    """Channels: one logit for each of background, interior and boundary.

    Attributes:
        ndim: number of spatial axes.
        thickness: of the boundary in voxels, one number or one per axis. It is inside the
            objects; small objects get a thinner one.
        dice: share of the Dice term in the loss, 0 to 1; the rest is cross-entropy.
        threshold: probability above which a voxel is interior.
        min_size: smallest object in voxels.
        grow: grow the interiors back over their boundaries. Without it objects are as much thinner
            as the boundary is thick.
        ignore_label: label value without truth.
        compat: a published program whose targets and decoding are reproduced: ``neurips``, which
            has a ``thickness`` of its own and does not grow.
        reach: largest expected extent of an object in voxels, as context for decoding.
    """

    ndim: int
    thickness: int | Sequence[int] = 2
    dice: float = 0.5
    threshold: float = 0.5
    min_size: int = 16
    grow: bool = True
    ignore_label: int | None = None
    compat: str | None = None
    reach: int = 64

    def __post_init__(self) -> None:
        right = {
            "thickness": (self._fits(), f"1 or more, or {self.ndim} numbers, one per axis"),
            "dice": (0 <= self.dice <= 1, "a share in [0, 1]"),
            "threshold": (0 < self.threshold < 1, "a probability between 0 and 1"),
            "min_size": (self.min_size >= 0, "0 or more"),
            "compat": (self.compat in (None, "neurips"), "null or neurips"),
            "reach": (self.reach >= 1, "1 or more"),
        }
        for name, (good, expected) in right.items():
            if not good:
                raise RecipeError(
                    message(
                        f"task.{name}",
                        expected=expected,
                        found=repr(getattr(self, name)),
                        do="Correct the recipe.",
                    )
                )

    def _fits(self) -> bool:
        given = (
            [self.thickness] * self.ndim
            if isinstance(self.thickness, int)
            else list(self.thickness)
        )
        return len(given) == self.ndim and min(given) >= 0 < max(given)

    @property
    def _width(self) -> tuple[int, ...]:
        given = self.thickness if isinstance(self.thickness, int) else tuple(self.thickness)
        return nd.per_axis(given, self.ndim)

    @property
    def _classes(self) -> Semantic:
        """The loss and the scores of three classes."""
        return Semantic(len(_CLASSES), dice=self.dice)

    @property
    def context(self) -> int:
        """A whole object that touches the block, and what reaches it by growing."""
        return self.reach + max(growth(self._width))

    @property
    def metrics(self) -> tuple[str, ...]:
        """F1 at IoU 0.5 chooses the best model."""
        return ("f1@0.5", "aji")

    @property
    def meaning(self) -> Mapping[str, object]:
        """Where the boundary is."""
        if self.compat is not None:
            return {"axes": self.ndim, "compat": self.compat}
        return {"axes": self.ndim, "thickness": list(self._width)}

    def channels(self) -> int:
        """A logit for each class."""
        return len(_CLASSES)

    def encode(
        self,
        labels: Integer[np.ndarray, "*space"],
        spacing: Sequence[float] | None,  # noqa: ARG002 - the boundary counts voxels
    ) -> Target:
        """Class index ``(1, *space)`` and weight ``(1, *space)``."""
        known = None if self.ignore_label is None else labels != self.ignore_label
        classes = labels_to_interiors(labels, self._width, known=known, compat=self.compat)[None]
        sure = classes != UNKNOWN
        return Target(np.where(sure, classes, 0).astype(np.float32), sure.astype(np.float32))

    def loss(
        self,
        logits: Float[Tensor, "b c *space"],
        values: Float[Tensor, "b 1 *space"],
        weight: Float[Tensor, "b 1 *space"],
    ) -> Tensor:
        """``(1 - dice) * cross-entropy + dice * (1 - soft Dice of interior and boundary)``."""
        return self._classes.loss(logits, values, weight)

    def activate(self, logits: Float[Tensor, "b c *space"]) -> Float[Tensor, "b c *space"]:
        """Class probabilities."""
        return self._classes.activate(logits)

    def score_names(self) -> list[str]:
        """The classes."""
        return list(_CLASSES)

    def flip(self, scores: Float[Tensor, "b c *space"], axis: int) -> Float[Tensor, "b c *space"]:
        """Probabilities have no direction."""
        return self._classes.flip(scores, axis)

    def uncertainty(self, scores: Float[np.ndarray, "c *space"]) -> Float[np.ndarray, "*space"]:
        """One minus the distance of the two most probable classes."""
        return self._classes.uncertainty(scores)

    def sureness(self, scores: Float[np.ndarray, "c *space"]) -> Float[np.ndarray, "*space"]:
        """Probability of interior or boundary."""
        return 1 - scores[0]

    def decode(
        self,
        scores: Float[np.ndarray, "c *space"],
        spacing: Sequence[float] | None,  # noqa: ARG002 - the boundary counts voxels
    ) -> Integer[np.ndarray, "*space"]:
        """Objects of averaged probabilities."""
        return self._decode(scores, None)

    def answer(
        self,
        scores: Float[np.ndarray, "c *space"],
        spacing: Sequence[float] | None,  # noqa: ARG002 - the boundary counts voxels
        tally: Tally | None = None,
    ) -> Answer:
        """Objects; ``tally`` counts the foreground that is in no object."""
        return Answer(self._decode(scores, tally))

    def decoding_choices(self) -> dict[str, tuple[object, ...]]:
        """The threshold of the interior, and the smallest object."""
        return {
            "threshold": unique(self.threshold, 0.3, 0.4, 0.5, 0.6, 0.7),
            "min_size": size_choices(self.min_size),
        }

    def reasons(self) -> dict[str, str]:
        """Why foreground may be in no object."""
        return {
            "boundary": "without an interior nearby (lower task.threshold to find more)",
            "min_size": f"smaller than task.min_size={self.min_size}",
        }

    def _decode(
        self, scores: Float[np.ndarray, "c *space"], tally: Tally | None
    ) -> Integer[np.ndarray, "*space"]:
        return interiors_to_labels(
            scores,
            self._width,
            threshold=self.threshold,
            min_size=self.min_size,
            grow=self.grow,
            compat=self.compat,
            tally=tally,
        )
