"""Every network and task in its recorded form: any batch and image size, as torch computes it."""

from __future__ import annotations

from itertools import cycle

import numpy as np
import pytest
import torch

from unmask.exports.network import Exported
from unmask.exports.record import trace
from unmask.models import BACKBONES, DECODERS, HEADS
from unmask.tasks import TASKS
from unmask.tasks.segmenter import Segmenter
from unmask.testing.base import build_part
from unmask.testing.decoder import fits, usual_backbone

# Sizes that no stride divides, one that is smaller than every offset, and a single voxel.
SIZES = {2: [(37, 29), (5, 2), (1, 1)], 3: [(6, 11, 13), (3, 5, 2)]}
CHANNELS = 2
PAIRS = sorted(
    {(name, "unetr" if name == "vit" else "single" if name == "pixels" else "unet")
     for name in BACKBONES}
    | {(usual_backbone(name), name) for name in DECODERS}
)  # fmt: skip
TASK_NAMES = sorted(TASKS)
# Every pair with one task, every task with several pairs; the two numbers of axes take turns.
# benchmarks/export.py compares all combinations.
CASES = [
    (*pair, task, ndim)
    for pair, task, ndim in zip(PAIRS, cycle(TASK_NAMES), cycle((2, 3, 3, 2)), strict=False)
    # Slow, and each of the two is in another pair.
    if pair != ("pixels", "unetr")
]


def build(backbone: str, decoder: str, task: str, ndim: int) -> Exported:
    """A small network with the normalization that a file would not contain."""
    torch.manual_seed(0)
    chosen = build_part(task, None, TASKS, "task", ndim=ndim)
    first = build_part(backbone, None, BACKBONES, "backbone", ndim=ndim, in_channels=CHANNELS)
    given = {"ndim": ndim, "channels": tuple(first.channels), "strides": first.strides}
    second = build_part(decoder, None, DECODERS, "decoder", **given)
    head = build_part(
        "linear", {}, HEADS, "head", ndim=ndim, width=second.width, channels=chosen.channels()
    )
    segmenter = Segmenter(first, second, head, task=chosen, ndim=ndim)
    return Exported(segmenter, segmenter.task).eval()


@pytest.mark.parametrize(("backbone", "decoder", "task", "ndim"), CASES)
def test_recorded_scores_are_those_of_torch(backbone, decoder, task, ndim):
    network = build(backbone, decoder, task, ndim)
    recorded = trace(network, CHANNELS, ndim)
    for batch, size in zip((1, 3, 1), SIZES[ndim], strict=False):
        image = torch.rand(batch, CHANNELS, *size)
        with torch.no_grad():
            expected, found = network(image), recorded(image)
        assert found.shape == expected.shape
        # A deviation in the filter bank is the root of a difference of nearly equal numbers.
        tolerance = 1e-3 if backbone == "pixels" else 1e-4
        np.testing.assert_allclose(found, expected, atol=tolerance, rtol=0)


def test_every_backbone_decoder_and_task_is_recorded():
    assert {case[0] for case in CASES} == set(BACKBONES)
    assert {case[1] for case in CASES} == set(DECODERS)
    assert {case[2] for case in CASES} == set(TASKS)
    assert all(fits(decoder, backbone) for backbone, decoder in PAIRS)
