"""An exponential moving average of weights."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn


class Average:
    """Exponential moving average of a module's weights; buffers follow their last value.

    The decay starts low, ``(1 + updates) / (10 + updates)``, so that the first weights are soon
    forgotten.

    Args:
        module: the module that learns.
        decay: share of the average kept by an update.
    """

    def __init__(self, module: nn.Module, decay: float) -> None:
        self.module = module
        self.decay = decay
        self.updates = 0
        self.weights = {name: tensor.detach().clone() for name, tensor in self._live().items()}

    def _live(self) -> dict[str, Tensor]:
        return {k: v for k, v in self.module.state_dict().items() if isinstance(v, Tensor)}

    @torch.no_grad()
    def update(self) -> None:
        """Move the average toward the weights as they are now."""
        self.updates += 1
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        live = self._live()
        learned = {name for name, _ in self.module.named_parameters()}
        smooth = [name for name in live if name in learned and live[name].is_floating_point()]
        move = get_ema_multi_avg_fn(decay)
        move([self.weights[name] for name in smooth], [live[name] for name in smooth], None)
        for name in live.keys() - set(smooth):
            self.weights[name].copy_(live[name])

    @contextmanager
    def applied(self) -> Generator[None, None, None]:
        """The module carries the averaged weights inside the ``with`` block."""
        live = self._live()
        kept = {name: tensor.clone() for name, tensor in live.items()}
        _copy(self.weights, live)
        try:
            yield
        finally:
            _copy(kept, live)

    def restore(self, weights: dict[str, Tensor], updates: int) -> None:
        """Continue from saved averages."""
        _copy(weights, self.weights)
        self.updates = updates


@torch.no_grad()
def _copy(source: dict[str, Tensor], target: dict[str, Tensor]) -> None:
    for name, tensor in target.items():
        tensor.copy_(source[name])
