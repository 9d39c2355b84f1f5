"""Batches joined from two sources.

`Replay` lets a network keep what it learned from the second one: the cell memory replay of MEDIAR
(Lee et al. 2022, arXiv:2212.03465), for any task.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch

from unmask.data.crops import Crops
from unmask.space.batch import Batch


@dataclass(frozen=True)
class WithUnlabeled:
    """Batches of labeled crops that also have crops of unlabeled images.

    Attributes:
        first: crops of labeled images.
        second: crops of unlabeled images.
    """

    first: Crops | Replay
    second: Crops

    def batch(self, index: int) -> Batch:
        """Batch number ``index``."""
        return replace(self.first.batch(index), unlabeled=self.second.batch(index).image)


@dataclass(frozen=True)
class Replay:
    """Every batch of ``first`` with one of ``second`` behind it.

    Both orders are endless and independent of each other, so sources of any size go together, and a
    batch stays a function of its number.

    Attributes:
        first: what is trained on now.
        second: what was trained on before; with targets where ``first`` has some.
    """

    first: Crops
    second: Crops

    def batch(self, index: int) -> Batch:
        """Batch number ``index``."""
        new, old = self.first.batch(index), self.second.batch(index)
        image = torch.cat([new.image, old.image])
        if new.values is None or new.weight is None or old.values is None or old.weight is None:
            return Batch(image, seed=new.seed)
        values = torch.cat([new.values, old.values])
        return Batch(image, values, torch.cat([new.weight, old.weight]), seed=new.seed)
