"""Where the time of one training step goes: phases in CPU seconds, and the operators on top.

    python benchmarks/profile_steps.py               all presets, then docs/results/profiles.json
    python benchmarks/profile_steps.py cells mit     these; the others keep their rows
    python benchmarks/profile_steps.py --batch 2     with smaller batches

One thread, float32, batches of synthetic images. The batch is prepared before the clock starts and
counted separately, as a training prepares it in another thread. The shares of operators are of the
whole step (forward, backward, clipping, optimizer, moving average) and come from torch.profiler.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile

from gpu_workloads import step_of
from harness import RESULTS, write
from unmask.build import assemble_method, assemble_segmenter, build_crops, layout, resolve_recipe
from unmask.data.pairs import Pair, open_pairs
from unmask.phantoms import draw_one
from unmask.training.allocator import keep_freed_memory
from unmask.training.average import Average

NAME = "profiles"
# Steps that are timed after the first one; the fastest counts.
STEPS = 2
# Operators that are named, and the smallest share of them.
NAMED, SHARE = 6, 0.02


@dataclass(frozen=True)
class Step:
    """A preset with changes, and the family of its images."""

    preset: str
    settings: tuple[str, ...] = ()
    family: str = "nuclei"


PRESETS = {
    "cells": Step("cells"),
    "membranes2d": Step("membranes2d", family="membranes"),
    "semantic3d": Step("semantic3d", ("task.classes=2",)),
    "mae2d": Step("mae2d"),
    "mit": Step(
        "mediar", ("data.crop=[128, 128]", "train.batch_size=4", "model.backbone.size=b0",
                   "model.decoder={name: manet, width: 16}")
    ),
    "spark3d": Step("spark3d"),
}  # fmt: skip


def make_step(name: str, batch: int | None) -> tuple[dict[str, Callable[[], object]], str]:
    """The phases of a step by name, in order, and what is trained."""
    chosen = PRESETS[name]
    given = [*chosen.settings, "train.precision='32'"]
    recipe = resolve_recipe(chosen.preset, given + ([f"train.batch_size={batch}"] if batch else []))
    assembly = assemble_segmenter(recipe) if recipe.task else assemble_method(recipe)
    objective, optimizer = assembly.objective.train(), assembly.optimizer
    pairs = draw_pairs(chosen.family, recipe, assembly.task)
    crops = build_crops(recipe, pairs, assembly.task, pipeline=assembly.pipeline)
    average = Average(objective, recipe.train.ema) if recipe.train.ema else None
    kept: dict[str, Any] = {}

    def update() -> None:
        torch.nn.utils.clip_grad_norm_(objective.parameters(), recipe.train.clip or 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    phases: dict[str, Callable[[], object]] = {
        "data": lambda: kept.update(batch=crops.batch(0)),
        "forward": lambda: kept.update(loss=step_of(objective, kept["batch"])),
        "backward": lambda: kept["loss"].backward(),
        "update": update,
    }
    if average is not None:
        phases["average"] = average.update
    size = " x ".join(map(str, recipe.data.crop))
    return phases, f"{name}, {recipe.train.batch_size} crops of {size}"


def draw_pairs(family: str, recipe: Any, task: Any) -> list[Pair]:
    """Two synthetic images, half as large again as a crop, with as many channels as the recipe."""
    shape = [3 * length // 2 for length in recipe.data.crop]
    drawn = [draw_one(family, shape, seed=0, index=number) for number in range(2)]
    images = [each.image[0] for each in drawn]
    labels = None
    if task is not None:
        objects = task.context > 0
        labels = [each.labels if objects else (each.labels > 0).astype("u1") for each in drawn]
    return open_pairs(images, labels, layout(recipe, task))


def time_phases(phases: dict[str, Callable[[], object]]) -> dict[str, float]:
    """CPU seconds of every phase in the fastest of several steps."""
    runs = []
    for _ in range(STEPS + 1):
        seconds = {}
        for name, run in phases.items():
            begin = time.process_time()
            run()
            seconds[name] = time.process_time() - begin
        runs.append(seconds)
    # The first step fills caches.
    return min(runs[1:], key=lambda run: sum(run.values()))


def top_operators(phases: dict[str, Callable[[], object]]) -> list[tuple[str, float]]:
    """Operators by their share of a step without its data, largest first."""
    phases["data"]()
    with profile(activities=[ProfilerActivity.CPU]) as found:
        for name, run in phases.items():
            if name != "data":
                run()
    times: Counter[str] = Counter()
    for event in found.key_averages():
        if event.key.startswith(("aten::", "mkldnn::", "_")):
            times[event.key.removeprefix("aten::")] += event.self_cpu_time_total
    total = sum(times.values())
    return [(name, count / total) for name, count in times.most_common(NAMED)]


def profile_preset(name: str, batch: int | None) -> dict[str, Any]:
    """A row of the table."""
    torch.manual_seed(0)
    phases, what = make_step(name, batch)
    seconds = time_phases(phases)
    operators = top_operators(phases)
    data = seconds.pop("data")
    step = sum(seconds.values())
    parts = ", ".join(f"{part} {value / step:.0%}" for part, value in seconds.items())
    shown = ", ".join(f"{key} {share:.0%}" for key, share in operators if share >= SHARE)
    note = f"{parts}; operators: {shown}; data {data:.2g} s, not included".replace("%", " %")
    return {"what": what, "ours": step, "unit": "s", "note": note}


def stored_rows() -> dict[str, dict[str, Any]]:
    """Rows of an earlier run by preset."""
    path = RESULTS / f"{NAME}.json"
    rows = json.loads(path.read_text(encoding="utf-8"))["rows"] if path.is_file() else []
    return {row["what"].partition(",")[0]: row for row in rows}


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("presets", nargs="*", help="some of: " + ", ".join(PRESETS))
    parser.add_argument("--batch", type=int, help="crops per batch; default: those of the preset")
    chosen = parser.parse_args(arguments)
    if unknown := sorted(set(chosen.presets) - set(PRESETS)):
        parser.error(f"no preset {', '.join(unknown)}: choose from {', '.join(PRESETS)}")
    torch.set_num_threads(1)
    keep_freed_memory()  # as training does
    for name in chosen.presets or PRESETS:
        rows = stored_rows() | {name: profile_preset(name, chosen.batch)}
        write(NAME, [rows[each] for each in PRESETS if each in rows])


if __name__ == "__main__":
    main()
