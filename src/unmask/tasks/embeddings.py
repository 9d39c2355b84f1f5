"""Instances by embeddings whose cosines are affinities: Pixel-Embedded Affinity.

Huang et al. 2022, AAAI (doi:10.1609/aaai.v36i1.19984). Three losses: within the embedding, across
to the embedding of a changed view, and within the coarser levels of the decoder.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Integer
from torch import Tensor

from unmask.errors import RecipeError
from unmask.labels.dropped import Tally
from unmask.models import nd
from unmask.models.base import Step
from unmask.space.batch import Batch
from unmask.space.random import generator
from unmask.tasks.base import Answer, Network, Target, TaskDefaults, targets_of
from unmask.tasks.cosine import Rule, affinities, pair_loss
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
    try_decoding,
)
from unmask.tasks.recorded import record_cosines
from unmask.tasks.views import View

# How voxels without a neighbor count in the share of joined pairs, as `Rule` takes it.
_BORDER_PAIRS: dict[str, float | str | None] = {
    "none": None,
    "apart": 0.0,
    "joined": 1.0,
    "object": "object",
}
_REDUCTIONS = ("mean", "row_sum")


@dataclass(frozen=True)
class Embeddings(TaskDefaults):
    """Channels: the embedding, then two logits (background, foreground) where asked for.

    Attributes:
        ndim: number of spatial axes.
        dims: channels of the embedding.
        offsets: neighbors that are compared, in voxels, slow axis first; the default looks 1, 3,
            9 and 27 voxels back along every axis.
        decode_offsets: neighbors at prediction; default: ``offsets``.
        side_offsets: how many of the first offsets each coarser level compares, in its own voxels;
            default: one for each axis less at every level.
        background: voxels of id 0 are ``apart`` from everything, such as membranes, or one more
            ``object``.
        widen: voxels on both sides of a voxel, along every axis, within which another object makes
            it background; None: labels as they are.
        cross_weight: weight of the comparison with a changed view; 0: no second view.
        side_weight: weight of the first coarser level. The sums of the published 2D programs are
            means times the height H of the level, so that with ``reduction`` mean their balance is
            that of 0.5 here, of 0.5 as ``side_decay``, and of their ``foreground_weight`` over H,
            1000 / H for nuclei; Adam's eps of 0.01 becomes 0.01 / H. In 3D they are means: 1 and 1.
        side_decay: weight of a level as a share of the next finer one.
        view: options of the changed view, see ``View``.
        foreground: learn two logits of background and foreground.
        foreground_weight: weight of their cross-entropy; 0: they are neither learned nor read.
        far_border: affinities of voxels whose far neighbor lies outside the tile: ``nearest``
            repeats the nearest known one, ``zero`` is the published choice.
        threshold: probability above which a voxel is foreground.
        border_pairs: how voxels without a neighbor count in the share of joined pairs, which
            balances the loss: ``none`` leaves them out, ``apart`` and ``joined`` count them as
            such, ``object`` counts those with an id as joined. The published programs count them
            as joined in 2D and as apart in 3D.
        side_border_pairs: the same for the coarser levels; ``joined`` and ``object`` are published.
        reduction: ``mean`` over the known pairs; ``row_sum`` is the sum over the first axis of the
            means over all others, which the published 2D programs take.
        ignore_label: label value without truth.
        decoding: name and options of the decoder, see ``unmask.labels.affinities``.
        reach: largest expected extent of an object around a voxel, as context for decoding.
    """

    ndim: int
    dims: int = 16
    offsets: Sequence[Sequence[int]] | None = None
    decode_offsets: Sequence[Sequence[int]] | None = None
    side_offsets: Sequence[int] | None = None
    background: str = "apart"
    widen: Sequence[int] | None = None
    cross_weight: float = 1.0
    side_weight: float = 1.0
    side_decay: float = 1.0
    view: Mapping[str, Any] = field(default_factory=dict)
    foreground: bool = False
    foreground_weight: float = 1.0
    far_border: str = "nearest"
    threshold: float = 0.5
    border_pairs: str = "none"
    side_border_pairs: str = "none"
    reduction: str = "mean"
    ignore_label: int | None = None
    decoding: Mapping[str, Any] | str = field(default_factory=lambda: {"name": "mutex"})
    reach: int = 64

    def __post_init__(self) -> None:
        wrong = {
            "dims": self.dims < 1,
            "background": self.background not in BACKGROUNDS,
            "widen": self.widen is not None
            and (len(self.widen) != self.ndim or min(self.widen) < 0),
            "cross_weight": self.cross_weight < 0,
            "side_weight": self.side_weight < 0,
            "side_decay": self.side_decay < 0,
            "foreground_weight": self.foreground_weight < 0,
            "border_pairs": self.border_pairs not in _BORDER_PAIRS,
            "side_border_pairs": self.side_border_pairs not in _BORDER_PAIRS,
            "reduction": self.reduction not in _REDUCTIONS,
            "reach": self.reach < 1,
            "far_border": self.far_border not in {"nearest", "zero"},
        }
        for name in (name for name, bad in wrong.items() if bad):
            raise RecipeError(
                f"task embeddings: {name}={getattr(self, name)!r} is out of range. Expected dims "
                f"and reach of 1 or more, background {' or '.join(BACKGROUNDS)}, widen of "
                f"{self.ndim} numbers, weights of 0 or more, border pairs of "
                f"{', '.join(_BORDER_PAIRS)}, reduction {' or '.join(_REDUCTIONS)}, far_border "
                "nearest or zero. Correct the recipe."
            )
        _ = self._learned, self._changes()
        try_decoding(self.decoding, self._decoded, task="embeddings")

    @property
    def context(self) -> int:
        """The furthest neighbor of any voxel of an object that touches the block."""
        return self.reach + find_reach(self._decoded)

    @property
    def metrics(self) -> tuple[str, ...]:
        """F1 at IoU 0.5 chooses the best model."""
        return ("f1@0.5", "aji")

    @property
    def _learned(self) -> tuple[Offset, ...]:
        return check_offsets(self.offsets, self.ndim, task="embeddings")

    @property
    def _decoded(self) -> tuple[Offset, ...]:
        return check_offsets(self.decode_offsets or self.offsets, self.ndim, task="embeddings")

    @property
    def _reads_foreground(self) -> bool:
        return self.foreground and self.foreground_weight > 0

    @property
    def _largest_is_background(self) -> bool:
        return self.background == "object" and not self._reads_foreground

    @property
    def meaning(self) -> Mapping[str, object]:
        """The embedding is free; only its length and the foreground are fixed."""
        return {"dims": self.dims, "foreground": self.foreground}

    def channels(self) -> int:
        """The embedding and the logits of background and foreground."""
        return self.dims + 2 * self.foreground

    def side_channels(self) -> int:
        """Coarser levels learn the embedding only."""
        return self.dims

    def encode(
        self,
        labels: Integer[np.ndarray, "*space"],
        spacing: Sequence[float] | None,  # noqa: ARG002 - offsets count voxels
    ) -> Target:
        """Ids ``(1, *space)`` and weight ``(1, *space)``."""
        return encode_labels(labels, ignore_label=self.ignore_label, widen=self.widen)

    def objective(self, network: Network, batch: Batch) -> Step:
        """The losses within the embedding, within coarser levels, and across two views."""
        values, weight = targets_of(batch)
        logits, coarser = network.outputs(batch.image)
        loss = total = self.loss(logits.float(), values, weight)
        for level, side in enumerate(coarser, 1):
            stride = network.strides[level]
            total = total + self.side_loss(side.float(), values, weight, level=level, stride=stride)
        view = self.second_view(batch.image, values, seed=batch.seed)
        if view is not None:
            # The other embedding is a fixed target, so it needs no memory for a backward pass.
            with torch.no_grad():
                other = view[1](network.logits(view[0]).float())
            # Converted a second time, so that in 16 bits both gradients are rounded one by one.
            total = total + self.cross_loss(logits.float(), other, values, weight)
        return Step(total, logs={"loss": loss.detach()})

    def loss(
        self,
        logits: Float[Tensor, "b c *space"],
        values: Float[Tensor, "b 1 *space"],
        weight: Float[Tensor, "b 1 *space"],
    ) -> Tensor:
        """Balanced squared errors of the affinities, and cross-entropy of the foreground."""
        space = logits.shape[2:]
        offsets = inner(self._learned, space, task="embeddings")
        rule = self._rule(0, space)
        loss = pair_loss(logits[:, : self.dims], values, weight, offsets=offsets, rule=rule)
        if not self._reads_foreground:
            return loss
        entropy = _foreground_loss(logits[:, self.dims :], values, weight)
        return loss + self.foreground_weight * entropy

    def side_loss(
        self,
        logits: Float[Tensor, "b c *coarse"],
        values: Float[Tensor, "b 1 *space"],
        weight: Float[Tensor, "b 1 *space"],
        *,
        level: int,
        stride: Sequence[int],
    ) -> Tensor:
        """The same within coarser level ``level`` (1, 2, ...), every ``stride``-th id."""
        space = logits.shape[2:]
        picks = (..., *(slice(0, n * s, s) for n, s in zip(space, stride, strict=True)))
        counts = self.side_offsets or [
            max(self.ndim, len(self._learned) - self.ndim * far) for far in range(1, level + 1)
        ]
        offsets = self._learned[: counts[min(level, len(counts)) - 1]]
        rule = self._rule(level, space)
        loss = pair_loss(logits, values[picks], weight[picks], offsets=offsets, rule=rule)
        return self.side_weight * self.side_decay ** (level - 1) * loss

    def second_view(
        self, image: Float[Tensor, "b c *space"], values: Float[Tensor, "b 1 *space"], *, seed: int
    ) -> tuple[Tensor, Callable[[Tensor], Tensor]] | None:
        """A changed view of every sample, and how its logits are turned back."""
        if self.cross_weight == 0:
            return None
        options = self._changes()
        space = image.shape[2:]
        changes = [options.draw(generator(seed, "view", b), space) for b in range(len(image))]
        samples = zip(image, values[:, 0], changes, strict=True)
        view = torch.stack([options.apply(one, ids, change) for one, ids, change in samples])

        def undo(logits: Tensor) -> Tensor:
            pairs = zip(logits, changes, strict=True)
            return torch.stack([change.turn.undo(one) for one, change in pairs])

        return view, undo

    def cross_loss(
        self,
        logits: Float[Tensor, "b c *space"],
        other: Float[Tensor, "b c *space"],
        values: Float[Tensor, "b 1 *space"],
        weight: Float[Tensor, "b 1 *space"],
    ) -> Tensor:
        """The same between every voxel and its neighbors in the other view."""
        space = logits.shape[2:]
        offsets = inner(self._learned, space, task="embeddings")
        one, two = logits[:, : self.dims], other[:, : self.dims]
        rule = self._rule(0, space)
        loss = pair_loss(one, values, weight, offsets=offsets, rule=rule, other=two)
        return self.cross_weight * loss

    def activate(self, logits: Float[Tensor, "b c *space"]) -> Float[Tensor, "b s *space"]:
        """Affinities at the decoding offsets, negative cosines as 0, and the foreground."""
        logits = logits.float()
        zero_far = self.far_border == "zero"
        compute = record_cosines if nd.is_exporting() else affinities
        found = compute(logits[:, : self.dims], self._decoded, zero_far=zero_far)
        scores = found.clamp_(0, 1)
        if not self._reads_foreground:
            return scores
        return torch.cat([scores, logits[:, self.dims :].softmax(1)[:, 1:]], 1)

    def score_names(self) -> list[str]:
        """The offset of each channel in voxels, then the foreground."""
        return name_pairs(self._decoded, foreground=self._reads_foreground)

    def flip(self, scores: Float[Tensor, "b s *space"], axis: int) -> Float[Tensor, "b s *space"]:
        """Mirror; the other end of a pair becomes its voxel."""
        return mirror_pairs(scores, self._decoded, axis, task="embeddings")

    def decode(
        self,
        scores: Float[np.ndarray, "s *space"],
        spacing: Sequence[float] | None,  # noqa: ARG002 - offsets count voxels
    ) -> Integer[np.ndarray, "*space"]:
        """Objects of averaged affinities.

        Where the background is an object and no foreground is learned, the largest one is it.
        """
        return self._without_background(self.decode_within(scores, None))

    def answer(
        self,
        scores: Float[np.ndarray, "s *space"],
        spacing: Sequence[float] | None,  # noqa: ARG002 - offsets count voxels
        tally: Tally | None = None,
    ) -> Answer:
        """Objects; ``tally`` counts the foreground that is in no object."""
        return Answer(self._without_background(self.decode_within(scores, None, tally=tally)))

    def decoding_choices(self) -> dict[str, tuple[object, ...]]:
        """How readily voxels are joined, the smallest object, and the foreground's threshold."""
        return choices_of(self.decoding, self.threshold if self.foreground else None)

    def reasons(self) -> dict[str, str]:
        """Why foreground may be in no object."""
        return drop_reasons(check_decoding(self.decoding, task="embeddings"))

    def _without_background(
        self, labels: Integer[np.ndarray, "*space"]
    ) -> Integer[np.ndarray, "*space"]:
        if not self._largest_is_background:
            return labels
        sizes = np.bincount(labels.ravel(), minlength=2)
        return np.where(labels == 1 + sizes[1:].argmax(), 0, labels)

    def decode_within(
        self,
        scores: Float[np.ndarray, "s *space"],
        foreground: Bool[np.ndarray, "*space"] | None,
        *,
        tally: Tally | None = None,
    ) -> Integer[np.ndarray, "*space"]:
        """Objects in a given foreground, as CVPPP publishes it; None: in the learned one."""
        return decode_scores(
            scores,
            self._decoded,
            check_decoding(self.decoding, task="embeddings"),
            threshold=self.threshold,
            foreground=foreground,
            tally=tally,
        )

    def check_blocks(self) -> None:
        """The largest object of a block is not that of the image.

        Raises:
            RecipeError: the background is the largest object.
        """
        if self._largest_is_background:
            raise RecipeError(
                "task embeddings: expected a learned foreground where an image is predicted in "
                "blocks, found background=object without one: the largest object of every block "
                "would be removed. Learn a foreground (task.foreground=true, "
                "task.foreground_weight above 0), or predict without blocks: no infer.block and no "
                "--workers, or for a very large image infer.block of its size."
            )

    def _changes(self) -> View:
        """The changed view's options.

        Raises:
            RecipeError: an unknown option.
        """
        try:
            return View(**self.view)
        except TypeError as error:
            raise RecipeError(
                f"task embeddings: expected options of the view, found {dict(self.view)} "
                f"({error}). Correct task.view."
            ) from error

    def _rule(self, level: int, space: Sequence[int]) -> Rule:
        return Rule(
            apart=self.background == "apart",
            border=_BORDER_PAIRS[self.side_border_pairs if level else self.border_pairs],
            # The mean over all axes, times the length of the first one.
            scale=float(space[0]) if self.reduction == "row_sum" else None,
        )


def _foreground_loss(
    logits: Float[Tensor, "b 2 *space"],
    values: Float[Tensor, "b 1 *space"],
    weight: Float[Tensor, "b 1 *space"],
) -> Tensor:
    """Cross-entropy in which background and foreground have equal shares of the batch."""
    classes = (values[:, 0] > 0).long()
    known = weight[:, 0]
    objects = (known * classes).sum()
    both = torch.stack([objects, known.sum() - objects])
    # A batch of one class has nothing to balance.
    balance = torch.where(both.min() > 0, both, torch.ones_like(both)).to(logits.dtype)
    entropy = F.cross_entropy(logits, classes, reduction="none")
    share = balance[classes] * known
    return (entropy * share).sum() / share.sum().clamp(min=1e-6)
