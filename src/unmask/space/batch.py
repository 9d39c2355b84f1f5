"""What travels from the loader to an objective."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

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
        return self._with_each(lambda tensor: tensor.to(place, non_blocking=True))

    def pin(self) -> Batch:
        """The batch in memory that a GPU reads on its own, while the host continues."""
        return self._with_each(lambda tensor: tensor.pin_memory())

    def _with_each(self, change: Callable[[Tensor], Tensor]) -> Batch:
        names = ("image", "values", "weight", "unlabeled")
        tensors = {name: getattr(self, name) for name in names}
        changed = {name: change(each) for name, each in tensors.items() if each is not None}
        return replace(self, **changed)
