"""Contract of tasks: labels -> target, network -> loss, logits -> scores -> answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, is_dataclass
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Bool, Float, Float32, Integer
from torch import Tensor

from unmask.errors import RecipeError, message
from unmask.labels.dropped import Tally
from unmask.models import nd
from unmask.models.base import Step
from unmask.plugins import source_digest
from unmask.space.batch import Batch


@dataclass(frozen=True)
class Target:
    """Training target of one crop.

    Attributes:
        values: ``(K, *space)`` float32.
        weight: ``(1 or K, *space)`` float32; 0 where the truth is unknown or ignored.
    """

    values: Float32[np.ndarray, "k *space"]
    weight: Float32[np.ndarray, "w *space"]


@dataclass(frozen=True)
class Answer:
    """What a task says about an image, or about a part of it.

    Attributes:
        labels: ``(*space)``, 0 is background.
        classes: probability of each class of the whole image by name, in the order of
            ``image_classes``; None if the label image is the answer.
    """

    labels: Integer[np.ndarray, "*space"]
    classes: Mapping[str, float] | None = None


@runtime_checkable
class Network(Protocol):
    """What an objective may ask of a network."""

    @property
    def strides(self) -> Sequence[Sequence[int]]:
        """Voxels of the image per voxel of each level, finest level first."""
        ...

    def logits(self, image: Float[Tensor, "b c *space"]) -> Float[Tensor, "b k *space"]:
        """Logits of the task, one vector per voxel."""
        ...

    def outputs(self, image: Float[Tensor, "b c *space"]) -> tuple[Tensor, list[Tensor]]:
        """Logits at full size, and those of the supervised coarser levels at their own size."""
        ...


@runtime_checkable
class Task(Protocol):
    """What is segmented and how it is read out of a network's output: what a task must have.

    A task is a frozen dataclass whose fields are its options. It may take ``ndim`` (number of
    spatial axes), which the builder passes. What a task may leave out is in `TaskDefaults`.
    """

    @property
    def context(self) -> int:
        """Voxels around a block that ``decode`` needs to give the block's own labels.

        0 says that every voxel is labeled alone and labels mean the same in all blocks; otherwise
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
class TaskDefaults(Protocol):
    """What a task may leave out: tasks inherit it, or `unmask.tasks.complete` adds it to them.

    A task that learns in another way than by ``loss`` overrides ``objective``. A task whose answer
    is more than what ``decode`` returns overrides ``answer``.
    """

    __slots__ = ()

    @property
    def meaning(self) -> Mapping[str, object]:
        """Everything that decides what the channels mean, but not how they are decoded.

        A trained head is reused only for a task of equal meaning: three channels can be flows or
        classes. The default is all options.
        """
        return asdict(self) if is_dataclass(self) else dict(vars(self))

    @property
    def image_classes(self) -> tuple[str, ...]:
        """Names of the classes of whole images, in the order of their numbers, starting at 1.

        If there are any, an image has one label value, the truth may be a table, and predictions
        are written to a table. Empty: the answer is a label image.
        """
        return ()

    def score_names(self) -> Sequence[str]:
        """A name for each channel of the scores, for exported files; empty: they are numbered."""
        return ()

    def side_channels(self: Task) -> int:
        """Channels of the output of a coarser level (deep supervision)."""
        return self.channels()

    def objective(self: Task, network: Network, batch: Batch) -> Step:
        """Loss of one batch with targets, and what the journal logs of it.

        Coarser levels learn the same target at full size, each with half the weight of the next
        finer level (Lee et al. 2015, arXiv:1409.5185).

        Args:
            network: gives logits.
            batch: images with targets.
        """
        values, weight = targets_of(batch)
        logits, coarser = network.outputs(batch.image)
        size = tuple(values.shape[2:])
        loss = self.loss(logits.float(), values, weight)
        losses = [loss] + [
            self.loss(nd.interpolate(level.float(), size), values, weight) for level in coarser
        ]
        weights = [0.5**level for level in range(len(losses))]
        total = sum(w * each for w, each in zip(weights, losses, strict=True)) / sum(weights)
        return Step(torch.as_tensor(total), logs={"loss": loss.detach()})

    def answer(
        self: Task,
        scores: Float[np.ndarray, "s *space"],
        spacing: Sequence[float] | None,
        tally: Tally | None = None,  # noqa: ARG002 - for tasks that drop foreground
    ) -> Answer:
        """The answer of joined scores.

        Args:
            scores: joined scores; of a task with ``image_classes`` their mean over an image
                (one voxel) is enough.
            spacing: voxel size, if known.
            tally: counts dropped foreground by the names in ``reasons``; None: not counted.
        """
        return Answer(self.decode(scores, spacing))

    def uncertainty(
        self,
        scores: Float[np.ndarray, "s *space"],
    ) -> Float[np.ndarray, "*space"]:
        """How uncertain joined scores are, per voxel: 0 is sure, 1 is undecided.

        The default is for scores that are probabilities: the mean over the channels of their
        closeness to one half.
        """
        total = np.zeros(scores.shape[1:], np.float32)
        for channel in scores:
            total += 1 - np.abs(2 * channel.clip(0, 1) - 1)
        return total / len(scores)

    def sureness(
        self,
        scores: Float[np.ndarray, "s *space"],  # noqa: ARG002 - the contract
    ) -> Float[np.ndarray, "*space"] | None:
        """Probability of being in an object, per voxel; None: the task has none."""
        return None

    def doubting(self: Task, size: int) -> Task:  # noqa: ARG002 - the contract
        """The task that removes objects of fewer than ``size`` voxels that are not sure.

        The default is for tasks that have no such option: the task as it is.
        """
        return self

    def decode_within(
        self,
        scores: Float[np.ndarray, "s *space"],  # noqa: ARG002 - the contract
        foreground: Bool[np.ndarray, "*space"] | None,  # noqa: ARG002 - the contract
    ) -> Integer[np.ndarray, "*space"]:
        """Objects inside a given foreground; None: inside the predicted one.

        Raises:
            RecipeError: the task does not decode within a given foreground.
        """
        raise RecipeError(
            message(
                f"task {type(self).__name__.lower()}",
                expected="a task that decodes within a given foreground, embeddings or affinities",
                found="one that does not",
                do="Give a model of such a task, or use unmask predict.",
            )
        )

    def decoding_choices(self) -> Mapping[str, Sequence[object]]:
        """Values to try for each option of decoding, the one in use first; see ``unmask tune``.

        ``decoding.x`` is the entry x of the option ``decoding``. Only options that leave the output
        of the network as it is belong here. Empty: there are none.
        """
        return {}

    def reasons(self) -> Mapping[str, str]:
        """For each name in ``tally`` the end of a sentence: "37 pixels <text>"."""
        return {}

    def check_blocks(self) -> None:
        """Called before an image is predicted in several blocks.

        Raises:
            RecipeError: the labels of a block depend on the whole image, whatever ``context`` is.
        """


@runtime_checkable
class CompleteTask(Task, TaskDefaults, Protocol):
    """A task with all members, as training and prediction use it."""


def targets_of(batch: Batch) -> tuple[Tensor, Tensor]:
    """Values and weights of a batch.

    Raises:
        ValueError: the batch has images only.
    """
    if batch.values is None or batch.weight is None:
        raise ValueError("A task learns from targets; this batch has images only.")
    return batch.values, batch.weight


def unique(*values: object) -> tuple[object, ...]:
    """The values in their order, each once.

    Examples:
        >>> unique(0.5, 0.3, 0.5)
        (0.5, 0.3)
    """
    return tuple(dict.fromkeys(values))


def size_choices(size: int) -> tuple[object, ...]:
    """Sizes of the smallest object around one: a quarter, a half, twice and four times as large.

    Examples:
        >>> size_choices(16)
        (16, 4, 8, 32, 64)
    """
    return unique(size, size // 4, size // 2, size * 2, size * 4)


def describe_meaning(task: CompleteTask) -> dict[str, object]:
    """What the output channels of a task mean, with the name and the source of its class."""
    return {"task": type(task).__name__, "source": source_digest(task), **task.meaning}
