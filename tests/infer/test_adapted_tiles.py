"""Tiles that are adapted to an image are the same for the whole image and for its blocks."""

from __future__ import annotations

import numpy as np
import pytest
from torch import nn

from unmask.data.normalize import NoNormalize
from unmask.infer.predict_blocks import predict_blocks
from unmask.infer.predictor import Predictor
from unmask.io import Image, open_labels
from unmask.labels import connected_components
from unmask.space.tiling import Tiling
from unmask.testing.untrained import Untrained


class Smoothing(nn.Module):
    """A network whose output depends on the borders of its windows, which are zeros to it."""

    def __init__(self, ndim: int) -> None:
        super().__init__()
        self.conv = (nn.Conv2d, nn.Conv3d)[ndim - 2](1, 1, 9, padding=4, bias=False)
        nn.init.constant_(self.conv.weight, 1 / self.conv.weight[0, 0].numel())
        self.voxels = 0

    def logits(self, image):
        self.voxels += image[:, 0].numel()
        return self.conv(image)


class Pieces(Untrained):
    """Connected pieces above one half."""

    context = 20

    def decode(self, scores, spacing):
        return connected_components(scores[0] > 0.5)


@pytest.mark.parametrize(
    ("space", "tile", "block"),
    [((200, 330), 32, (90, 150)), ((24, 100, 90), 24, (24, 48, 90))],
    ids=["2d", "3d"],
)
def test_blocks_have_the_tiles_of_the_whole_image(space, tile, block, tmp_path):
    image = np.random.default_rng(0).random((1, *space)).astype(np.float32)
    seen = {}
    for adapt in (None, 8 * tile ** len(space)):
        network = Smoothing(len(space))
        tiling = Tiling((tile,) * len(space), adapt=adapt)
        one = Predictor([network], Pieces(), 1, tiling, normalize=NoNormalize())
        whole = one.predict(image).labels
        seen[adapt] = network.voxels
        assert whole.any()
        out = tmp_path / f"{adapt}.tif"
        predict_blocks(one, Image.from_array(image, ndim=len(space)), out, block=block)
        blocks = open_labels(out, ndim=len(space)).read()[0]
        assert np.array_equal(whole > 0, blocks > 0)
    few, many = min(seen.values()), seen[None]
    assert few < 0.9 * many
