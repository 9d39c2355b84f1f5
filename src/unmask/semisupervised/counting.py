"""A number of updates that a snapshot keeps and the host knows."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn


class Counting(nn.Module):
    """Counts updates in a buffer, which a resumed run finds again, and on the host.

    The buffer is read once: a GPU would make the host wait for each reading.
    """

    updates: Tensor
    _count: int | None

    def start_counting(self) -> None:
        """Begin at 0; called once by the constructor."""
        self.register_buffer("updates", torch.zeros((), dtype=torch.int64))
        self._count = None
        self.register_load_state_dict_post_hook(_forget_count)

    @property
    def count(self) -> int:
        """Number of updates so far."""
        if self._count is None:
            self._count = int(self.updates)
        return self._count

    def count_update(self) -> None:
        """One update more."""
        self._count = self.count + 1
        self.updates += 1


def _forget_count(module: Any, _: object) -> None:
    """Read the buffer again after weights are loaded."""
    module._count = None
