"""Batch normalization with the statistics of all processes that train together.

PyTorch's SyncBatchNorm works on CUDA devices only and knows nothing of hidden voxels. The layers
here are batch norms of the same weights and names, and their masked form (``models.sparse``)
shares its statistics too.
"""

from __future__ import annotations

from torch import Tensor, nn

from unmask.models.sparse import Visible, mask_network


class SharedNorm(nn.Module):
    """What a batch norm becomes that shares its statistics.

    Attributes:
        shares: read by the masked form.
    """

    shares = True

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - its name in PyTorch
        """Features, normalized over the batches of all processes in training."""
        if not self.training:
            return super().forward(input)
        everything = Visible(input.new_ones(len(input), 1, *(1,) * (input.ndim - 2)))
        return mask_network(self, everything)(input)


class SharedBatchNorm1d(SharedNorm, nn.BatchNorm1d):
    """One spatial axis."""


class SharedBatchNorm2d(SharedNorm, nn.BatchNorm2d):
    """Two spatial axes."""


class SharedBatchNorm3d(SharedNorm, nn.BatchNorm3d):
    """Three spatial axes."""


_SHARED: dict[type[nn.Module], type[nn.Module]] = {
    nn.BatchNorm1d: SharedBatchNorm1d,
    nn.BatchNorm2d: SharedBatchNorm2d,
    nn.BatchNorm3d: SharedBatchNorm3d,
}


def share_statistics(network: nn.Module) -> int:
    """Let every batch norm of a network share its statistics, in place; count them."""
    layers = [layer for layer in network.modules() if type(layer) in _SHARED]
    for layer in layers:
        # The weights, their names and all that refers to the layer stay.
        layer.__class__ = _SHARED[type(layer)]
    return len(layers)
