"""How many windows fit into memory at once, and what happens when they do not."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod

import torch
from torch import Tensor

from unmask.errors import RecipeError

Forward = Callable[[Tensor], Tensor]

_CPU_VOXELS = 1 << 19  # a larger batch on the CPU leaves its caches and gains nothing
_MOST = 64
_GPU_SHARE = 0.7


def cpu_batch_size(window: Sequence[int]) -> int:
    """Windows at once on a CPU: enough to fill the work of small ones."""
    return max(1, min(8, _CPU_VOXELS // max(1, prod(window))))


def gpu_batch_size(forward: Forward, example: Tensor, device: torch.device) -> int:
    """Windows at once on a GPU: a power of two, by the memory that one window takes.

    Args:
        forward: the network; ``example`` runs through it once.
        example: ``(1, C, *window)``.
        device: a CUDA device.
    """
    before = torch.cuda.memory_allocated(device)
    torch.cuda.reset_peak_memory_stats(device)
    forward(example)
    taken = max(1, torch.cuda.max_memory_allocated(device) - before)
    fitting = int(_GPU_SHARE * torch.cuda.mem_get_info(device)[0] // taken)
    return 1 << (max(1, min(_MOST, fitting)).bit_length() - 1)


class Halving:
    """A forward pass that halves its batch when memory runs out, and keeps that size."""

    def __init__(self, forward: Forward) -> None:
        self._forward = forward
        self.size: int | None = None

    def __call__(self, batch: Tensor) -> Tensor:
        """Scores of the batch, in as many passes as needed.

        Raises:
            RecipeError: not even one window fits.
        """
        while True:
            size = min(self.size or len(batch), len(batch))
            try:
                parts = [self._forward(part) for part in batch.split(size)]
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
                if size == 1:
                    raise RecipeError(
                        f"infer.tile={tuple(batch.shape[2:])}: expected one window to fit into "
                        f"memory, found none left. Take a smaller infer.tile. ({error})"
                    ) from error
            else:
                return parts[0] if len(parts) == 1 else torch.cat(parts)
            # Outside the handler: the traceback kept the tensors of the failed pass alive
            self.size = size // 2
            if torch.cuda.is_available():
                torch.cuda.empty_cache()


def is_out_of_memory(error: BaseException) -> bool:
    """Whether torch or Python ran out of memory; torch has no own type for it on the CPU."""
    text = str(error).lower()
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or (
        isinstance(error, RuntimeError)
        and ("allocate memory" in text or "not enough memory" in text or "out of memory" in text)
    )
