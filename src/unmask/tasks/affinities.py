"""Instances by affinities: one logit for every offset, whether the two voxels belong together.

Cross-entropy and soft Dice after Wolf et al. 2018 (arXiv:1904.12654) and Bailoni et al. 2022
(arXiv:1906.11713).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Integer
from torch import Tensor

from unmask.errors import RecipeError
from unmask.labels.dropped import Tally
from unmask.labels.edges import inside, shift_slices
from unmask.models import nd
from unmask.tasks.base import Answer, Target, TaskDefaults
from unmask.tasks.offsets import (
    BACKGROUNDS,
    Offset,
    check_decoding,
    check_offsets,
    choices_of,
    decode_scores,
    drop_reasons,
    encode_labels,
    find_reach,
    inner,
    mirror_pairs,
    name_pairs,
    pairs_of,
    try_decoding,
    with_border,
)
from unmask.tasks.recorded import repeat_border


@dataclass(frozen=True)
class Affinities(TaskDefaults):
    """Channels: one logit for every offset, then one of the foreground where asked for.

    Attributes:
        ndim: number of spatial axes.
        offsets: neighbors in voxels, slow axis first; the default looks 1, 3, 9 and 27 voxels back
            along every axis.
        background: voxels of id 0 are ``apart`` from everything, such as membranes, or one more
            ``object``.
        widen: voxels on both sides of a voxel, along every axis, within which another object makes
            it background; None: labels as they are.
        dice: share of the Dice term in the loss, 0 to 1. It is the overlap of pairs that are
            apart, which are few.
        foreground: learn a logit of the foreground.
        threshold: probability above which a voxel is foreground.
        ignore_label: label value without truth.
        decoding: name and options of the decoder, see ``unmask.labels.affinities``.
        reach: largest expected extent of an object around a voxel, as context for decoding.
    """

    ndim: int
    offsets: Sequence[Sequence[int]] | None = None
    background: str = "apart"
    widen: Sequence[int] | None = None
    dice: float = 0.5
    foreground: bool = False
    threshold: float = 0.5
    ignore_label: int | None = None
    decoding: Mapping[str, Any] | str = field(default_factory=lambda: {"name": "mutex"})
    reach: int = 64

    def __post_init__(self) -> None:
        wrong = {
            "background": self.background not in BACKGROUNDS,
            "widen": self.widen is not None
            and (len(self.widen) != self.ndim or min(self.widen) < 0),
            "dice": not 0 <= self.dice <= 1,
            "reach": self.reach < 1,
        }
        for name in (name for name, bad in wrong.items() if bad):
            raise RecipeError(
                f"task affinities: {name}={getattr(self, name)!r} is out of range. Expected "
                f"background {' or '.join(BACKGROUNDS)}, widen of {self.ndim} numbers, dice in "
                "[0, 1], a reach of 1 or more. Correct the recipe."
            )
        try_decoding(self.decoding, self._offsets, task="affinities")

    @property
    def context(self) -> int:
        """The furthest neighbor of any voxel of an object that touches the block."""
        return self.reach + find_reach(self._offsets)

    @property
    def metrics(self) -> tuple[str, ...]:
        """F1 at IoU 0.5 chooses the best model."""
        return ("f1@0.5", "aji")

    @property
    def _offsets(self) -> tuple[Offset, ...]:
        return check_offsets(self.offsets, self.ndim, task="affinities")

    @property
    def meaning(self) -> Mapping[str, object]:
        """The pair of voxels of every channel."""
        return {
            "offsets": [list(offset) for offset in self._offsets],
            "foreground": self.foreground,
            "background": self.background,
        }

    def channels(self) -> int:
        """A logit for every offset, and one of the foreground."""
        return len(self._offsets) + self.foreground

    def encode(
        self,
        labels: Integer[np.ndarray, "*space"],
        spacing: Sequence[float] | None,  # noqa: ARG002 - offsets count voxels
    ) -> Target:
        """Ids ``(1, *space)`` and weight ``(1, *space)``."""
        return encode_labels(labels, ignore_label=self.ignore_label, widen=self.widen)

    def loss(
        self,
        logits: Float[Tensor, "b c *space"],
        values: Float[Tensor, "b 1 *space"],
        weight: Float[Tensor, "b 1 *space"],
    ) -> Tensor:
        """Mean over the offsets, and over the foreground as one more channel.

        ``(1 - dice) * cross-entropy + dice * (1 - soft Dice over the batch)``.
        """
        space = logits.shape[2:]
        logits = logits.float()
        inner(self._offsets, space, task="affinities")
        losses: list[Tensor] = []
        for channel, offset in enumerate(self._offsets):
            if inside(offset, space):
                here, _ = shift_slices(space, offset)
                pairs = pairs_of(values, weight, offset, apart=self.background == "apart")
                losses.append(self._term(logits[:, channel][(..., *here)], *pairs))
        if self.foreground:
            losses.append(self._term(logits[:, -1], values[:, 0] > 0, weight[:, 0]))
        return torch.stack(losses).mean()

    def _term(self, logits: Tensor, same: Tensor, known: Tensor) -> Tensor:
        """Loss of one channel ``(b, *space)``."""
        known = known.float()
        truth = same.float()
        entropy = F.binary_cross_entropy_with_logits(logits, truth, weight=known, reduction="sum")
        entropy = entropy / known.sum().clamp(min=1)
        if self.dice == 0:
            return entropy
        cut, apart = (-logits).sigmoid() * known, (1 - truth) * known
        overlap = (2 * (cut * apart).sum() + 1) / ((cut + apart).sum() + 1)
        return (1 - self.dice) * entropy + self.dice * (1 - overlap)

    def activate(self, logits: Float[Tensor, "b c *space"]) -> Float[Tensor, "b c *space"]:
        """Probabilities; voxels without a neighbor repeat the nearest that has one."""
        scores = logits.float().sigmoid()
        # The gradient of a sigmoid needs its values, which are replaced below at borders.
        scores = scores.clone() if scores.requires_grad else scores
        if nd.is_exporting():
            pairs = [
                repeat_border(scores[:, channel], offset)[0]
                for channel, offset in enumerate(self._offsets)
            ]
            return torch.cat([torch.stack(pairs, dim=1), scores[:, len(pairs) :]], dim=1)
        space = scores.shape[2:]
        for channel, offset in enumerate(self._offsets):
            if inside(offset, space):
                here, _ = shift_slices(space, offset)
                within = scores[:, channel][(..., *here)]
                scores[:, channel] = with_border(within, offset, space)
        return scores

    def score_names(self) -> list[str]:
        """The offset of each channel in voxels, then the foreground."""
        return name_pairs(self._offsets, foreground=self.foreground)

    def flip(self, scores: Float[Tensor, "b c *space"], axis: int) -> Float[Tensor, "b c *space"]:
        """Mirror; the other end of a pair becomes its voxel."""
        return mirror_pairs(scores, self._offsets, axis, task="affinities")

    def decode(
        self,
        scores: Float[np.ndarray, "c *space"],
        spacing: Sequence[float] | None,  # noqa: ARG002 - offsets count voxels
    ) -> Integer[np.ndarray, "*space"]:
        """Objects of averaged affinities."""
        return self.decode_within(scores, None)

    def answer(
        self,
        scores: Float[np.ndarray, "c *space"],
        spacing: Sequence[float] | None,  # noqa: ARG002 - offsets count voxels
        tally: Tally | None = None,
    ) -> Answer:
        """Objects; ``tally`` counts the foreground that is in no object."""
        return Answer(self.decode_within(scores, None, tally=tally))

    def decoding_choices(self) -> dict[str, tuple[object, ...]]:
        """How readily voxels are joined, the smallest object, and the foreground's threshold."""
        return choices_of(self.decoding, self.threshold if self.foreground else None)

    def reasons(self) -> dict[str, str]:
        """Why foreground may be in no object."""
        return drop_reasons(check_decoding(self.decoding, task="affinities"))

    def decode_within(
        self,
        scores: Float[np.ndarray, "c *space"],
        foreground: Bool[np.ndarray, "*space"] | None,
        *,
        tally: Tally | None = None,
    ) -> Integer[np.ndarray, "*space"]:
        """Objects in a given foreground; None: in the learned one, or everywhere."""
        return decode_scores(
            scores,
            self._offsets,
            check_decoding(self.decoding, task="affinities"),
            threshold=self.threshold,
            foreground=foreground,
            tally=tally,
        )
