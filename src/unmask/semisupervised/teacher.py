"""A teacher: the average of a segmenter over its updates, whose predictions change slowly.

Mean Teacher (Tarvainen & Valpola 2017, arXiv:1703.01780).
"""

from __future__ import annotations

from copy import deepcopy
from functools import reduce

import torch
from jaxtyping import Float
from torch import Tensor, nn

from unmask.semisupervised.counting import Counting
from unmask.tasks.segmenter import Segmenter


class Teacher(Counting):
    """A copy of a segmenter that follows it.

    Args:
        segmenter: the network that is averaged.
        decay: share of its weights that the teacher keeps per update, in [0, 1); lower in the
            first updates.
    """

    def __init__(self, segmenter: Segmenter, decay: float) -> None:
        super().__init__()
        self.network = deepcopy(segmenter).requires_grad_(requires_grad=False)
        self.decay = decay
        self.start_counting()

    def train(self, mode: bool = True) -> Teacher:  # noqa: ARG002, FBT001, FBT002 - torch's
        """A teacher drops nothing and keeps its statistics."""
        return super().train(mode=False)

    @torch.no_grad()
    def copy(self, segmenter: nn.Module) -> None:
        """Take over all weights."""
        self.network.load_state_dict(segmenter.state_dict())

    @torch.no_grad()
    def follow(self, segmenter: nn.Module) -> None:
        """Move toward the segmenter."""
        self.count_update()
        decay = min(self.decay, (1 + self.count) / (10 + self.count))
        now = segmenter.state_dict()
        for name, mine in self.network.state_dict().items():
            if mine.is_floating_point():
                mine.lerp_(now[name].to(mine.dtype), 1 - decay)
            else:
                mine.copy_(now[name])

    @torch.no_grad()
    def logits(self, crops: Float[Tensor, "b c *space"]) -> Float[Tensor, "b k *space"]:
        """Raw outputs."""
        return self.network.eval().logits(crops).float()

    @torch.no_grad()
    def scores(
        self, crops: Float[Tensor, "b c *space"], flips: tuple[int, ...] = ()
    ) -> Float[Tensor, "b s *space"]:
        """Scores of crops that are seen mirrored along ``flips``, on the crops' own grid."""
        network = self.network.eval()
        seen = crops.flip([axis + 2 for axis in flips]) if flips else crops
        scores = network.task.activate(network.logits(seen).float()).float()
        return reduce(network.task.flip, flips, scores)
