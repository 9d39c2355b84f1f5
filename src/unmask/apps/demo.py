"""Pre-train on phantoms, train with few labels, predict and evaluate, in a few minutes."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from unmask import api
from unmask.apps import pictures
from unmask.interruption import drop_notes, note_kept
from unmask.phantoms import write_phantoms
from unmask.phantoms.cells import write_set
from unmask.reports.charts import curves
from unmask.reports.page import Charts, Section, Table
from unmask.training.journal import read_journal

_SHAPES = {2: (192, 192), 3: (32, 80, 80)}
# A network small enough for two cores and a few minutes; those of the presets are larger.
_SETTINGS = {
    2: ["data.channels=1", "data.crop=[128, 128]", "data.augment=[{name: spatial}]"],
    3: ["data.channels=1", "data.crop=[24, 64, 64]", "data.augment=[{name: spatial}]"],
}
_BACKBONE = {
    2: "model.backbone={name: resunet, width: 12, depth: 4}",
    3: "model.backbone={name: resunet, width: 8, depth: 3}",
}
_PRESETS = {2: "cells", 3: "cells3d"}
# Updates on phantoms, updates on labeled images, and crops per update.
_START, _TRAIN, _BATCH = {2: 220, 3: 160}, {2: 60, 3: 50}, {2: 4, 3: 2}
_PHANTOMS, _LABELED, _UNSEEN = 60, 2, 6
# Sizes of phantom objects that match the images; `unmask synth --like` would estimate them.
_OPTIONS = {"diameter": (12.0, 34.0), "density": (0.1, 0.5)}
_METRICS = ["f1@0.5", "ap", "aji", "pq"]


@dataclass(frozen=True)
class _Arm:
    """One of the models that are compared.

    Attributes:
        run: folder of its run, below ``runs/``.
        title: how it was trained.
    """

    run: str
    title: str

    @property
    def predicted(self) -> str:
        """Folder of its predictions."""
        return "predicted" if self.run == "trained" else f"predicted_{self.run}"


_ARMS = (
    _Arm("phantoms", "phantoms alone, no label"),
    _Arm("scratch", f"{_LABELED} labeled images, from scratch"),
    _Arm("trained", f"{_LABELED} labeled images, pre-trained on phantoms"),
)


def run_demo(out: str | Path, *, ndim: int = 2, say: Callable[[str], None] = print) -> Path:
    """Run the demo into a folder.

    Args:
        out: folder of images, runs, predictions and the report; made if needed.
        ndim: 2 or 3.
        say: receives one line per stage.

    Returns:
        The HTML report.
    """
    begin, out = time.perf_counter(), Path(out)
    with note_kept(partial(_describe_kept, out)), drop_notes():
        _run_stages(out, ndim, say)
    say(f"Done in {time.perf_counter() - begin:.0f} s.")
    return out / "report.html"


def _describe_kept(out: Path) -> str:
    """What an ended demo leaves, for people; "" if it can be started again in its folder."""
    if not (out / "runs").exists():
        return ""
    return f"{out} holds a part of the demo, which cannot be resumed. Choose another --out."


def _run_stages(out: Path, ndim: int, say: Callable[[str], None]) -> None:
    shape = _SHAPES[ndim]
    say(f"1/5 Drawing phantoms and images of another kind, {' x '.join(map(str, shape))} voxels")
    write_phantoms(out / "phantoms", "nuclei", shape, _PHANTOMS, seed=1, options=_OPTIONS)
    write_set(out / "labeled", "nuclei", shape=shape, count=_LABELED, labeled=_LABELED, seed=2)
    write_set(out / "unseen", "nuclei", shape=shape, count=_UNSEEN, labeled=_UNSEEN, seed=3)
    say(f"2/5 Pre-training on {_PHANTOMS} phantoms with known truth ({_START[ndim]} updates)")
    _train(out, "phantoms", "phantoms", _START[ndim], ndim)
    say(f"3/5 Training on {_LABELED} labeled images, from these and from random weights "
        f"({_TRAIN[ndim]} updates)")  # fmt: skip
    _train(out, "scratch", "labeled", _TRAIN[ndim], ndim)
    _train(out, "trained", "labeled", _TRAIN[ndim], ndim, init="phantoms")
    say(f"4/5 Predicting {_UNSEEN} unseen images with each model")
    for arm in _ARMS:
        images = out / "unseen" / "images"
        api.predict_files(
            out / "runs" / arm.run, images, out=out / arm.predicted, say=lambda _: None
        )
    say("5/5 Comparing with the truth")
    _report(out, say)


def _train(
    out: Path, run: str, data: str, steps: int, ndim: int, *, init: str | None = None
) -> None:
    settings = [
        *_SETTINGS[ndim],
        _BACKBONE[ndim],
        f"train.steps={steps}",
        f"train.batch_size={_BATCH[ndim]}",
        f"train.warmup={min(20, steps // 4)}",
        "train.lr=0.002",
        "train.ema=0.95",
        "train.validate_every=0",
        f"train.save_every={steps}",
    ]
    api.train(
        _PRESETS[ndim],
        images=out / data / "images",
        labels=out / data / "labels",
        out=out / "runs" / run,
        init=None if init is None else out / "runs" / init,
        settings=settings,
    )


def _report(out: Path, say: Callable[[str], None]) -> None:
    """Scores of every model as text, and the report of the best one."""
    truth, rows = out / "unseen" / "labels", []
    reports = {arm.run: api.evaluate(truth=truth, predicted=out / arm.predicted, metrics=_METRICS)
               for arm in _ARMS}  # fmt: skip
    for arm in _ARMS:
        summary = reports[arm.run].summary
        rows.append({"training": arm.title, **{name: summary[name]["mean"] for name in _METRICS}})
        score = summary["f1@0.5"]["mean"]
        say(f"F1 {'-' if math.isnan(score) else f'{score:.2f}'}  {arm.title}")
    best = _ARMS[-1]
    reports[best.run].write(out / "report.json")
    api.write_page(
        reports[best.run],
        out / "report.html",
        truth=truth,
        predicted=out / best.predicted,
        images=out / "unseen" / "images",
        more=[Table("Pre-training on phantoms, and without it", rows), _losses(out)],
    )


def _losses(out: Path) -> Section:
    lines = {arm.title: pictures.series(read_journal(out / "runs" / arm.run), "loss")
             for arm in _ARMS}  # fmt: skip
    return Charts([curves(lines, "loss", "update")])
