"""Objects of other samples of the batch, pasted into a sample."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from unmask.data.augment.random_parts import check
from unmask.errors import RecipeError
from unmask.labels.pasting import Cutout, cut_objects, paste_cutout, turn_cutout


@dataclass(frozen=True)
class CopyPaste:
    """Paste objects of another sample of the batch into a sample (arXiv:2012.07177).

    Whole objects are pasted, mirrored and rotated by right angles at random; their intensity is
    shifted to the local background. A pasted object covers other objects, whose covered voxels lose
    their label. It is not pasted where another object would be left in pieces or mostly hidden. A
    batch of one sample pastes its own objects.

    Attributes:
        count: smallest and largest number of pasted objects.
        labels: ``objects`` get new numbers; the pieces of ``classes`` keep their class.
        visible: smallest share of a covered object that must stay visible, in [0, 1]; completely
            covered objects are allowed.
        ignore: label of voxels without annotation, which are not pasted; None: no value.
        turn: whether to mirror and rotate the objects.
        p: probability per sample.

    Raises:
        RecipeError: an option is out of its range.
    """

    count: tuple[int, int] = (1, 8)
    labels: Literal["objects", "classes"] = "objects"
    visible: float = 0.5
    ignore: int | None = None
    turn: bool = True
    p: float = 0.5

    def __post_init__(self) -> None:
        check(self, positive=("count",))
        if self.labels not in ("objects", "classes") or not 0 <= self.visible <= 1:
            raise RecipeError(
                "copy_paste: expected labels objects or classes and visible from 0 to 1, found "
                f"labels={self.labels!r}, visible={self.visible}. Change data.augment."
            )

    def draw(self, rng: np.random.Generator, shape: Sequence[int]) -> int | None:
        """Draw a seed; the number of objects is known only after the geometric augmentation."""
        del shape
        return int(rng.integers(2**63 - 1)) if rng.random() < self.p else None

    def mix(
        self, images: Tensor, labels: Tensor, params: Sequence[int | None]
    ) -> tuple[Tensor, Tensor]:
        """New images ``(B, C, *space)`` and labels ``(B, *space)`` with objects pasted."""
        if all(seed is None for seed in params):
            return images, labels
        values, ids = images.cpu().numpy(), labels.cpu().numpy()
        # Objects are cut out of the original samples, so that the order of samples is irrelevant.
        shelves: dict[int, list[Cutout]] = {}
        pasted, numbers = values.copy(), ids.copy()
        for sample, seed in enumerate(params):
            if seed is None:
                continue
            rng = np.random.default_rng(seed)
            other = int(rng.integers(len(ids) - 1)) if len(ids) > 1 else 0
            other += int(other >= sample and len(ids) > 1)
            if other not in shelves:
                shelves[other] = cut_objects(
                    values[other], ids[other], connected=self.labels == "classes",
                    skip=() if self.ignore is None else (self.ignore,),
                )  # fmt: skip
            self._paste(pasted[sample], numbers[sample], shelves[other], rng)
        return (
            torch.from_numpy(pasted).to(images.device, images.dtype),
            torch.from_numpy(numbers).to(labels.device, labels.dtype),
        )

    def _paste(
        self,
        image: np.ndarray,
        labels: np.ndarray,
        shelf: Sequence[Cutout],
        rng: np.random.Generator,
    ) -> None:
        if not shelf:
            return
        values, counts = np.unique(labels, return_counts=True)
        sizes = dict(zip(values.tolist(), counts.tolist(), strict=True))
        number = max(int(labels.max(initial=0)), self.ignore or 0)
        for _ in range(int(rng.integers(self.count[0], self.count[1] + 1))):
            cutout = shelf[int(rng.integers(len(shelf)))]
            if self.turn:
                cutout = turn_cutout(cutout, rng)
            size = np.array(cutout.mask.shape)
            # The center of the object lies inside the image.
            corner = rng.integers(-(size // 2), np.array(labels.shape) - size // 2)
            own = self.labels == "classes"
            value = cutout.value if own else number + 1
            visible = 0.0 if own else self.visible
            done = paste_cutout(
                image, labels, cutout, corner.tolist(), value, visible=visible, sizes=sizes
            )
            number += int(done and not own)
