"""A segmenter that learns from labeled and unlabeled crops at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from unmask.models.base import Objective, Step
from unmask.space.batch import Batch
from unmask.tasks.segmenter import Segmenter


@runtime_checkable
class UnlabeledMethod(Protocol):
    """Learns from unlabeled crops; a ``torch.nn.Module``.

    The constructor takes ``segmenter``, which it must not register as a child, and its own options.
    Everything that a resumed run needs is in parameters or buffers.
    """

    def loss(
        self, segmenter: Segmenter, crops: Float[Tensor, "b c *space"], seed: int
    ) -> Float[Tensor, ""]:
        """Loss of unlabeled crops, which are mirrored, rotated and zoomed, but not changed else.

        Args:
            segmenter: the network that is trained.
            crops: normalized.
            seed: of everything that is drawn here.
        """
        ...

    def begin(self, segmenter: Segmenter) -> None:
        """Called once before the first update of a run, with the weights that it starts with."""
        ...

    def after_update(self, segmenter: Segmenter) -> None:
        """Called after every update; teachers move here."""
        ...


class SemiSupervised(Objective):
    """The loss of the task on labeled crops, and a share of a method's loss on unlabeled ones.

    The parts of the segmenter have the names that they have in a segmenter, so that weights are
    taken over, frozen and grouped alike. The model of a run is the segmenter alone.

    Args:
        segmenter: what is trained.
        method: learns from unlabeled crops.
        weight: of the loss on unlabeled crops.
        ramp: updates over which the weight rises from 0, as in Laine & Aila 2017
            (arXiv:1610.02242): at first a teacher knows nothing.
    """

    updates: Tensor

    def __init__(
        self, segmenter: Segmenter, method: nn.Module, *, weight: float = 1.0, ramp: int = 0
    ) -> None:
        super().__init__()
        self.backbone, self.decoder = segmenter.backbone, segmenter.decoder
        self.head, self.side_heads = segmenter.head, segmenter.side_heads
        self.method: Any = method
        self.weight, self.ramp = weight, ramp
        self.register_buffer("updates", torch.zeros((), dtype=torch.int64))
        # The number of updates as the host knows it; None: to be read from the buffer.
        self._count: int | None = None
        self.register_load_state_dict_post_hook(_forget_count)
        # A list hides it from PyTorch, which would keep every weight twice.
        self._segmenter = [segmenter]

    @property
    def finished(self) -> Segmenter:
        """The segmenter, which is what a run makes."""
        return self._segmenter[0]

    @property
    def task(self) -> Any:
        """What is learned from labels."""
        return self.finished.task

    def step(self, batch: Batch) -> Step:
        """Loss of one batch; without unlabeled crops it is that of the task."""
        labeled = self.finished.step(batch)
        if batch.unlabeled is None:
            return labeled
        if self._known_updates() == 0:
            self.method.begin(self.finished)
        extra = self.method.loss(self.finished, batch.unlabeled, batch.seed)
        logs: Mapping[str, Tensor] = {**labeled.logs, "unlabeled": extra.detach()}
        return Step(labeled.loss + self.share() * extra, logs)

    def share(self) -> float:
        """Weight of the unlabeled loss now."""
        risen = min(1.0, self._known_updates() / self.ramp) if self.ramp else 1.0
        return self.weight * risen

    @torch.no_grad()
    def after_update(self) -> None:
        """Count, and let the method's teachers move."""
        self.method.after_update(self.finished)
        self._count = self._known_updates() + 1
        self.updates += 1

    def _known_updates(self) -> int:
        """Number of updates; the buffer is read once, because a GPU waits for each reading."""
        if self._count is None:
            self._count = int(self.updates)
        return self._count

    def train(self, mode: bool = True) -> SemiSupervised:  # noqa: FBT001, FBT002 - torch's signature
        """Set the training mode, also of the segmenter, which is not a submodule."""
        super().train(mode)
        self.finished.training = mode
        return self

    def leaves_weights_out(self, shape: Sequence[int]) -> bool:
        """As of the segmenter; a method's own weights are all used."""
        return self.finished.leaves_weights_out(shape)


def _forget_count(module: nn.Module, _incompatible: Any) -> None:
    """Read the number of updates again after weights are loaded."""
    module._count = None  # pyright: ignore[reportAttributeAccessIssue, reportArgumentType]
