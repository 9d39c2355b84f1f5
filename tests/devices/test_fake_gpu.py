"""What a GPU would do with every recipe, without one: shapes, devices, and waiting of the host."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from itertools import count

import numpy as np
import pytest
import torch
from lightning_fabric.accelerators.cpu import CPUAccelerator

from unmask.build import assemble_method, assemble_segmenter
from unmask.infer import tiles as tiles_module
from unmask.infer.load import make_predictor
from unmask.models.base import Objective, Step
from unmask.optim import adamw
from unmask.recipe import load, presets
from unmask.semisupervised import UNLABELED
from unmask.space.batch import Batch
from unmask.training import Journal, Plan, fit, make_fabric
from unmask.training.guard import Guard


def network_of(name):
    """Names of network, task and method; presets that differ in sizes alone are tried once."""
    recipe = load(name)
    parts = (recipe.model.backbone, recipe.model.decoder, recipe.model.head)
    names = [part and part.name for part in (*parts, recipe.task, recipe.method)]
    return (*names, recipe.model.deep_supervision > 0, recipe.data.ndim)


# Pixel classifiers have no weights that are trained by gradients.
NAMES = list({network_of(name): name for name in presets() if name != "pixels"}.values())


def assembled(recipe):
    """The objective on the meta device, and the number of channels of targets and weights."""
    with torch.device("meta"):
        assembly = assemble_segmenter(recipe) if recipe.task else assemble_method(recipe)
    if assembly.task is None:
        return assembly.objective, None
    image_classes = assembly.task.image_classes
    labels = np.full((16,) * recipe.data.ndim, 1 if image_classes else 0, np.int64)
    target = assembly.task.encode(labels, None)
    return assembly.objective, (len(target.values), len(target.weight))


def batch_of(recipe, channels, *, size=2, unlabeled=False):
    """A batch on the device."""
    crop = recipe.data.crop
    image = torch.empty(size, recipe.data.channels, *crop, device="meta")
    more = torch.empty_like(image) if unlabeled else None
    if channels is None:
        return Batch(image, seed=1)
    values, weight = (torch.empty(size, number, *crop, device="meta") for number in channels)
    return Batch(image, values, weight, seed=1, unlabeled=more)


@pytest.mark.parametrize("name", NAMES)
def test_a_step_of_every_recipe_never_waits_for_the_device(name, fake_gpu):
    """Forward and backward at the published size; a copy to the host is an error."""
    recipe = load(name)
    objective, channels = assembled(recipe)
    fake_gpu.copies.clear()
    # Positions are computed once, on the CPU, before a network moves.
    fake_gpu.wide.clear()
    # Some tasks draw a view for each sample, which takes long here.
    size = 2 if channels is None else 1
    step = objective.train()(batch_of(recipe, channels, size=size))
    step.loss.backward()
    objective.after_update()
    assert step.loss.shape == ()
    shapes = [(p.grad.shape, p.shape) for p in objective.parameters() if p.grad is not None]
    assert all(found == expected for found, expected in shapes)
    assert shapes
    assert fake_gpu.copies == []
    assert fake_gpu.wide == []


@pytest.mark.parametrize(
    "settings",
    [
        ["model.backbone=efficientnet_lite"],
        ["model.backbone={name: vit, patch: 16, dim: 384, depth: 12, heads: 6}",
         "model.decoder=linear", "model.head=mlp"],
    ],
)  # fmt: skip
def test_parts_without_a_preset_never_wait_for_the_device(settings, fake_gpu):
    recipe = load("cells").with_settings(settings)
    objective, channels = assembled(recipe)
    fake_gpu.copies.clear()
    objective.train()(batch_of(recipe, channels, size=1)).loss.backward()
    assert fake_gpu.copies == []


@pytest.mark.parametrize("method", [name for name in UNLABELED if name != "pseudo_labels"])
def test_unlabeled_crops_wait_for_nothing(method, fake_gpu):
    recipe = load("cells").with_settings(
        [
            "data.crop=[32, 32]",
            "model.backbone={name: resunet, width: 8, depth: 3}",
            f"train.unlabeled={{name: {method}}}",
        ]
    )
    objective, channels = assembled(recipe)
    batch = batch_of(recipe, channels, unlabeled=True)
    objective(batch)
    objective.after_update()
    fake_gpu.copies.clear()
    objective(batch).loss.backward()
    objective.after_update()
    assert fake_gpu.copies == []


class Small(Objective):
    """A network with a batch norm."""

    def __init__(self):
        super().__init__()
        self.layers = torch.nn.Sequential(torch.nn.Conv2d(1, 8, 3), torch.nn.BatchNorm2d(8))

    def step(self, batch):
        loss = self.layers(batch.image).square().mean()
        return Step(loss, {"loss": loss.detach()})


@pytest.fixture
def on_fake_gpu(monkeypatch):
    """A Fabric of one process whose device is the fake one."""
    fabric = make_fabric(1, "32", "cpu")
    kind = type(fabric.strategy)
    monkeypatch.setattr(kind, "root_device", property(lambda _: torch.device("meta")))
    monkeypatch.setattr(CPUAccelerator, "setup_device", lambda *_: None)
    return fabric


def run(fabric, device, *, steps, log_every, optimizer=adamw, accumulate=1):
    """Copies to the host in each step of the training loop."""
    with torch.device("meta"):
        net = Small()
    seen = []

    def batches(_start):
        for _ in count():
            seen.append(len(device.copies))
            yield Batch(torch.zeros(2, 1, 8, 8))

    plan = Plan(steps=steps, lr=0.1, log_every=log_every, accumulate=accumulate, ema=0.9)
    with Journal(None, steps=steps, quiet=True) as journal:
        fit(
            net,
            batches,
            fabric=fabric,
            optimizer=optimizer([{"params": list(net.parameters())}]),
            plan=plan,
            journal=journal,
        )
    return np.diff(seen).tolist()


def test_the_training_loop_copies_nothing_to_the_host(fake_gpu, on_fake_gpu):
    """Journal lines and the look of the guard, every 16 updates, are the only copies."""
    per_step = run(on_fake_gpu, fake_gpu, steps=20, log_every=100)
    assert [number for number, copies in enumerate(per_step, 1) if copies] == [16], per_step


def test_accumulated_batches_copy_nothing(fake_gpu, on_fake_gpu):
    per_step = run(on_fake_gpu, fake_gpu, steps=4, log_every=100, accumulate=3)
    assert len(per_step) >= 4
    assert not any(per_step)


def test_the_fake_device_finds_a_hidden_copy(fake_gpu, on_fake_gpu, monkeypatch):
    """The tests above can fail: a guard that decides on the host copies in every step."""
    on_host = property(lambda _: False, lambda *_: None)
    monkeypatch.setattr(Guard, "deferred", on_host, raising=False)
    per_step = run(on_fake_gpu, fake_gpu, steps=5, log_every=100)
    assert all(copies >= 1 for copies in per_step), per_step
    with pytest.raises(AssertionError, match="size of its result"):
        torch.empty(3, device="meta").nonzero()


class Inline(ThreadPoolExecutor):
    """An executor of this thread: the fake device is one of this thread alone."""

    def submit(self, fn, /, *args, **kwargs):
        future = Future()
        future.set_result(fn(*args, **kwargs))
        return future


def test_a_predicted_tile_is_copied_at_most_once(fake_gpu, monkeypatch):
    """Scores are blended on the device; finished lines are copied in pieces of many tiles."""
    monkeypatch.setattr(tiles_module, "ThreadPoolExecutor", Inline)
    recipe = load("cells").with_settings(
        [
            "data.crop=[32, 32]",
            "model.backbone={name: resunet, width: 8, depth: 2}",
            # Many tiles, so that copies per tile show.
            "infer.adapt_tile=false",
        ]
    )
    segmenter, _ = assembled(recipe)
    predictor = make_predictor([segmenter.eval()], recipe)
    image = np.zeros((3, 120, 120), np.float32)
    fake_gpu.copies.clear()
    tiles = []
    predictor.score_seen(predictor._open(image), progress=lambda done, whole: tiles.append(whole))
    assert tiles
    assert len(fake_gpu.copies) <= tiles[-1] // 4, fake_gpu.copies
