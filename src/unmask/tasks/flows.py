"""Instances by flow fields: vectors to the object's center and a foreground logit.

Stringer et al. 2021, Cellpose (doi:10.1038/s41592-020-01018-x); loss and weights as in MEDIAR
(Lee et al. 2022, arXiv:2212.03465).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Integer
from torch import Tensor

from unmask.errors import RecipeError
from unmask.labels.doubtful import find_doubtful
from unmask.labels.dropped import Tally
from unmask.labels.flows import flows_to_labels, labels_to_flows
from unmask.labels.relabeling import relabel
from unmask.space.axes import SPACE
from unmask.tasks.base import Answer, Target, TaskDefaults, size_choices, unique


@dataclass(frozen=True)
class Flows(TaskDefaults):
    """Channels: one flow for each axis, slow axis first, then the foreground logit.

    Attributes:
        ndim: number of spatial axes.
        flow_scale: the network predicts unit flows times this factor.
        flow_weight: share of the flow term in the loss; the foreground term has 1.
        foreground: scores above are foreground.
        steps: Euler steps of decoding; objects of longer radius need more.
        min_size: smallest object in voxels; 0 keeps all, and holes unfilled.
        max_fraction: largest share of the image that one object may cover; larger ones are
            removed, which prediction reports. 1 keeps all.
        flow_error: largest mean squared distance between predicted and recomputed flows; 0: any.
        doubtful_size: objects of fewer voxels stay only if the network is sure of them
            (``doubtful_score``) or if they touch the border; 0 keeps all.
        doubtful_score: mean foreground score from which on a small object is sure.
        ignore_label: label value without truth.
        compat: a published program whose targets and decoding are reproduced.
        reach: largest expected distance in voxels between an object's voxels and its center; a
            block is decoded with twice as much context.
    """

    ndim: int
    flow_scale: float = 5.0
    flow_weight: float = 0.5
    foreground: float = 0.5
    steps: int = 200
    min_size: int = 15
    max_fraction: float = 0.4
    flow_error: float = 0.4
    doubtful_size: int = 0
    doubtful_score: float = 0.9
    ignore_label: int | None = None
    compat: str | None = None
    reach: int = 32

    def __post_init__(self) -> None:
        wrong = {
            "ndim": self.ndim < 1,
            "flow_scale": not self.flow_scale > 0,
            "flow_weight": self.flow_weight < 0,
            "steps": self.steps < 1,
            "max_fraction": not 0 < self.max_fraction <= 1,
            "doubtful_size": self.doubtful_size < 0,
            "compat": self.compat not in (None, "cellpose", "mediar"),
            "reach": self.reach < 1,
        }
        for name in (name for name, bad in wrong.items() if bad):
            raise RecipeError(
                f"task flows: {name}={getattr(self, name)!r} is out of range. Expected ndim, steps "
                "and reach of 1 or more, a positive flow_scale, a flow_weight and a doubtful_size "
                "of 0 or more, a max_fraction in (0, 1], compat none, cellpose or mediar. Correct "
                "the recipe."
            )

    @property
    def context(self) -> int:
        """A whole object that touches the block, from its near to its far side."""
        return 2 * self.reach

    @property
    def metrics(self) -> tuple[str, ...]:
        """F1 at IoU 0.5 chooses the best model."""
        return ("f1@0.5", "aji")

    @property
    def meaning(self) -> Mapping[str, object]:
        """Flows of one length along every axis, and the foreground."""
        return {"axes": self.ndim, "scale": float(self.flow_scale)}

    def channels(self) -> int:
        """A flow for each axis and one logit."""
        return self.ndim + 1

    def encode(
        self,
        labels: Integer[np.ndarray, "*space"],
        spacing: Sequence[float] | None,  # noqa: ARG002 - flows count voxels
    ) -> Target:
        """Unit flows and foreground ``(ndim + 1, *space)``; weight ``(1, *space)``."""
        known = np.ones(labels.shape, bool)
        if self.ignore_label is not None:
            known = labels != self.ignore_label
            labels = np.where(known, labels, 0)
        values = np.empty((self.ndim + 1, *labels.shape), np.float32)
        values[:-1] = labels_to_flows(labels, compat=self.compat)
        values[-1] = labels > 0
        return Target(values, known[None].astype(np.float32))

    def loss(
        self,
        logits: Float[Tensor, "b c *space"],
        values: Float[Tensor, "b c *space"],
        weight: Float[Tensor, "b 1 *space"],
    ) -> Tensor:
        """Cross-entropy of the foreground + ``flow_weight`` * mean squared error of scaled flows.

        Both are means over all known voxels, background included.
        """
        logits, values = logits.float(), values.float()
        error = (logits[:, :-1] - self.flow_scale * values[:, :-1]).square().mean(1, keepdim=True)
        entropy = F.binary_cross_entropy_with_logits(
            logits[:, -1:], values[:, -1:], reduction="none"
        )
        total = (entropy + self.flow_weight * error) * weight
        return total.sum() / weight.sum().clamp(min=1)

    def activate(self, logits: Float[Tensor, "b c *space"]) -> Float[Tensor, "b c *space"]:
        """Flows in voxels and the foreground's probability."""
        logits = logits.float()
        return torch.cat([logits[:, :-1] / self.flow_scale, logits[:, -1:].sigmoid()], 1)

    def score_names(self) -> list[str]:
        """The flow along each axis, slow axis first, then the foreground."""
        return [*(f"flow_{axis}" for axis in SPACE[-self.ndim :].lower()), "foreground"]

    def flip(self, scores: Float[Tensor, "b c *space"], axis: int) -> Float[Tensor, "b c *space"]:
        """Mirror; the flow along the mirrored axis changes its sign."""
        flipped = scores.flip(axis + 2)
        flipped[:, axis] = -flipped[:, axis]
        return flipped

    def uncertainty(self, scores: Float[np.ndarray, "c *space"]) -> Float[np.ndarray, "*space"]:
        """Undecided foreground, and flows in it that are shorter than 1 as they cancel out."""
        foreground = scores[-1].clip(0, 1)
        length = np.sqrt(np.square(scores[:-1]).sum(axis=0))
        short = foreground * (1 - length).clip(0, 1)
        return 1 - np.abs(2 * foreground - 1) * (1 - short)

    def sureness(self, scores: Float[np.ndarray, "c *space"]) -> Float[np.ndarray, "*space"]:
        """The foreground's probability."""
        return scores[-1]

    def doubting(self, size: int) -> Flows:
        """The task with another ``doubtful_size``."""
        return replace(self, doubtful_size=size)

    def decode(
        self,
        scores: Float[np.ndarray, "c *space"],
        spacing: Sequence[float] | None,  # noqa: ARG002 - flows count voxels
    ) -> Integer[np.ndarray, "*space"]:
        """Objects of averaged scores ``(ndim + 1, *space)``."""
        return self._decode(scores, None)

    def answer(
        self,
        scores: Float[np.ndarray, "c *space"],
        spacing: Sequence[float] | None,  # noqa: ARG002 - flows count voxels
        tally: Tally | None = None,
    ) -> Answer:
        """Objects; ``tally`` counts the foreground that is in no object."""
        return Answer(self._decode(scores, tally))

    def decoding_choices(self) -> dict[str, tuple[object, ...]]:
        """The foreground's threshold, the check of flows, and the smallest object."""
        return {
            "foreground": unique(self.foreground, 0.3, 0.4, 0.5, 0.6, 0.7),
            "flow_error": unique(self.flow_error, 0.0, 0.2, 0.4, 0.8, 1.6),
            "min_size": size_choices(self.min_size),
        }

    def reasons(self) -> dict[str, str]:
        """Why foreground may be in no object."""
        return {
            "undefined": "where flow or score is not finite",
            "speck": "in specks of fewer than 16 (task.compat=mediar)",
            "unsettled": "whose paths along the flow end nowhere together",
            "max_fraction": f"larger than {self.max_fraction:.0%} of the image (--set "
            "task.max_fraction=1 keeps them)",
            "flow_error": f"whose shapes do not fit the predicted flows (task.flow_error="
            f"{self.flow_error:g}; 0 keeps them)",
            "min_size": f"smaller than task.min_size={self.min_size}",
            "doubtful": f"smaller than task.doubtful_size={self.doubtful_size} with scores below "
            f"{self.doubtful_score:g}",
        }

    def _decode(
        self, scores: Float[np.ndarray, "c *space"], tally: Tally | None
    ) -> Integer[np.ndarray, "*space"]:
        labels = flows_to_labels(
            scores[:-1],
            scores[-1],
            threshold=self.foreground,
            steps=self.steps,
            min_size=self.min_size,
            max_fraction=self.max_fraction,
            flow_error=self.flow_error or None,
            compat=self.compat,
            tally=tally,
        )
        if not self.doubtful_size:
            return labels
        limits = {"size": self.doubtful_size, "sure": self.doubtful_score}
        doubtful = find_doubtful(labels, scores[-1], **limits)
        if tally is not None:
            tally.objects("doubtful", labels, doubtful)
        return relabel(np.where(doubtful[labels], 0, labels))
