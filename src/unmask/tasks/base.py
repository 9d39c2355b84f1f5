"""Contract of segmentation tasks: labels -> target, logits -> scores -> labels."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, is_dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, Float32, Integer
from torch import Tensor

from unmask.labels.dropped import Tally
from unmask.plugins import source_digest


@dataclass(frozen=True)
class Target:
    """Training target of one crop.

    Attributes:
        values: ``(K, *space)`` float32.
        weight: ``(1 or K, *space)`` float32; 0 where the truth is unknown or ignored.
    """

    values: Float32[np.ndarray, "k *space"]
    weight: Float32[np.ndarray, "w *space"]


@runtime_checkable
class Task(Protocol):
    """What is segmented and how it is read out of a network's output.

    A task is a frozen dataclass whose fields are its options; it may take ``ndim`` (number of
    spatial axes), which the builder gives. ``metrics`` names the figures of validation, the first
    one chooses the best model (higher is better).
    """

    @property
    def context(self) -> int:
        """Voxels around a block that ``decode`` needs to give the block's own labels.

        0 says that every voxel is labelled alone and labels mean the same in all blocks; otherwise
        labels are objects, which are joined over blocks.
        """
        ...

    @property
    def metrics(self) -> tuple[str, ...]:
        """Metric names as in ``unmask.metrics``; the first one chooses the best model."""
        ...

    def channels(self) -> int:
        """Channels of the network's output."""
        ...

    def encode(
        self, labels: Integer[np.ndarray, "*space"], spacing: Sequence[float] | None
    ) -> Target:
        """Target of one label crop; runs on the CPU after augmentation."""
        ...

    def loss(
        self,
        logits: Float[Tensor, "b c *space"],
        values: Float[Tensor, "b k *space"],
        weight: Float[Tensor, "b w *space"],
    ) -> Tensor:
        """Scalar loss in float32; voxels of weight 0 have no influence."""
        ...

    def activate(self, logits: Float[Tensor, "b c *space"]) -> Float[Tensor, "b s *space"]:
        """Logits to scores, before tiles, flips and models are averaged."""
        ...

    def flip(self, scores: Float[Tensor, "b s *space"], axis: int) -> Float[Tensor, "b s *space"]:
        """Mirror scores along spatial ``axis`` (0 = slowest), with the signs of vector fields."""
        ...

    def decode(
        self, scores: Float[np.ndarray, "s *space"], spacing: Sequence[float] | None
    ) -> Integer[np.ndarray, "*space"]:
        """Label image of joined scores; 0 is background."""
        ...


@runtime_checkable
class Described(Protocol):
    """A task that says what its output channels mean; other tasks mean what their options are."""

    @property
    def meaning(self) -> Mapping[str, object]:
        """Everything that decides what the channels say, without what decides how they are read.

        A trained head serves a task of equal meaning only: three channels can be flows or classes.
        """
        ...


def meaning_of(task: object) -> dict[str, object]:
    """What the output channels of a task mean, with the name of its class."""
    if isinstance(task, Described):
        found = dict(task.meaning)
    elif is_dataclass(task) and not isinstance(task, type):
        found = asdict(task)
    else:
        found = dict(vars(task))
    return {"task": type(task).__name__, "source": source_digest(task), **found}


@runtime_checkable
class WholeImage(Protocol):
    """A task that says one thing of a whole image.

    Its labels have one value in an image, the number of the class, and its answers are written to
    a table.
    """

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the classes, in order of their numbers from 1 on."""
        ...

    def shares(self, scores: Float[np.ndarray, "s *space"]) -> Float[np.ndarray, " s"]:
        """Probability of every class from the joined scores of an image or its parts."""
        ...


@runtime_checkable
class Removing(Protocol):
    """A task whose decoding drops foreground that may be wanted, and counts it by reason."""

    def decode_counted(
        self, scores: Float[np.ndarray, "s *space"], spacing: Sequence[float] | None, tally: Tally
    ) -> Integer[np.ndarray, "*space"]:
        """Labels as of ``decode``; ``tally`` gets the dropped foreground."""
        ...

    def reasons(self) -> Mapping[str, str]:
        """For each reason in ``tally`` the end of a sentence: "37 pixels <text>"."""
        ...


@runtime_checkable
class Undivided(Protocol):
    """A task whose labels may need the whole image, whatever its ``context``."""

    def check_blocks(self) -> None:
        """Called before an image is predicted in several blocks.

        Raises:
            RecipeError: the labels of a block depend on the whole image.
        """
        ...


@runtime_checkable
class Coarse(Protocol):
    """A task whose coarser levels learn at their own resolution (deep supervision)."""

    def side_channels(self) -> int:
        """Channels of a coarser level's output."""
        ...

    def side_loss(
        self,
        logits: Float[Tensor, "b c *coarse"],
        values: Float[Tensor, "b k *space"],
        weight: Float[Tensor, "b w *space"],
        *,
        level: int,
        stride: Sequence[int],
    ) -> Tensor:
        """Loss of level 1, 2, ... with its weight; ``stride`` voxels of the image are one of it."""
        ...


@runtime_checkable
class TwoViews(Protocol):
    """A task that compares an image with a changed view of it."""

    def second_view(
        self, image: Float[Tensor, "b c *space"], values: Float[Tensor, "b k *space"], *, seed: int
    ) -> tuple[Tensor, Callable[[Tensor], Tensor]] | None:
        """The view, and how its logits are turned back; None: no second view."""
        ...

    def cross_loss(
        self,
        logits: Float[Tensor, "b c *space"],
        other: Float[Tensor, "b c *space"],
        values: Float[Tensor, "b k *space"],
        weight: Float[Tensor, "b w *space"],
    ) -> Tensor:
        """Loss between the logits of both views with its weight; ``other`` has no gradient."""
        ...
