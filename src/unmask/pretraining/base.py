"""Contract of pre-training methods."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor, nn

from unmask.models.base import Step
from unmask.space.batch import Batch


class PretrainMethod(Protocol):
    """An objective that needs images only; ``backbone`` is what fine-tuning keeps.

    Methods subclass ``unmask.models.base.Objective``. The constructor takes ``backbone`` and its
    own options; one that asks for ``steps`` is given the updates of the run.
    """

    backbone: nn.Module

    def step(self, batch: Batch) -> Step:
        """Loss of one batch of images."""
        ...

    def reconstruct(self, batch: Batch) -> dict[str, Tensor]:
        """Pictures for people: ``original``, ``masked``, ``rebuilt``, each ``(B, C, *space)``."""
        ...
