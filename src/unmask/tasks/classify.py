"""One class per image or volume, by cross-entropy.

Labels have one value in the whole image, the number of its class (1, 2, ...); tables give them
(``unmask.data.tables``). Logits are averaged over the image, so that any decoder serves: ``pool``
gives one vector for the whole image, others one per voxel.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch.nn.functional as F
from jaxtyping import Float, Integer
from torch import Tensor

from unmask.errors import DataError, RecipeError
from unmask.labels.dropped import Tally
from unmask.tasks.base import Answer, Target, TaskDefaults


@dataclass(frozen=True)
class Classify(TaskDefaults):
    """Which of some classes an image is of.

    Attributes:
        classes: their names, as tables of classes say them.
        ignore_label: label value without truth, in addition to 0.
        class_weights: weight of each class in the loss; None: all equal.
        smoothing: share of the target that is spread evenly over all classes, 0 to 1.
    """

    classes: Sequence[str] = ("0", "1")
    ignore_label: int | None = None
    class_weights: Sequence[float] | None = None
    smoothing: float = 0.0

    def __post_init__(self) -> None:
        names = tuple(str(name) for name in self.classes)
        if len(names) < 2 or len(set(names)) < len(names):
            raise RecipeError(
                f"task classify: expected two or more classes of different names, found "
                f"classes={list(names)}. Set task.classes."
            )
        if self.class_weights is not None and len(self.class_weights) != len(names):
            raise RecipeError(
                f"task classify: expected {len(names)} class_weights, found "
                f"{len(self.class_weights)}. Give one for each class."
            )
        if not 0 <= self.smoothing < 1:
            raise RecipeError(
                f"task classify: expected smoothing of 0 or more and below 1, found "
                f"{self.smoothing}. Correct the recipe."
            )
        object.__setattr__(self, "classes", names)

    @property
    def context(self) -> int:
        """Every position predicts on its own."""
        return 0

    @property
    def metrics(self) -> tuple[str, ...]:
        """Balanced accuracy chooses the best model: classes are seldom equally frequent."""
        return ("balanced_accuracy", "accuracy", "auc")

    @property
    def image_classes(self) -> tuple[str, ...]:
        """Names of the classes, in the order of their numbers, starting at 1."""
        return tuple(self.classes)

    @property
    def meaning(self) -> Mapping[str, object]:
        """The class of every channel."""
        return {"classes": list(self.classes)}

    def channels(self) -> int:
        """One logit a class."""
        return len(self.classes)

    def encode(
        self,
        labels: Integer[np.ndarray, "*space"],
        spacing: Sequence[float] | None,  # noqa: ARG002 - classes have no size
    ) -> Target:
        """Class index ``(1, *space)`` and weight ``(1, *space)``, 0 beyond the image.

        Raises:
            DataError: a value that is not a class.
        """
        known = labels != 0
        if self.ignore_label is not None:
            known &= labels != self.ignore_label
        strange = known & ((labels < 0) | (labels > len(self.classes)))
        if strange.any():
            raise DataError(
                f"labels: expected numbers of classes, 1 to {len(self.classes)}, found "
                f"{np.unique(labels[strange])[:8].tolist()}. Set task.classes."
            )
        index = np.where(known, labels - 1, 0)
        return Target(index[None].astype(np.float32), known[None].astype(np.float32))

    def loss(
        self,
        logits: Float[Tensor, "b c *space"],
        values: Float[Tensor, "b 1 *space"],
        weight: Float[Tensor, "b 1 *space"],
    ) -> Tensor:
        """Cross-entropy of the mean logits of an image; an image without truth does not count."""
        known = weight.flatten(2)
        count = known.sum(dim=2, keepdim=True)
        pooled = (logits.float().flatten(2) * (known / count.clamp(min=1))).sum(dim=2)
        index = (values.flatten(2) * known).amax(dim=(1, 2)).long()
        weights = None if self.class_weights is None else logits.new_tensor(self.class_weights)
        entropy = F.cross_entropy(
            pooled, index, weight=weights, reduction="none", label_smoothing=self.smoothing
        )
        seen = (count[:, 0, 0] > 0).float()
        total = seen if weights is None else seen * weights[index]
        return (entropy * seen).sum() / total.sum().clamp(min=1e-6)

    def activate(self, logits: Float[Tensor, "b c *space"]) -> Float[Tensor, "b c *space"]:
        """Class probabilities."""
        return logits.float().softmax(1)

    def score_names(self) -> list[str]:
        """The name of each class."""
        return list(self.image_classes)

    def flip(self, scores: Float[Tensor, "b c *space"], axis: int) -> Float[Tensor, "b c *space"]:
        """Probabilities have no direction."""
        return scores.flip(axis + 2)

    def decode(
        self,
        scores: Float[np.ndarray, "c *space"],
        spacing: Sequence[float] | None,  # noqa: ARG002 - classes have no size
    ) -> Integer[np.ndarray, "*space"]:
        """The number of the most probable class everywhere."""
        number = 1 + int(_probabilities(scores).argmax())
        return np.full(scores.shape[1:], number, np.min_scalar_type(len(self.classes)))

    def answer(
        self,
        scores: Float[np.ndarray, "c *space"],
        spacing: Sequence[float] | None,
        tally: Tally | None = None,  # noqa: ARG002 - no foreground is dropped
    ) -> Answer:
        """Probability of every class of the whole image."""
        probabilities = map(float, _probabilities(scores))
        classes = dict(zip(self.image_classes, probabilities, strict=True))
        return Answer(self.decode(scores, spacing), classes)


def _probabilities(scores: Float[np.ndarray, "c *space"]) -> Float[np.ndarray, " c"]:
    """Mean probability of every class; windows of an image count by their size."""
    mean = scores.reshape(len(scores), -1).mean(axis=1, dtype=np.float64)
    return mean / mean.sum()
