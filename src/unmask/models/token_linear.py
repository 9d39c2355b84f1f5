"""Linear maps of tokens, by the faster of two matrix products."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from unmask.models import nd

# Smaller inputs stay below the size at which torch gives a convolution to oneDNN.
_LARGE = 20480


class TokenLinear(nn.Linear):
    """``nn.Linear`` for ``(B, N, D)``.

    In float32 on the CPU the product is a convolution of one voxel by oneDNN. The library behind
    torch's matrix product uses half the width of the vector units of processors that are not
    Intel's; forward and backward take half the time there, and as long as before elsewhere.
    """

    def forward(self, input: Float[Tensor, "b n d"]) -> Float[Tensor, "b n e"]:  # noqa: A002 - torch's name
        """Map every token on its own."""
        if nd.is_exporting():
            return F.linear(input, self.weight, self.bias)
        exact = input.dtype == torch.float32 and not torch.is_autocast_enabled("cpu")
        small = input.numel() <= _LARGE or not torch.backends.mkldnn.is_available()
        if input.device.type != "cpu" or small or not exact:
            return F.linear(input, self.weight, self.bias)
        # Torch gives a window of one voxel to oneDNN only if it is dilated, which changes nothing
        image = input[:, :, None].movedim(-1, 1)
        mapped = F.conv2d(image, self.weight[:, :, None, None], self.bias, dilation=2)
        return mapped.movedim(1, -1)[:, :, 0]
