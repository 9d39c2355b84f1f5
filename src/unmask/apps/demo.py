"""Pre-train, train, predict and evaluate on synthetic images, in a few minutes."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from unmask import api
from unmask.apps import pictures
from unmask.phantoms.cells import write_set
from unmask.reports.charts import curves
from unmask.reports.page import Charts, Figure, Figures, Section
from unmask.training.journal import read_journal

_SHAPES = {2: (192, 192), 3: (32, 80, 80)}
# A network small enough for two cores and a few minutes; those of the presets are larger.
_SETTINGS = {
    2: ["data.channels=1", "data.crop=[128, 128]"],
    3: ["data.channels=1", "data.crop=[24, 64, 64]"],
}
_BACKBONE = {
    2: "model.backbone={name: vit, patch: [8, 8], dim: 96, depth: 4, heads: 3}",
    3: "model.backbone={name: vit, patch: [4, 8, 8], dim: 96, depth: 4, heads: 3}",
}
_PRETRAIN = {2: ("mae2d", 120, 16), 3: ("mae3d", 120, 4)}
_TRAIN = {2: ("cells", 220, 8), 3: ("cells3d", 250, 2)}
_UNLABELED, _LABELED, _UNSEEN = 24, 12, 6


def run_demo(out: str | Path, *, ndim: int = 2, say: Callable[[str], None] = print) -> Path:
    """Run the demo into a folder.

    Args:
        out: folder of images, runs, predictions and the report; made if needed.
        ndim: 2 or 3.
        say: receives one line per stage.

    Returns:
        The HTML report.
    """
    begin = time.perf_counter()
    out = Path(out)
    shape = _SHAPES[ndim]
    say(f"1/5 Drawing synthetic nuclei, {' x '.join(map(str, shape))} voxels, with known truth")
    write_set(out / "unlabeled", "nuclei", shape=shape, count=_UNLABELED, labelled=0, seed=1)
    write_set(out / "labeled", "nuclei", shape=shape, count=_LABELED, labelled=_LABELED, seed=2)
    write_set(out / "unseen", "nuclei", shape=shape, count=_UNSEEN, labelled=_UNSEEN, seed=3)

    preset, steps, batch = _PRETRAIN[ndim]
    say(f"2/5 Pre-training on {_UNLABELED} images without labels ({preset}, {steps} steps)")
    api.pretrain(
        preset,
        images=out / "unlabeled" / "images",
        out=out / "runs" / "pretrained",
        settings=_settings(ndim, steps, batch),
    )
    preset, steps, batch = _TRAIN[ndim]
    say(f"3/5 Training on {_LABELED} labeled images ({preset}, {steps} steps)")
    api.train(
        preset,
        images=out / "labeled" / "images",
        labels=out / "labeled" / "labels",
        out=out / "runs" / "trained",
        init=out / "runs" / "pretrained",
        settings=[*_settings(ndim, steps, batch), "model.decoder={name: unetr, width: 16}"],
    )
    say(f"4/5 Predicting {_UNSEEN} unseen images")
    api.predict_files(
        out / "runs" / "trained", out / "unseen" / "images", out=out / "predicted", say=say
    )
    say("5/5 Comparing with the truth")
    report = api.evaluate(
        truth=out / "unseen" / "labels",
        predicted=out / "predicted",
        metrics=["f1@0.5", "ap", "aji", "pq"],
    )
    api.write_page(
        report,
        out / "report.html",
        truth=out / "unseen" / "labels",
        predicted=out / "predicted",
        images=out / "unseen" / "images",
        more=_sections(out),
    )
    report.write(out / "report.json")
    say(report.to_text())
    say(f"Done in {time.perf_counter() - begin:.0f} s.")
    return out / "report.html"


def _sections(out: Path) -> list[Section]:
    """Reconstructions of the pre-training, and the loss of both runs."""
    runs = {"pre-training": out / "runs" / "pretrained", "training": out / "runs" / "trained"}
    rebuilt = max((runs["pre-training"] / "pictures").glob("*-reconstruction.png"))
    shown = Figure("original, masked and rebuilt crops", rebuilt.read_bytes())
    losses = {name: pictures.series(read_journal(folder), "loss") for name, folder in runs.items()}
    return [
        Figures("Pre-training", [shown], wide=True),
        Charts([curves({name: line}, f"loss, {name}", "update") for name, line in losses.items()]),
    ]


def _settings(ndim: int, steps: int, batch: int) -> list[str]:
    return [
        *_SETTINGS[ndim],
        _BACKBONE[ndim],
        f"train.steps={steps}",
        f"train.batch_size={batch}",
        "train.warmup=30",
        "train.validate_every=0",
        f"train.save_every={steps}",
    ]
