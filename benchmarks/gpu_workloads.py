"""Training steps of ``gpu.py``: presets with the sizes of their papers, in the loop of ``train``.

Images per second include everything that a training does: reading crops, augmentation, copies to
the device, forward, backward, clipping, the update and the journal. ``floor`` is the number that
the peak of the device would allow (MFU 100 %), by the multiply-adds of one step as PyTorch counts
them.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from gpu_parts import peak_flops, stated_peak, wait_for
from unmask.build import (
    Assembly,
    assemble_method,
    assemble_segmenter,
    build_crops,
    layout,
    resolve_recipe,
)
from unmask.data.loader import batches
from unmask.data.pairs import open_pairs
from unmask.phantoms import draw_one
from unmask.pretraining.masks import Mask
from unmask.space.batch import Batch
from unmask.space.bf16 import has_bf16
from unmask.training import Journal, fit, launch, make_fabric
from unmask.training.plan import Plan

Row = dict[str, Any]
PUBLISHED_DECODER = "method={name: mae, decoder_dim: 512, decoder_depth: 8, decoder_heads: 16}"
TINY_VIT = "model.backbone={name: vit, patch: [8, 8], dim: 32, depth: 1, heads: 1}"


@dataclass(frozen=True)
class Workload:
    """A training.

    Attributes:
        preset: name of the recipe.
        settings: its changes.
        tiny: more changes for a trial in seconds.
        family: of the synthetic images.
        steps: updates that are timed.
        relative: largest difference of loss and gradient between devices in float32.
    """

    preset: str
    settings: Sequence[str] = ()
    tiny: Sequence[str] = ()
    family: str = "nuclei"
    steps: int = 40
    relative: float = 1e-3


def _vit(dim: int, heads: int, batch: int) -> Workload:
    backbone = (
        f"model.backbone={{name: vit, patch: [16, 16], dim: {dim}, depth: 12, heads: {heads}}}"
    )
    settings = ["data.crop=[224, 224]", backbone, PUBLISHED_DECODER, f"train.batch_size={batch}"]
    return Workload("mae2d", settings, ["data.crop=[32, 32]", TINY_VIT, "method=mae"])


WORKLOADS = {
    "mae_s": _vit(384, 6, 512),
    "mae_b": _vit(768, 12, 256),
    "spark": Workload(
        "spark_pets",
        ["train.batch_size=128"],
        [
            "data.crop=[64, 64]",
            "model.backbone={name: resnet, blocks: [1, 1, 1, 1], width: 8}",
            "method.decoder_top=32",
        ],
    ),
    "cells": Workload("cells", ["train.batch_size=64"], ["data.crop=[48, 48]"]),
    "neurites3d": Workload(
        "neurites3d", ["train.batch_size=8"], ["data.crop=[20, 32, 32]"], family="neurites"
    ),
    "mediar": Workload(
        "mediar",
        ["train.batch_size=9"],
        [
            "data.crop=[64, 64]",
            "model.backbone={name: mit, size: b0}",
            "model.decoder={name: manet, width: 16, attention: 8}",
        ],
        steps=20,
    ),
}


@dataclass
class Watch:
    """Hands batches on, and times from the end of the warm-up.

    Attributes:
        device: device of the training.
        warm: batches that do not count.
        taken: batches so far.
        waiting: seconds that the loop waited for batches.
        begin: time of the first batch that counts.
    """

    device: torch.device
    warm: int
    taken: int = 0
    waiting: float = 0.0
    begin: float = field(default_factory=time.perf_counter)

    def times(self, stream: Iterator[Batch]) -> Iterator[Batch]:
        """The same batches."""
        for batch in stream:
            if self.taken >= self.warm:
                self.waiting += time.perf_counter() - self._asked
            yield batch
            self.taken += 1
            if self.taken == self.warm:
                wait_for(self.device)
                if self.device.type == "cuda":
                    torch.cuda.reset_peak_memory_stats(self.device)
                self.begin, self.waiting = time.perf_counter(), 0.0
            self._asked = time.perf_counter()

    def end(self) -> float:
        """Seconds since the warm-up."""
        wait_for(self.device)
        return time.perf_counter() - self.begin


def assemble(name: str, *, tiny: bool, settings: Sequence[str] = ()) -> Assembly[Any]:
    """Network, optimizer and pipeline of a workload."""
    work = WORKLOADS[name]
    changes = [*work.settings, *(work.tiny if tiny else ()), *settings]
    if tiny:
        changes += ["train.batch_size=2"]
    recipe = resolve_recipe(work.preset, changes)
    return assemble_segmenter(recipe) if recipe.task else assemble_method(recipe)


def measure_training(name: str, device: torch.device, *, tiny: bool) -> list[Row]:
    """Images per second, share of the peak, wait for data, and memory of one workload."""
    work, steps, warm = WORKLOADS[name], 2 if tiny else WORKLOADS[name].steps, 1 if tiny else 8
    workers = 0 if tiny else max(1, (os.cpu_count() or 2) - 2)
    precision = "32" if device.type == "cpu" else "auto"
    given = [f"train.precision={precision}", f"train.workers={workers}"]
    assembly = assemble(name, tiny=tiny, settings=given)
    recipe = assembly.recipe
    pairs = _pairs(assembly, work.family, 2 if tiny else 16)
    crops = build_crops(recipe, pairs, assembly.task, pipeline=assembly.pipeline)
    flops = count_flops(assembly, crops.batch(0))
    fabric = make_fabric(1, precision, device.type)
    watch = Watch(fabric.device, warm)
    plan = Plan(steps=warm + steps, lr=recipe.train.lr, clip=recipe.train.clip)
    with (
        tempfile.TemporaryDirectory() as folder,
        launch(fabric),
        Journal(folder, steps=plan.steps, tensorboard=False, quiet=True) as journal,
    ):
        summary = fit(
            assembly.objective,
            lambda start: watch.times(batches(crops.batch, start, workers=workers)),
            fabric=fabric,
            optimizer=assembly.optimizer,
            plan=plan,
            journal=journal,
        )
        seconds = watch.end()
    assert np.isfinite(summary.loss), summary
    return [_row(name, assembly, flops, steps, seconds, watch)]


def _row(
    name: str, assembly: Assembly[Any], flops: int, steps: int, seconds: float, watch: Watch
) -> Row:
    device, recipe = watch.device, assembly.recipe
    batch = recipe.train.batch_size
    # Emulated on a CPU without instructions for it, this product takes minutes in bfloat16.
    fast = torch.bfloat16 if has_bf16(device.type) else torch.float32
    peak = stated_peak(device) or peak_flops(device, fast, 2048)
    share = flops * steps / seconds / peak
    size = " x ".join(map(str, recipe.data.crop))
    memory = ""
    if device.type == "cuda":
        memory = f"; {torch.cuda.max_memory_allocated(device) / 1e9:.1f} GB"
    return {
        "what": f"training, {name}, {batch} x {size}",
        "ours": batch * steps / seconds,
        "floor": batch * peak / max(1, flops),
        "unit": "images/s",
        "note": f"MFU {share:.1%} of {peak / 1e12:.0f} TFLOP/s; {seconds / steps * 1e3:.1f} ms per "
        f"update; data wait {watch.waiting / seconds:.1%}{memory}",
    }


def count_flops(assembly: Assembly[Any], batch: Batch) -> int:
    """Operations of one update on PyTorch's meta device: nothing is computed."""
    from copy import deepcopy

    outline = deepcopy(assembly.objective).to("meta").train()
    with FlopCounterMode(display=False) as counter, torch.random.fork_rng(devices=[]):
        step_of(outline, batch.to("meta")).backward()
    return counter.get_total_flops()


