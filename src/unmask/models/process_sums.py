"""Sums over all processes that train together."""

from __future__ import annotations

from torch import Tensor, distributed


def sum_processes(value: Tensor) -> Tensor:
    """The sum of a tensor over all processes; the tensor itself if there is one process."""
    if not (distributed.is_available() and distributed.is_initialized()):
        return value
    total = value.clone()
    distributed.all_reduce(total)
    return total
