"""Every shipped preset: one real update on tiny crops, with its own augmentation and optimizer."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from unmask.build import (
    build_crops,
    build_optimizer,
    build_segmenter,
    build_task,
    new_method,
    new_segmenter,
)
from unmask.data.pairs import Pair
from unmask.io import Image
from unmask.recipe import Recipe, load, presets
from unmask.recipe_repair import published_balance
from unmask.space.random import generator
from unmask.tasks.embeddings import Embeddings
from unmask.training import build_plan, schedule

SPACES = {2: (40, 44), 3: (12, 40, 36)}
CROPS = {2: [32, 32], 3: [8, 32, 32]}
# For speed alone: presets of other parts are tried at their own sizes.
SMALL = {
    "mala": ["widths=[4, 4, 8]"],
    "mit": ["dims=[8, 8, 16, 16]", "depths=[1, 1, 1, 1]", "heads=[1, 1, 2, 2]"],
    "resnet": ["width=4", "blocks=[1, 1, 1]"],
    "resunet": ["width=4", "depth=2"],
    "resunet_pea": ["widths=[4, 4, 8, 8, 8]"],
    "superhuman": ["widths=[4, 4, 4, 8, 8]"],
    "vit": ["dim=24", "depth=2", "heads=2", "patch=8"],
}
# Biases before a batch norm have no gradient; the default is that nearly all weights change.
CHANGED = {"resunet_pea": 0.6}
SMALL_METHODS = {
    "glmae": [
        "global_size=null",
        "local_size=null",
        "decoder_dim=24",
        "decoder_heads=2",
        "hidden=16",
        "width=8",
        "prototypes=32",
    ]
}
SMALL_DECODERS = {"manet": ["width=4", "attention=4"]}


def shrunk(name: str) -> Recipe:
    recipe = load(name)
    backbone = recipe.model.backbone.name
    changes = [f"model.backbone.{line}" for line in SMALL.get(backbone, [])]
    decoder = recipe.model.decoder.name if recipe.model.decoder else ""
    changes += [f"model.decoder.{line}" for line in SMALL_DECODERS.get(decoder, [])]
    method = recipe.method.name if recipe.method else ""
    changes += [f"method.{line}" for line in SMALL_METHODS.get(method, [])]
    changes += [f"data.crop={CROPS[recipe.data.ndim]}", "train.batch_size=2"]
    return recipe.with_settings(changes)


def pair(recipe: Recipe) -> Pair:
    space = SPACES[recipe.data.ndim]
    rng = generator(0, "preset")
    image = rng.integers(0, 255, (recipe.data.channels, *space)).astype(np.uint8)
    labels = np.zeros(space, np.uint16)
    values = recipe.task and recipe.task.choice.options.get("values")
    labels[tuple(slice(n // 4, n // 2) for n in space)] = values[1] if values else 1
    opened = [Image.from_array(array, ndim=len(space)) for array in (image, labels)]
    return Pair("drawn", opened[0], None if recipe.task is None else opened[1])


# Heads of these are fitted to pixels at once: nothing of them learns by updates.
FITTED = {"pixels"}
TRAINED = [name for name in presets() if name not in FITTED]


@pytest.mark.parametrize("name", TRAINED)
def test_one_update(name):
    recipe = shrunk(name)
    objective = new_method(recipe) if recipe.task is None else new_segmenter(recipe)
    crops = build_crops(recipe, [pair(recipe)], getattr(objective, "task", None))
    optimizer = build_optimizer(recipe, objective)
    batch = crops.batch(0)
    assert batch.image.shape == (2, recipe.data.channels, *recipe.data.crop)
    learned = {n: value for n, value in objective.named_parameters() if value.requires_grad}
    before = {name: value.clone() for name, value in learned.items()}
    step = objective.step(batch)
    assert torch.isfinite(step.loss)
    step.loss.backward()
    optimizer.step()
    changed = [not torch.equal(before[n], value) for n, value in learned.items()]
    assert sum(changed) > CHANGED.get(recipe.model.backbone.name, 0.8) * len(changed)
    assert build_plan(recipe).steps == recipe.train.steps


@pytest.mark.parametrize("name", TRAINED)
def test_weights_are_a_function_of_recipe_and_seed(name):
    recipe = shrunk(name)
    new = new_method if recipe.task is None else new_segmenter
    first, again = new(recipe).state_dict(), new(recipe).state_dict()
    other = new(recipe.with_settings(["train.seed=1"])).state_dict()
    assert all(torch.equal(first[key], again[key]) for key in first)
    assert any(not torch.equal(first[key], other[key]) for key in first)


@pytest.mark.parametrize(
    ("name", "images", "batch", "epochs", "first", "last"),
    [
        ("mediar_pretrain_public", 7242, 9, 80, 5e-5, 1e-6),
        ("mediar_pretrain_joint", 8242, 9, 60, 5e-5, 1e-6),
        ("mediar_finetune", 2111, 8, 200, 2e-5, 2e-5),
        ("mediar_finetune_replay", 2111, 8, 50, 2e-5, (2e-5 + 1e-7) / 2),
    ],
)
def test_published_figures_of_mediar(name, images, batch, epochs, first, last):
    """Epochs become updates; the rate begins and ends where the published cosine does."""
    plan = build_plan(load(name))
    assert load(name).train.batch_size == batch
    assert plan.steps == epochs * -(-images // batch)
    ends = [
        plan.lr
        * schedule(
            step,
            steps=plan.steps,
            warmup=plan.warmup,
            final=plan.final_lr,
            period=plan.cosine_steps,
        )
        for step in (0, plan.steps - 1)
    ]
    assert ends == pytest.approx([first, last], rel=1e-3)


# Published by data set: offsets by their range along each axis, crop, batch, channels of the image,
# how many offsets the coarser levels compare, finest first, and the weight of the foreground.
PIXEL_EMBEDDINGS = {
    "pea_cvppp": ((1, 3, 5, 9, 27), (544, 544), 2, 3, [8, 6, 4, 2], 0.0),
    "pea_bbbc039": ((1, 3, 5, 9, 11), (256, 256), 8, 3, [8, 6, 4, 2], 1000.0),
    "pea_ac34": (((1, 2, 3, 4), (1, 3, 9, 27), (1, 3, 9, 27)), (18, 160, 160), 2, 1, [3] * 4, None),
}


@pytest.mark.parametrize("name", PIXEL_EMBEDDINGS)
def test_published_figures_of_pixel_embeddings(name):
    ranges, crop, batch, channels, sides, foreground = PIXEL_EMBEDDINGS[name]
    recipe = load(name)
    assert (recipe.data.crop, recipe.data.channels, recipe.train.batch_size) == (
        crop,
        channels,
        batch,
    )
    axes = ranges if recipe.data.ndim == 3 else (ranges, ranges)
    far = [
        tuple(-reach * (axis == along) for axis in range(len(axes)))
        for level in zip(*axes, strict=True)
        for along, reach in enumerate(level)
    ]
    task = build_task(recipe)
    assert isinstance(task, Embeddings)
    assert task._learned == task._decoded == tuple(far)
    assert (task.dims, list(task.side_offsets or ())) == (16, sides)
    assert (task.cross_weight, task.side_weight, task.side_decay) == (1, 1, 1)
    named = {name: getattr(task, name) for name in published_balance(2)}
    assert named == published_balance(recipe.data.ndim)
    assert task.background == ("apart" if foreground is None else "object")
    assert task.foreground == (foreground is not None)
    assert foreground is None or task.foreground_weight == foreground


@pytest.mark.parametrize("name", PIXEL_EMBEDDINGS)
def test_published_optimizer_of_pixel_embeddings(name):
    train = load(name).train
    options = {"eps": 0.01, "weight_decay": 1e-6, "amsgrad": True}
    assert (train.optimizer.name, train.optimizer.choice.options) == ("adam", options)
    assert (train.steps, train.lr, train.warmup, train.final_lr) == (200_000, 1e-4, 0, 1)
    assert (train.clip, train.seed) == (None, 555)
    assert (train.validate_every, train.save_every) == (1000, 1000)


@pytest.mark.parametrize(
    ("name", "strides", "merges", "foreground"),
    [
        ("pea_cvppp", [5, 5], [[5, 5], [20, 11], [50, 11], [300, 21]], {}),
        (
            "pea_bbbc039",
            [10, 10],
            [[5, 5], [25, 11], [50, 11], [100, 21]],
            {"min_foreground": 25},
        ),
    ],
)
def test_published_decoding_of_pixel_embeddings(name, strides, merges, foreground):
    task = build_task(load(name))
    assert isinstance(task, Embeddings)
    # below 0 every near edge joins
    expected = {"name": "mutex", "strides": strides, "join_above": -1, "merges": merges}
    assert task.decoding == expected | foreground


@pytest.mark.parametrize(("blocks", "millions"), [([3, 4, 6], 15.3), ([3, 4, 23], 34.3)])
def test_residual_networks_of_pixel_embeddings_have_the_published_size(blocks, millions):
    """The published programs lack these two; their decoder is known by its size alone."""
    recipe = load("pea_cvppp").with_settings(
        [
            f"model.backbone={{name: resnet, blocks: {blocks}}}",
            "model.decoder=unet",
            "model.deep_supervision=2",
        ]
    )
    with torch.device("meta"):
        segmenter = build_segmenter(recipe)
    found = sum(weight.numel() for weight in segmenter.parameters())
    assert found == pytest.approx(millions * 1e6, rel=0.01)
