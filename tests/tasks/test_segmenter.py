"""Backbone + decoder + head + task."""

from __future__ import annotations

import pytest
import torch

from unmask.build import build_segmenter, build_task
from unmask.errors import RecipeError
from unmask.models.base import Objective
from unmask.recipe import load
from unmask.space.batch import Batch
from unmask.tasks.flows import Flows
from unmask.tasks.segmenter import Segmenter

BACKBONES = {
    "resunet": "{name: resunet, width: 4, depth: 2}",
    "vit": "{name: vit, patch: 8, dim: 24, depth: 4, heads: 2}",
}
CASES = [(name, ndim) for name in BACKBONES for ndim in (2, 3)]


def build(name: str, ndim: int, *settings: str, preset: str = "semantic") -> Segmenter:
    crop = f"data.crop={[16] * ndim}"
    chosen = load(f"{preset}{ndim}d").with_settings(
        [f"model.backbone={BACKBONES[name]}", crop, "data.channels=2", *settings]
    )
    torch.manual_seed(0)
    return build_segmenter(chosen)


@pytest.mark.parametrize(("name", "ndim"), CASES)
def test_one_logit_vector_a_voxel(name, ndim):
    segmenter = build(name, ndim, "task.classes=3").eval()
    assert isinstance(segmenter, Objective)
    for size in ((16,) * ndim, (9,) * ndim, (1,) * ndim):
        assert segmenter.logits(torch.randn(1, 2, *size)).shape == (1, 3, *size)


@pytest.mark.parametrize(("name", "decoder"), [("resunet", "UNetDecoder"), ("vit", "UnetrDecoder")])
def test_the_natural_decoder(name, decoder):
    assert type(build(name, 2).decoder).__name__ == decoder
    assert "Linear" in type(build(name, 2, "model.decoder=linear").decoder).__name__


@pytest.mark.parametrize(("name", "ndim"), CASES)
def test_step_learns_from_targets(name, ndim):
    segmenter = build(name, ndim, "task.classes=2")
    image = torch.randn(2, 2, *(16,) * ndim)
    values = (image[:, :1] > 0).float()
    batch = Batch(image, values, torch.ones_like(values), seed=0)
    optimizer = torch.optim.Adam(segmenter.parameters(), 0.01)
    losses = []
    for _ in range(6):
        step = segmenter.step(batch)
        optimizer.zero_grad()
        step.loss.backward()
        optimizer.step()
        losses.append(step.loss.item())
        assert not step.logs["loss"].requires_grad
    assert losses[-1] < losses[0]
    with pytest.raises(ValueError, match="targets"):
        segmenter.step(Batch(image, seed=0))


def test_the_task_gets_the_number_of_axes_and_the_ignored_value():
    chosen = load("cells3d").with_settings(["data.ignore_label=9"])
    task = build_task(chosen)
    assert isinstance(task, Flows)
    assert (task.ndim, task.ignore_label) == (3, 9)


def test_wrong_parts_are_named():
    with pytest.raises(RecipeError, match="unmask pretrain"):
        build_task(load("mae2d"))
    with pytest.raises(RecipeError, match="'classes'"):
        build_task(load("semantic2d").with_settings(["task.clases=2"]))
    with pytest.raises(RecipeError, match="resunet"):
        build_segmenter(load("semantic2d").with_settings(["model.backbone.name=resunett"]))


@pytest.mark.parametrize("ndim", [2, 3])
@pytest.mark.parametrize(
    ("name", "setting", "left_out"),
    [
        ("resunet", "model.decoder=unet", False),
        ("resunet", "model.deep_supervision=1", False),
        ("vit", "model.decoder=unetr", False),
        # Tokens of the last block alone; the image itself is a feature that is not read.
        ("vit", "model.decoder=linear", False),
    ],
)
def test_weights_without_a_gradient_are_announced(name, setting, left_out, ndim):
    segmenter = build(name, ndim, setting)
    assert segmenter.leaves_weights_out((2, *[16] * ndim)) is left_out


def test_a_decoder_that_reads_the_finest_feature_leaves_weights_out():
    class Finest(torch.nn.Module):
        width = 4

        def forward(self, features, size):
            return features[0]

    segmenter = build("resunet", 2)
    segmenter.decoder = Finest()
    assert segmenter.leaves_weights_out((2, 16, 16))
    segmenter.backbone.requires_grad_(requires_grad=False)
    assert not segmenter.leaves_weights_out((2, 16, 16))


def test_a_part_that_reads_values_is_taken_for_one_that_leaves_weights_out():
    class Reading(torch.nn.Module):
        width = 4

        def forward(self, features, size):
            return features[0] * features[0].max().item()

    segmenter = build("resunet", 2)
    segmenter.decoder = Reading()
    assert segmenter.leaves_weights_out((2, 16, 16))