def step_of(objective: Any, batch: Batch) -> torch.Tensor:
    """Loss of a batch; masks are drawn on the CPU, so that all devices hide the same patches."""
    if not hasattr(objective, "masked_loss"):
        return objective.step(batch).loss
    on_host = Batch(torch.empty(batch.image.shape), seed=batch.seed)
    mask = objective._draw(on_host)
    device = batch.image.device
    return objective.masked_loss(batch.image, Mask(mask.keep.to(device), mask.drop.to(device)))


def compare_with_cpu(device: torch.device, *, tiny: bool) -> list[Row]:
    """Loss and gradient of every workload on the device and on the CPU, in float32 and bfloat16."""
    rows = []
    # A trial trains all of them anyway.
    names = ("mae_s", "cells") if tiny else tuple(WORKLOADS)
    for name in names:
        work = WORKLOADS[name]
        assembly = assemble(name, tiny=tiny, settings=["train.batch_size=2"])
        pairs = _pairs(assembly, work.family, 2)
        crops = build_crops(assembly.recipe, pairs, assembly.task, pipeline=assembly.pipeline)
        batch = crops.batch(0)
        # Dropped paths are drawn by a generator of the device.
        objective = assembly.objective.eval()
        exact = _loss_and_norm(objective, batch, None)
        objective.to(device)
        found = _loss_and_norm(objective, batch.to(device), None)
        short = _loss_and_norm(objective, batch.to(device), torch.bfloat16)
        apart = [_relative(each, exact) for each in (found, short)]
        assert max(apart[0]) < work.relative, (name, found, exact)
        assert apart[1][0] < 0.05, (name, short, exact)
        rows.append(
            {
                "what": f"equality with the CPU, {name}",
                "ours": apart[0][0],
                "unit": "relative",
                "note": f"loss in float32; gradient {apart[0][1]:.1e}; "
                f"in bf16 {apart[1][0]:.1e} and {apart[1][1]:.1e}",
            }
        )
    return rows


def _loss_and_norm(objective: Any, batch: Batch, dtype: torch.dtype | None) -> tuple[float, float]:
    kind = batch.image.device.type
    objective.zero_grad(set_to_none=True)
    with torch.autocast(kind, dtype or torch.bfloat16, enabled=dtype is not None):
        loss = step_of(objective, batch)
    loss.backward()
    gradients = [p.grad for p in objective.parameters() if p.grad is not None]
    norm = torch.nn.utils.get_total_norm(gradients)
    return float(loss.detach()), float(norm)


def _relative(found: tuple[float, float], exact: tuple[float, float]) -> list[float]:
    return [abs(a - b) / max(1e-9, abs(b)) for a, b in zip(found, exact, strict=True)]


def _pairs(assembly: Assembly[Any], family: str, count: int) -> list[Any]:
    """Synthetic images with labels, twice as large as a crop along every axis."""
    recipe = assembly.recipe
    shape = [2 * length for length in recipe.data.crop]
    drawn = [draw_one(family, shape, seed=0, index=i) for i in range(count)]
    images = [each.image[0] for each in drawn]
    labels = [each.labels for each in drawn] if assembly.task is not None else None
    return open_pairs(images, labels, layout(recipe, assembly.task))
