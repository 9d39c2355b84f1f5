"""Heads: any number of axes, groups of channels, names of their parameters."""

import pytest
import torch

from unmask import lookup
from unmask.build import build_segmenter
from unmask.errors import RecipeError
from unmask.lookup import Choice
from unmask.models import HEADS
from unmask.recipe import load

CASES = [(name, ndim) for name in HEADS for ndim in (2, 3)]


def build(name, ndim, *, channels=3, **options):
    choice = Choice(name, options)
    return lookup.build(choice, HEADS, "model.head", ndim=ndim, width=6, channels=channels)


@pytest.mark.parametrize(("name", "ndim"), CASES)
class TestContract:
    def test_channels_of_the_task_at_the_same_size(self, name, ndim):
        head = build(name, ndim).eval()
        for size in ((8, 6, 4)[:ndim], (1,) * ndim):
            assert head(torch.randn(2, 6, *size)).shape == (2, 3, *size)
        fewest = 3 if name == "foreground" else 1
        few = build(name, ndim, channels=fewest)
        assert few(torch.randn(2, 6, *(4,) * ndim)).shape[1] == fewest

    def test_gradient_reaches_every_parameter(self, name, ndim):
        head = build(name, ndim)
        if not list(head.parameters()):
            pytest.skip("fitted, not learned by gradients")
        output = head(torch.randn(2, 6, *(6,) * ndim))
        (output * torch.randn_like(output)).sum().backward()
        for key, parameter in head.named_parameters():
            assert parameter.grad is not None, key
            assert parameter.grad.abs().sum() > 0, key


def test_branches_share_nothing():
    head, features = build("branches", 2, channels=4, groups=[3, 1]).eval(), torch.randn(1, 6, 5, 5)
    before = head(features)
    with torch.no_grad():
        head.branches[1][0].weight.zero_()
    after = head(features)
    torch.testing.assert_close(after[:, :3], before[:, :3], rtol=0, atol=0)
    assert not torch.equal(after[:, 3:], before[:, 3:])


def test_flows_and_foreground_are_the_default_groups():
    assert [branch[-1].out_channels for branch in build("branches", 3, channels=4).branches] == [
        3,
        1,
    ]


def test_groups_must_add_up():
    with pytest.raises(RecipeError, match=r"model.head 'branches'.*groups=\[2, 2\].*3"):
        build("branches", 2, groups=[2, 2])


@pytest.mark.parametrize("ndim", [2, 3])
def test_the_recipe_chooses_the_head(ndim):
    recipe = load("cells" if ndim == 2 else "cells3d")
    plain = build_segmenter(recipe.with_settings(["model.backbone.width=4"]))
    assert {"head.weight", "head.bias"} == {
        name for name in plain.state_dict() if name.startswith("head.")
    }
    chosen = recipe.with_settings(
        ["model.backbone.width=4", "model.head={name: branches, hidden: 8}"]
    )
    segmenter = build_segmenter(chosen)
    assert segmenter.state_dict()["head.branches.0.0.weight"].shape[0] == 8
    size = (16,) * ndim
    image = torch.randn(1, recipe.data.channels, *size)
    assert segmenter.eval().logits(image).shape == (1, ndim + 1, *size)
    with pytest.raises(RecipeError, match=r"model.head=.*branches, foreground, forest, linear"):
        build_segmenter(recipe.with_settings(["model.head=brunches"]))
