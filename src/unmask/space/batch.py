"""What travels from the loader to an objective."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor, device


@dataclass(frozen=True)
class Batch:
    """One batch; images are normalized and augmented, targets encoded.

    Attributes:
        image: ``(B, C, *space)`` float32.
        values: ``(B, K, *space)`` float32 target values of the task; None in pre-training.
        weight: ``(B, 1 or K, *space)`` float32, 0 where the truth is unknown; None in pre-training.
        unlabeled: ``(B, C, *space)`` crops of unlabeled images, moved but not otherwise augmented.
        seed: seeds what is drawn on the device (masks, dropout): a pure function of run and step.
    """

    image: Tensor
    values: Tensor | None = None
    weight: Tensor | None = None
    seed: int = 0
    unlabeled: Tensor | None = None

    def to(self, place: device | str) -> Batch:
        """The batch on a device; copies overlap with work where the memory is pinned."""
        return replace(
            self,
            image=self.image.to(place, non_blocking=True),
            values=None if self.values is None else self.values.to(place, non_blocking=True),
            weight=None if self.weight is None else self.weight.to(place, non_blocking=True),
            unlabeled=None
            if self.unlabeled is None
            else self.unlabeled.to(place, non_blocking=True),
        )
