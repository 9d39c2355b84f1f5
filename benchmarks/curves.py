"""How many labels are needed on the real data sets: ``unmask curve`` under a small, fixed budget.

    python benchmarks/curves.py nuclei      flows on dsb2018_nuclei; scratch, spark2d
    python benchmarks/curves.py nuclei_vit  the same with a transformer; scratch, mae2d
    python benchmarks/curves.py membranes   affinities on isbi2012_em; scratch, spark2d
    python benchmarks/curves.py pets        classes on oxford_pets_mini; scratch, spark_pets
    python benchmarks/curves.py pets_border the same with the border of the trimaps as background
    python benchmarks/curves.py hippocampus classes on hippocampus_mri; scratch, glmae_small, mae3d

Data are read from UNMASK_DATA (default ../shared/data). Runs go to --out and are continued there;
table and plot go to docs/results/curve_<name>.json and docs/images/curve_<name>.png.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from PIL.Image import Resampling

import unmask
from harness import write
from unmask.apps.curve import Files, Plan, run_curve
from unmask.apps.curve_runs import is_done
from unmask.io import open_image, open_labels, save_image
from unmask.recipe import load

ROOT = Path(__file__).resolve().parents[1]
DATA = Path(os.environ.get("UNMASK_DATA", ROOT.parent / "shared" / "data"))
_SIDE = 256  # of validation images that are cut to their middle


@dataclass(frozen=True)
class Study:
    """A data set, what is trained on it, and the settings of every pre-training.

    Attributes:
        kinds: how many validation images of every kind are measured; all where empty.
        side: images are brought to this side without regard to their proportions; 0 leaves those
            for training and cuts those for validation to their middle.
        lost: a label that becomes background; 0 for none.
        volumes: images have three axes and stay as they are.
    """

    folder: str
    preset: str
    counts: tuple[int, ...]
    settings: tuple[str, ...]
    pretrain: Mapping[str, tuple[str, ...]]
    unlabeled: tuple[str, ...] = ("train",)
    kinds: Mapping[str, int] = field(default_factory=dict)
    side: int = 0
    lost: int = 0
    volumes: bool = False


_SHORT = ("data.crop=[96, 96]", "train.workers=0")
_CONV = "model.backbone={name: resunet, width: 16, depth: 5}"
_VIT = "model.backbone={name: vit, patch: [8, 8], dim: 128, depth: 6, heads: 4}"
_TRAIN = (*_SHORT, "train.batch_size=4", "train.steps=100", "train.warmup=10")
_SPARK = (*_SHORT, _CONV, "train.batch_size=8", "train.steps=400", "train.warmup=40")
_RESNET = "model.backbone={name: resnet, blocks: [2, 2, 2, 2], width: 16}"
_PETS = Study(
    folder="oxford_pets_mini",
    preset="mae_pets",
    counts=(16,),
    settings=(
        *("data.crop=[160, 160]", "train.workers=0", _RESNET),
        *("model.decoder={name: spark, top: 256}", "train.lr=0.001", "train.batch_size=8"),
        *("train.steps=200", "train.warmup=20"),
    ),
    pretrain={
        "spark_pets": (
            *("data.crop=[160, 160]", "train.workers=0", _RESNET, "method.decoder_top=256"),
            # LAMB and its decay are made for large batches and many updates
            *("train.optimizer={name: adamw, betas: [0.9, 0.95]}", "train.lr=0.001"),
            *("train.final_weight_decay=1.0", "train.batch_size=8"),
            *("train.steps=400", "train.warmup=40"),
        )
    },
    side=160,
)
_NUCLEI = Study(
    folder="dsb2018_nuclei",
    preset="cells",
    counts=(2, 4, 8, 16, 32, 64),
    settings=(*_TRAIN, _CONV),
    pretrain={"spark2d": _SPARK},
    kinds={"grey_dark": 8, "rgb": 6, "grey_bright": 2},
)
STUDIES = {
    "pets": _PETS,
    "pets_border": replace(
        _PETS,
        lost=2,
        settings=(*_PETS.settings, "data.ignore_label=null"),
    ),
    "nuclei": _NUCLEI,
    "nuclei_vit": replace(
        _NUCLEI,
        settings=(*_TRAIN, _VIT, "model.decoder={name: unetr, width: 16}"),
        pretrain={
            "mae2d": (
                *(*_SHORT, _VIT, "train.batch_size=16"),
                *("train.steps=1000", "train.warmup=80"),
            )
        },
    ),
    "membranes": Study(
        folder="isbi2012_em",
        preset="membranes2d",
        counts=(1, 2, 5, 10, 20),
        # at the rate of long trainings, affinities still lie around 0.5 after so few updates
        settings=(
            *(*_TRAIN, _CONV, "train.steps=200", "train.warmup=20", "train.lr=0.003"),
            # what long trainings are decoded by expects surer affinities
            "task.decoding={name: waterz, threshold: 0.7, watershed: {sigma: 1.0}, min_size: 50}",
            "infer.tta=true",
        ),
        pretrain={
            "spark2d": (
                *_SPARK,
                "data.channels=1",
                "data.normalize={name: percentile, low: 0.5, high: 99.5}",
            )
        },
        unlabeled=("train", "unlabeled"),
    ),
    "hippocampus": Study(
        folder="hippocampus_mri",
        preset="semantic3d",
        counts=(4, 12, 60, 120),
        settings=(
            # the tokens before the first block still tell places, see benchmarks/studies.md
            *(
                "model.backbone={name: vit, patch: [8, 8, 8], dim: 192, depth: 8, heads: 3, "
                "taps: [0, 2, 5, 8]}",
                "model.decoder={name: unetr, width: 8}",
            ),
            *("train.batch_size=2", "train.steps=150", "train.warmup=20", "train.save_every=1000"),
            # at the preset's rate one of three seeds had not found the organ after so few updates
            "train.lr=0.003",
        ),
        pretrain={
            "glmae_small": ("train.steps=600", "train.warmup=60"),
            "mae3d": ("train.steps=1200", "train.warmup=100"),
        },
        unlabeled=("train", "val"),
        volumes=True,
    ),
}


def measure(name: str, out: Path, repeats: int) -> None:
    """Pre-train, train, and store table and plot; what is finished is not done again."""
    study = STUDIES[name]
    parts = prepared(study, out / name)
    starts = {}
    for preset, settings in study.pretrain.items():
        run = out / f"{study.folder}-{preset}"
        starts[preset] = str(run)
        recipe = load(preset).with_settings(settings)
        if not is_done(run, recipe):
            images = [parts.get(part, DATA / study.folder / part) for part in study.unlabeled]
            unmask.pretrain(
                recipe,
                images=[folder / "images" for folder in images],
                out=run,
                resume=(run / "recipe.yaml").is_file(),
            )
    files = Files(
        parts["train"] / "images",
        parts["train"] / "labels",
        val_images=parts["val"] / "images",
        val_labels=parts["val"] / "labels",
    )
    plan = Plan(study.counts, repeats, starts, settings=study.settings)
    run_curve(study.preset, files, out=out / name / "curve", plan=plan, resume=True)
    found = json.loads((out / name / "curve" / "curve.json").read_text(encoding="utf-8"))
    write(f"curve_{name}", rows(found))
    if len(study.counts) > 1:
        plot = ROOT / "docs" / "images" / f"curve_{name}.png"
        shutil.copy(out / name / "curve" / "curve.png", plot)


def prepared(study: Study, out: Path) -> dict[str, Path]:
    """Folders of the parts; changed images are written to ``out``."""
    parts = {part: DATA / study.folder / part for part in ("train", "val")}
    if study.volumes:
        return parts
    for part in ("train", "val") if study.side else ("val",):
        folder, parts[part] = parts[part], out / part
        paths = sorted((folder / "images").iterdir())
        for path in chosen(study, paths) if part == "val" else paths:
            image = open_image(path).read()
            labels = open_labels(folder / "labels" / path.name).read()[0]
            if study.lost:
                labels = np.where(labels == study.lost, 0, labels)
            change = partial(brought_to, side=study.side) if study.side else middle
            save_image(out / part / "images" / f"{path.stem}.tif", change(image), axes="CYX")
            save_image(out / part / "labels" / f"{path.stem}.tif", change(labels))
    return parts


def chosen(study: Study, paths: Sequence[Path]) -> list[Path]:
    """Evenly spread images of every kind, as many as are wanted; all if no kinds are given."""
    index = DATA / study.folder / "index.csv"
    if not study.kinds:
        return list(paths)
    with index.open(encoding="utf-8") as lines:
        kinds = {line["stem"]: line["kind"] for line in csv.DictReader(lines)}
    found: list[Path] = []
    for kind, count in study.kinds.items():
        of_kind = [path for path in paths if kinds[path.stem] == kind]
        found += [of_kind[i * len(of_kind) // count] for i in range(count)]
    return found


def middle(image: np.ndarray) -> np.ndarray:
    """The last two axes cut to ``_SIDE`` around their middle."""
    starts = [max(0, (n - _SIDE) // 2) for n in image.shape[-2:]]
    return image[(..., *(slice(start, start + _SIDE) for start in starts))]


def brought_to(image: np.ndarray, side: int) -> np.ndarray:
    """Bicubic for images ``(C, y, x)``, nearest for labels ``(y, x)``."""
    if image.ndim == 2:
        small = Image.fromarray(image.astype(np.uint8)).resize((side, side), Resampling.NEAREST)
        return np.asarray(small)
    colors = Image.fromarray(np.moveaxis(image, 0, -1).astype(np.uint8))
    return np.moveaxis(np.asarray(colors.resize((side, side), Resampling.BICUBIC)), -1, 0)


def rows(found: Mapping[str, Any]) -> list[dict[str, Any]]:
    """A row for each pre-trained start and number of labels next to scratch in the same network."""
    against = {row["start"]: row["against"] for row in found["rows"]}
    points = {(point["start"], point["labels"]): point for point in found["summary"]}
    lines = []
    for (start, labels), point in points.items():
        fresh = points[against[start], labels]
        if fresh is not point:
            what = f"{labels} labels, {start} against {against[start]}"
            note = f"{_interval(point, fresh)}; {_worth(point)}"
            others = _others(found, start, labels), _others(found, against[start], labels)
            note += f"; {others[0]} against {others[1]}"
            values = (what, point["mean"], fresh["mean"], found["metric"], note)
            lines.append(dict(zip(("what", "ours", "peer", "unit", "note"), values, strict=True)))
    return lines


def _others(found: Mapping[str, Any], start: str, labels: int) -> str:
    """Means of the other figures."""
    mine = [
        row["metrics"] for row in found["rows"] if (row["start"], row["labels"]) == (start, labels)
    ]
    names = [name for name in mine[0] if name != found["metric"]]
    defined = {name: [each[name] for each in mine if each[name] is not None] for name in names}
    return ", ".join(f"{name} {np.mean(values):.3f}" for name, values in defined.items() if values)


def _interval(*points: Mapping[str, Any]) -> str:
    if any(point["low"] is None for point in points):
        return "one repeat"
    return "95 %: " + " against ".join(
        f"{each['low']:.3f} to {each['high']:.3f}" for each in points
    )


def _worth(point: Mapping[str, Any]) -> str:
    same = point["equivalent"]
    if same == "more":
        return "worth more labels than were tried"
    return f"worth {same:.3g} labels" if same else "worth fewer labels than were tried"


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("name", choices=STUDIES)
    parser.add_argument("--out", type=Path, default=ROOT / "runs" / "curves")
    parser.add_argument("--repeats", type=int, default=3)
    asked = parser.parse_args()
    measure(asked.name, asked.out, asked.repeats)


if __name__ == "__main__":
    main()
