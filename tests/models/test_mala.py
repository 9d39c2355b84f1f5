"""The baselines of Pixel-Embedded Affinity: numbers of weights."""

import pytest
import torch

from unmask.build import build_segmenter
from unmask.recipe import load


@pytest.mark.parametrize(
    ("name", "published"), [("pea_cvppp_resnet50", 15.3e6), ("pea_cvppp_resnet101", 34.3e6)]
)
def test_weights_of_the_residual_networks(name, published):
    """Within two percent of the published numbers; the decoder itself is not known."""
    with torch.device("meta"):
        network = build_segmenter(load(name))
    assert sum(p.numel() for p in network.parameters()) == pytest.approx(published, rel=0.02)


def test_mala_pools_in_the_plane_by_three():
    with torch.device("meta"):
        network = build_segmenter(load("mala_ac34"))
    assert network.backbone.strides == ((1, 1, 1), (1, 3, 3), (1, 9, 9), (1, 27, 27))
    assert network.backbone.channels == (12, 60, 300, 1500)
