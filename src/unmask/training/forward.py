"""The objective as a module that a strategy such as DDP can wrap."""

from __future__ import annotations

from torch import Tensor, nn

from unmask.models.base import Objective, Step
from unmask.space.batch import Batch


class Parcel:
    """A batch on the way in, its step on the way out.

    An object of its own, because Fabric casts every tensor it finds in an argument (targets would
    lose bits in 16-bit precision) and refuses frozen values.
    """

    def __init__(self, batch: Batch) -> None:
        self.batch = batch
        self.step: Step | None = None


class Forward(nn.Module):
    """The objective as a module that returns its loss, which is where DDP starts its search."""

    def __init__(self, objective: Objective) -> None:
        super().__init__()
        self.objective = objective

    def forward(self, parcel: Parcel) -> Tensor:
        """The loss; the whole step stays in the parcel."""
        step: Step = self.objective(parcel.batch)
        parcel.step = step
        return step.loss
