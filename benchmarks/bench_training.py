"""One step of a training from scratch, data included, compared with those of two other programs.

    python benchmarks/bench_training.py --peer-python .venv-peer/bin/python
    python benchmarks/bench_training.py cells --steps 6 --turns 1 --try

``cells`` against Cellpose 3.1.1.3 (its ``train_seg``) on nuclei, ``semantic3d`` against MONAI (a
DynUNet as nnU-Net plans it, nnU-Net's augmentation written with MONAI's transforms) on volumes of
the hippocampus. Crop, batch and images are the same, all is float32 and one thread. Our network is
made as expensive as the peer's, counted in multiply-adds. Two more rows have this network in
bfloat16, which `train.precision=auto` chooses where it is faster, and the network of the preset.

Each program trains in processes of its own, in turns. A step is the mean CPU time between
the requests for two batches: reading crops, augmentation, targets, forward and backward pass,
optimizer. Imports, reading the files and what else happens once are left out. Every run must learn:
its loss has to fall. The floor is the time of the multiply-adds alone, as fast as large products of
matrices are on this machine.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from accuracy import DATA, ROOT
from harness import RESULTS, measure, row, write
from training_peers import add_options, count_multiplications, first_files
from training_steps import time_steps
from unmask.build import layout, resolve_recipe
from unmask.data.pairs import apply_view, open_pairs

# Steps that are not counted: kernels are compiled and memory is taken.
WARM = 3
# The loss of the last steps as a share of that of the first ones, at most.
FALLEN = 0.98
NAMES = {
    "equal": "equal multiply-adds",
    "bf16": "equal multiply-adds, ours in bfloat16",
    "preset": "the preset's network",
}
# A backward pass has twice the multiply-adds of a forward pass.
PASSES = 3
# Our multiply-adds as a share of those of the peer, at least; rows say both numbers.
AT_LEAST = 0.99


@dataclass(frozen=True)
class Case:
    """A preset and its peer.

    ``matched`` makes our network as expensive as the peer's. ``plain`` is what both rows change of
    the preset.
    """

    preset: str
    folder: str
    crop: tuple[int, ...]
    batch: int
    peer: str
    matched: tuple[str, ...]
    plain: tuple[str, ...] = ()


CASES = {
    "cells": Case(
        preset="cells",
        folder="dsb2018_nuclei",
        crop=(224, 224),
        batch=8,
        peer="Cellpose 3.1.1.3",
        matched=("model.backbone.width=48",),
    ),
    "volumes": Case(
        preset="semantic3d",
        folder="hippocampus_mri",
        crop=(40, 56, 40),
        batch=4,
        peer="MONAI's DynUNet and transforms",
        matched=(
            "model.backbone.width=32",
            "model.backbone.blocks=[1, 1, 2, 2]",
        ),
        plain=("model.deep_supervision=2",),
    ),
}


def train_ours(asked: argparse.Namespace) -> dict[str, Any]:
    """Our loop; the same values as `training_peers` gives."""
    crop = f"data.crop={list(asked.crop)}"
    # The warm-up of the presets is longer than this training, that of Cellpose is ten steps.
    shared = (crop, f"train.batch_size={asked.batch}", "train.warmup=10", "train.precision=32")
    recipe = resolve_recipe(CASES[asked.what].preset, [*shared, *asked.set])
    rules = layout(recipe)
    images, labels = zip(*first_files(asked), strict=True)
    pairs = open_pairs(images, labels, rules, channels=recipe.data.channels)
    steps = time_steps(recipe, apply_view(pairs, rules.view), asked.steps)
    empty = torch.zeros(1, recipe.data.channels, *asked.crop)
    macs = count_multiplications(steps.network.outputs, empty)
    return {"marks": steps.marks, "losses": steps.losses, "macs": macs, "once": steps.once}


@dataclass
class Found:
    """What the runs of one program gave: the fastest turn counts."""

    name: str
    seconds: float = float("inf")
    macs: float = 0.0
    once: float = 0.0
    losses: tuple[float, float] = (0.0, 0.0)

    def add(self, result: Mapping[str, Any]) -> None:
        """One more turn."""
        marks, losses = result["marks"], result["losses"]
        third = max(2, len(losses) // 3)
        first, last = statistics.fmean(losses[:third]), statistics.fmean(losses[-third:])
        # The time after the last mark includes the end of the program.
        seconds = (marks[-1] - marks[WARM]) / (len(marks) - 1 - WARM)
        print(f"  {self.name}: {seconds:.3f} s, loss {first:.3f} -> {last:.3f}", flush=True)
        if seconds < self.seconds:
            self.seconds, self.losses = seconds, (first, last)
            self.macs, self.once = result["macs"], result["once"]

    @property
    def learned(self) -> bool:
        """Whether the loss fell."""
        return self.losses[1] <= FALLEN * self.losses[0]

    def describe(self) -> str:
        """Multiply-adds, losses, and what happens once."""
        first, last = self.losses
        return f"{self.macs / 1e9:.1f} G per crop, loss {first:.2f} to {last:.2f}"


def multiplications_per_second() -> float:
    """Multiply-adds of large matrix products in float32: what this thread can do at best."""
    size = 2048
    left, right = torch.rand(size, size), torch.rand(size, size)
    return size**3 / measure(lambda: left @ right, 5)


def run(command: Sequence[str | Path]) -> dict[str, Any]:
    """The result that a process prints last."""
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")
    environment = {**os.environ, **dict.fromkeys(names, "1")}
    done = subprocess.run(
        list(map(str, command)), env=environment, stdout=subprocess.PIPE, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(f"{command[1]}: ended with {done.returncode}")
    return json.loads(done.stdout.splitlines()[-1])


def compare(what: str, case: Case, asked: argparse.Namespace) -> list[dict[str, Any]]:
    """Rows of one case: equal multiply-adds, and the preset's own network."""
    data, here = DATA / case.folder / "train", Path(__file__).resolve()
    given = ["--images", data / "images", "--labels", data / "labels", "--steps", asked.steps]
    given += ["--batch", asked.batch or case.batch, "--crop", *case.crop]
    own = [sys.executable, here, "one", what, *given]
    commands: dict[str, list[Any]] = {
        "equal": [*own, *_set(*case.plain, *case.matched)],
        "bf16": [*own, *_set(*case.plain, *case.matched, "train.precision=bf16")],
        "preset": [*own, *_set(*case.plain)],
    }
    if asked.peer_python:
        script = here.with_name("training_peers.py")
        commands["peer"] = [asked.peer_python, script, what, *given]
    found = {key: Found(f"{what} {key}") for key in commands}
    for turn in range(asked.turns):
        print(f"{what}, turn {turn + 1} of {asked.turns}", flush=True)
        for key, command in commands.items():
            found[key].add(run(command))
    rows = list(_rows(case, asked, found))
    failed = [each.name for each in found.values() if not each.learned]
    if failed and not asked.trial:
        print(*rows, sep="\n")
        raise SystemExit(f"Expected losses that fall, found others: {', '.join(failed)}.")
    return rows


