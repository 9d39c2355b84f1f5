"""From a recipe to objective, crops, plan and optimizer."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import pytest
import torch

from unmask.build import build_optimizer, encoder, layout, new_method, new_segmenter
from unmask.errors import RecipeError
from unmask.recipe import Recipe, TrainRecipe, load
from unmask.training import build_plan
from unmask.training.plan import Plan

SMALL = ["model.backbone={name: resunet, width: 4, depth: 2}", "data.crop=[16, 16]"]


def recipe(*settings: str, preset: str = "semantic2d") -> Recipe:
    return load(preset).with_settings([*SMALL, *settings])


def test_plan_carries_every_value_of_the_recipe():
    changed = {
        "steps": 77, "accumulate": 3, "clip": 0.5, "lr": 0.25, "warmup": 9, "final_lr": 0.125,
        "cosine_steps": 17, "final_weight_decay": 5.0, "ema": 0.75, "validate_every": 11,
        "save_every": 13, "keep": 4, "bad_steps": 6, "seed": 5,
    }  # fmt: skip
    plan = build_plan(recipe(*(f"train.{name}={value}" for name, value in changed.items())))
    for name, value in changed.items():
        assert getattr(plan, name) == value, name
    shared = {field.name for field in fields(Plan)} & set(TrainRecipe.model_fields)
    assert shared == set(changed)


def test_layout_carries_the_rules_of_pairing():
    rules = layout(recipe("data.axes=YX", "data.image_suffix=_a", "data.label_suffix=_b"))
    assert (rules.ndim, rules.axes, rules.image_suffix, rules.label_suffix) == (2, "YX", "_a", "_b")


def test_building_leaves_the_global_generator_alone():
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    new_segmenter(recipe())
    assert torch.equal(torch.rand(3), expected)


@pytest.mark.parametrize("name", ["adamw", "lamb", "muon", "sgd"])
def test_optimizer_decays_matrices_only(name):
    chosen = recipe(f"train.optimizer={{name: {name}, weight_decay: 0.25}}", "train.lr=0.125")
    segmenter = new_segmenter(chosen)
    groups = build_optimizer(chosen, segmenter).param_groups
    decays = {id(p): group["weight_decay"] for group in groups for p in group["params"]}
    assert {group["lr"] for group in groups} == {0.125}
    for parameter in segmenter.parameters():
        assert decays[id(parameter)] == (0.25 if parameter.ndim > 1 else 0)


def test_encoder_gives_what_the_task_gives():
    task = new_segmenter(recipe("task.classes=3")).task
    labels = torch.arange(9).reshape(3, 3).remainder(3).numpy()
    values, weight = encoder(task)(labels, None)
    assert (values == labels).all()
    assert (weight == 1).all()


def test_every_wrong_part_is_told_at_once():
    wrong = recipe("data.augment=[gama]", "data.normalize=none_such", "train.optimizer=adammw")
    with pytest.raises(RecipeError) as caught:
        new_segmenter(wrong)
    text = str(caught.value)
    assert text.startswith("3 problems found:")
    for word in ("'gamma'", "none_such", "'adamw'"):
        assert word in text


def test_the_same_mistake_is_told_once():
    with pytest.raises(RecipeError) as caught:
        new_segmenter(recipe("task.clases=3"))
    assert str(caught.value).count("clases") == 1
    with pytest.raises(RecipeError) as caught:
        new_segmenter(recipe("model.backbone.widht=3"))
    assert str(caught.value).count("widht") == 1


def test_the_other_purpose_is_refused():
    with pytest.raises(RecipeError, match="unmask train"):
        new_method(recipe())
    with pytest.raises(RecipeError, match="unmask pretrain"):
        new_segmenter(load("mae2d"))


class TestFreeze:
    VIT = (
        "model.backbone={name: vit, patch: 8, dim: 24, depth: 2, heads: 2}",
        "model.decoder=null",
    )

    def test_frozen_parts_neither_learn_nor_move(self):
        """Weights and the statistics of norms stay; the others change; train() does not thaw."""
        norm = "model.backbone={name: resnet, width: 4, blocks: [1, 1], norm: batch}"
        segmenter = new_segmenter(recipe(norm, "train.freeze=[backbone]"))
        optimizer = build_optimizer(recipe(norm), segmenter)
        before = {name: value.clone() for name, value in segmenter.state_dict().items()}
        segmenter.train()
        assert segmenter.training
        assert segmenter.decoder.training
        assert not segmenter.backbone.training
        segmenter.logits(torch.randn(2, 1, 16, 16)).square().mean().backward()
        optimizer.step()
        held = {id(p) for group in optimizer.param_groups for p in group["params"]}
        assert held == {id(p) for n, p in segmenter.named_parameters() if "backbone." not in n}
        for name, value in segmenter.state_dict().items():
            if name.startswith("backbone."):
                assert torch.equal(value, before[name]), name
        assert not torch.equal(segmenter.state_dict()["head.weight"], before["head.weight"])

    def test_a_part_of_a_part(self):
        chosen = recipe(*self.VIT, "train.freeze=[backbone.patch_embed, backbone.blocks.0]")
        rested = {n for n, p in new_segmenter(chosen).named_parameters() if not p.requires_grad}
        assert {name.split(".")[1] for name in rested} == {"patch_embed", "blocks"}
        assert not any("blocks.1" in name for name in rested)

    def test_an_unknown_part(self):
        with pytest.raises(RecipeError, match=r"train\.freeze.*'backbon'.*Did you mean 'backbone'"):
            new_segmenter(recipe("train.freeze=[backbon]"))


def test_methods_need_whole_patches_and_tasks_do_not():
    sizes = ["data.crop=[18, 17]", *TestFreeze.VIT]
    with pytest.raises(RecipeError, match=r"data\.crop.*whole patches"):
        new_method(load("mae2d").with_settings(sizes))
    segmenter = new_segmenter(load("semantic2d").with_settings(sizes))
    assert segmenter.logits(torch.randn(1, 1, 18, 17)).shape[2:] == (18, 17)


def test_batch_norms_keep_the_statistics_that_they_start_with():
    """In training mode too; the rest of the network trains as usual."""
    lines = ["model.backbone={name: resunet, width: 4, depth: 2, norm: batch}", "data.channels=1"]
    network = new_segmenter(load("cells").with_settings([*lines, "train.freeze_statistics=true"]))
    network.train()
    norm: Any = network.backbone.stem.norm
    assert network.training
    assert not norm.training
    assert norm.weight.requires_grad
    before = norm.running_mean.clone()
    network.logits(torch.randn(2, 1, 8, 8) + 3)
    assert torch.equal(norm.running_mean, before)
    with pytest.raises(RecipeError, match=r"freeze_statistics.*batch norms, found none"):
        new_segmenter(load("cells").with_settings(["train.freeze_statistics=true"]))
