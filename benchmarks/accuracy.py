"""Accuracy on the real data sets: train as the presets say, measure on their validation parts.

    python benchmarks/accuracy.py nuclei        preset cells on dsb2018_nuclei, by kind of image
    python benchmarks/accuracy.py mediar        MEDIAR's network with the smallest encoder
    python benchmarks/accuracy.py hippocampus   preset semantic3d on hippocampus_mri, two models
    python benchmarks/accuracy.py few nuclei    5 % of the labels: pre-trained against from scratch
    python benchmarks/accuracy.py few hippocampus

Data are read from UNMASK_DATA (default ../shared/data). Runs go to --out and are continued there;
what they found is added to docs/results/accuracy_<name>.json. Times are CPU seconds of training.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import statistics
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import unmask
from harness import write
from unmask.infer.load import load_predictor
from unmask.io import open_image, open_labels
from unmask.metrics import evaluate_pair, summarize
from unmask.recipe import load

ROOT = Path(__file__).resolve().parents[1]
DATA = Path(os.environ.get("UNMASK_DATA", ROOT.parent / "shared" / "data"))


@dataclass(frozen=True)
class Study:
    """A data set and how a model is trained on it.

    ``anchor`` is the figure of a plain network trained elsewhere, for the peer column; ``network``
    names another one than the preset's in the rows.
    """

    folder: str
    preset: str
    metrics: tuple[str, ...]
    anchor: float
    network: str = ""
    settings: tuple[str, ...] = ()
    seeds: tuple[int, ...] = (0,)
    pretrain: str = ""
    few: int = 0
    few_settings: tuple[str, ...] = ()
    few_network: tuple[str, ...] = ()
    pretrain_settings: tuple[str, ...] = ()


_VIT2D = "model.backbone={name: vit, patch: [8, 8], dim: 192, depth: 8, heads: 3}"
_VIT3D = "model.backbone={name: vit, patch: [4, 8, 8], dim: 192, depth: 8, heads: 3}"
STUDIES = {
    "nuclei": Study(
        folder="dsb2018_nuclei",
        preset="cells",
        metrics=("f1@0.5", "aji", "ap", "pq"),
        anchor=0.776,
        pretrain="mae2d",
        few=23,
        few_settings=("train.steps=300", "data.crop=[128, 128]", "train.warmup=50"),
        few_network=(_VIT2D, "model.decoder={name: unetr, width: 16}"),
        pretrain_settings=("train.steps=800", "train.warmup=80", _VIT2D),
    ),
    "mediar": Study(
        folder="dsb2018_nuclei",
        preset="cells",
        metrics=("f1@0.5", "aji", "ap", "pq"),
        anchor=0.776,
        network=" with mit_b0 and manet",
        settings=(
            "model.backbone={name: mit, size: b0}",
            "model.decoder={name: manet, width: 16}",
            "model.head=branches",
            "data.crop=[160, 160]",
            "data.sampling={name: modalities, clusters: 12, floor: 40, features: statistics}",
            "train.steps=4400",
            "train.warmup=150",
            "train.optimizer=muon",
            "train.lr=0.003",
            "infer.tile=[256, 256]",
        ),
    ),
    "hippocampus": Study(
        folder="hippocampus_mri",
        preset="semantic3d",
        metrics=("dice", "dice/1", "dice/2"),
        anchor=0.884,
        settings=("model.deep_supervision=2", "train.steps=1800"),
        seeds=(0, 1),
        pretrain="mae3d",
        few=6,
        few_settings=("train.steps=300", "train.batch_size=2", "train.warmup=50"),
        few_network=(_VIT3D, "model.decoder={name: unetr, width: 16}"),
        pretrain_settings=(
            "train.steps=1200",
            "train.warmup=120",
            "data.crop=[40, 56, 40]",
            "train.batch_size=8",
            _VIT3D,
        ),
    ),
}


def full(name: str, out: Path) -> None:
    """The preset on all training images; models of several seeds are averaged."""
    study = STUDIES[name]
    begin = time.process_time()
    runs = [
        train(study, out / f"{name}_{seed}", (*study.settings, f"train.seed={seed}"))
        for seed in study.seeds
    ]
    seconds = time.process_time() - begin
    several = f", mean of {len(runs)} models" if len(runs) > 1 else ""
    rows = []
    for tta in (False, True):
        given = [line for line in study.settings if line.startswith("infer.")]
        kinds = measure(study, runs, settings=(*given, f"infer.tta={str(tta).lower()}"))
        for kind, values in kinds.items():
            label = f"{study.preset}{study.network} on {study.folder}, {kind}{several}"
            label += ", flips averaged" if tta else ""
            rows += figures(label, values, study.anchor if kind == "all" else None, seconds)
    write(f"accuracy_{name}", rows)


def few(name: str, out: Path, seeds: int) -> None:
    """Few labels: the same network pre-trained and from scratch, and the preset's own network."""
    study = STUDIES[name]
    images, labels = first_pairs(study)
    begin = time.process_time()
    pre = out / f"{name}_{study.pretrain}"
    pretrain(study, pre)
    print(f"pre-training: {time.process_time() - begin:.0f} CPU seconds", flush=True)
    found: dict[str, list[float]] = defaultdict(list)
    for seed in range(seeds):
        starts = {"scratch": None, study.pretrain: pre, "preset's network, scratch": None}
        for label, init in starts.items():
            if label.startswith("preset") and seed:
                continue  # one seed shows what the architecture costs
            network = () if label.startswith("preset") else study.few_network
            folder = out / f"{name}_few_{label.split()[0].strip(chr(39))}_{seed}"
            settings = (*study.few_settings, *network, f"train.seed={seed}", "data.holdout=0")
            begin = time.process_time()
            run = train(study, folder, settings, images=images, labels=labels, init=init, val=False)
            value = measure(study, [run])["all"][study.metrics[0]]
            spent = time.process_time() - begin
            print(f"{name} seed {seed} {label}: {value:.4f} ({spent:.0f} s)", flush=True)
            found[label].append(value)
    write(f"accuracy_{name}_few", [few_row(study, label, each) for label, each in found.items()])