def _set(*lines: str) -> list[str]:
    return [word for line in lines for word in ("--set", line)]


def _rows(
    case: Case, asked: argparse.Namespace, found: Mapping[str, Found]
) -> Iterator[dict[str, Any]]:
    peer = found.get("peer")
    if peer is not None and found["equal"].macs < AT_LEAST * peer.macs:
        ours = found["equal"].describe()
        raise SystemExit(f"Expected as many multiply-adds as {peer.describe()}, found {ours}.")
    size, rate = " x ".join(map(str, case.crop)), multiplications_per_second()
    for key, name in NAMES.items():
        ours = found[key]
        seconds = {"ours": ours.seconds}
        note = f"ours: {ours.describe()}"
        if peer is not None:
            seconds["peer"] = peer.seconds
            note += f"; {case.peer}: {peer.describe()}"
        crops = asked.batch or case.batch
        what = f"step of {case.preset}, {crops} crops {size}, {name}"
        floor = None if key == "bf16" else PASSES * crops * ours.macs / rate
        yield row(what, seconds, floor=floor, note=note)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    if sys.argv[1:2] == ["one"]:
        parser.add_argument("one")
        parser.add_argument("what", choices=CASES)
        add_options(parser)
        parser.add_argument("--set", action="append", default=[])
        torch.set_num_threads(1)
        print(json.dumps(train_ours(parser.parse_args())))
        return
    default = ROOT / ".venv-peer" / "bin" / "python"
    parser.add_argument("cases", nargs="*", help=f"some of {', '.join(CASES)}; default: all")
    parser.add_argument("--peer-python", type=Path, default=default if default.exists() else None)
    parser.add_argument("--steps", type=int, default=12, help=f"{WARM} of them do not count")
    parser.add_argument("--turns", type=int, default=2)
    parser.add_argument("--batch", type=int, help="crops per step; default: as the preset")
    parser.add_argument("--try", action="store_true", dest="trial", help="print, store nothing")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    chosen = asked.cases or list(CASES)
    rows = [line for name in chosen for line in compare(name, CASES[name], asked)]
    if asked.trial:
        print(*rows, sep="\n")
    else:
        measured = tuple(f"step of {CASES[name].preset}," for name in chosen)
        write("training", [*_kept(measured), *rows])


def _kept(measured: tuple[str, ...]) -> list[dict[str, Any]]:
    """Stored rows of cases that were not measured now."""
    path = RESULTS / "training.json"
    stored = json.loads(path.read_text(encoding="utf-8"))["rows"] if path.is_file() else []
    return [line for line in stored if not line["what"].startswith(measured)]


if __name__ == "__main__":
    main()