def few_row(study: Study, label: str, values: Sequence[float]) -> dict[str, object]:
    """Mean over seeds with their range."""
    spread = f"seeds {', '.join(f'{value:.3f}' for value in values)}"
    return {
        "what": f"{study.folder}, {study.few} labeled images, {label}",
        "ours": statistics.fmean(values),
        "unit": study.metrics[0],
        "note": spread,
    }


def train(
    study: Study,
    out: Path,
    settings: Sequence[str],
    *,
    images: Sequence[Path] | Path | None = None,
    labels: Sequence[Path] | Path | None = None,
    init: Path | None = None,
    val: bool = True,
) -> Path:
    """Train, or go on, or take a finished run as it is."""
    if finished(out):
        return out
    data = DATA / study.folder
    unmask.train(
        study.preset,
        images=images or data / "train" / "images",
        labels=labels or data / "train" / "labels",
        val_images=data / "val" / "images" if val else None,
        val_labels=data / "val" / "labels" if val else None,
        out=out,
        init=init,
        settings=settings,
        resume=(out / "snapshots").is_dir(),
    )
    return out


def pretrain(study: Study, out: Path) -> None:
    """Pre-train on all training images without their labels."""
    if not finished(out):
        unmask.pretrain(
            study.pretrain,
            images=DATA / study.folder / "train" / "images",
            out=out,
            settings=study.pretrain_settings,
            resume=(out / "snapshots").is_dir(),
        )


def finished(out: Path) -> bool:
    """Whether a run has done all its updates."""
    journal = out / "journal.jsonl"
    if not (out / "model.safetensors").is_file() or not journal.is_file():
        return False
    last = json.loads(journal.read_text(encoding="utf-8").splitlines()[-1])
    return last["step"] >= load(out / "recipe.yaml").train.steps


def first_pairs(study: Study) -> tuple[list[Path], list[Path]]:
    """Evenly spread training pairs, always the same."""
    data = DATA / study.folder / "train"
    images = sorted((data / "images").iterdir())
    chosen = [images[i * len(images) // study.few] for i in range(study.few)]
    return chosen, [data / "labels" / path.name for path in chosen]


def measure(
    study: Study,
    runs: Sequence[Path],
    settings: Sequence[str] = (),
    *,
    images: Sequence[Path] | None = None,
) -> dict[str, dict[str, float]]:
    """Means over images; by kind, and over the kinds, where an index tells them.

    ``images`` has labels in a folder next to its own; default: those of the validation.
    """
    predictor = load_predictor(runs, settings)
    rows: dict[str, list[dict[str, float]]] = defaultdict(list)
    data = DATA / study.folder
    kinds = dict(kinds_of(data / "index.csv"))
    for path in images or sorted((data / "val" / "images").iterdir()):
        image = open_image(path, ndim=predictor.ndim)
        truth = open_labels(path.parent.parent / "labels" / path.name, ndim=predictor.ndim)
        values = evaluate_pair(
            truth.read()[0], predictor.predict(image).labels, study.metrics, spacing=image.spacing
        )
        for kind in {"all", kinds.get(image.name, "all")}:
            rows[kind].append(values)
    means = {
        kind: {name: entry["mean"] for name, entry in summarize(each).items()}
        for kind, each in rows.items()
    }
    by_kind = [values for kind, values in means.items() if kind != "all"]
    if by_kind:
        means["mean of the kinds"] = {
            name: statistics.fmean(values[name] for values in by_kind) for name in study.metrics
        }
    return means


def kinds_of(index: Path) -> Iterator[tuple[str, str]]:
    """Stem and kind of every image that an index lists."""
    if index.is_file():
        with index.open(encoding="utf-8") as lines:
            yield from ((line["stem"], line["kind"]) for line in csv.DictReader(lines))


def figures(
    label: str, values: Mapping[str, float], anchor: float | None, seconds: float
) -> list[dict[str, object]]:
    """A row for each metric; the anchor stands next to the first."""
    note = f"training {seconds / 60:.0f} CPU minutes" if seconds > 60 else ""
    return [
        {
            "what": label,
            "ours": value,
            "peer": anchor if number == 0 else None,
            "unit": name,
            "note": note,
        }
        for number, (name, value) in enumerate(values.items())
    ]


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("what", nargs="+", help="[few] nuclei | hippocampus")
    parser.add_argument("--out", type=Path, default=ROOT / "runs" / "accuracy")
    parser.add_argument("--seeds", type=int, default=3)
    asked = parser.parse_args()
    *mode, name = asked.what
    if mode:
        few(name, asked.out, asked.seeds)
    else:
        full(name, asked.out)


if __name__ == "__main__":
    main()
