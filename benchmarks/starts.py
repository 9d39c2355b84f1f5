"""Start weights from synthetic images: draw them, train on them, export the model.

    python benchmarks/starts.py draw --axes 2 --data DATA
    python benchmarks/starts.py train --axes 2 --data DATA --out RUN [--resume] [--set KEY=VALUE]
    python benchmarks/starts.py export --axes 2 --data DATA --out RUN

``export`` takes the averaged weights of the newest snapshot, so it works while the run continues.
Weights are stored in half precision; the card names the families and their numbers of images.

Everything is drawn by ``unmask.phantoms``, so the weights depend on no image of anybody. The recipe
is ``starts/phantoms<axes>d.yaml``. The number of images per family says how often it is seen; kinds
that a user of microscopes meets most often come first.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from unmask.api.learning import train
from unmask.checkpoint import load_model, load_snapshot, save_model
from unmask.infer.load import load_predictor
from unmask.io import open_image, open_labels
from unmask.metrics import evaluate_pair
from unmask.phantoms import write_phantoms

RECIPES = Path(__file__).resolve().parent / "starts"
SHIPPED = RECIPES.parents[1] / "src" / "unmask" / "shipped"
LARGEST_BYTES = 8_000_000
METRICS = ("f1@0.5", "aji")
SIZES = {2: (192, 192), 3: (40, 112, 112)}
# Images per family. Mitochondria are few: their cells are background, and in em_tissue and
# neurites the same cells are objects.
COUNTS: Mapping[int, Mapping[str, int]] = {
    2: {
        "nuclei": 130,
        "crowded_nuclei": 120,
        "deep_nuclei": 60,
        "stained_tissue": 160,
        "phase_contrast": 150,
        "bright_field": 100,
        "membranes": 90,
        "cytoplasm": 120,
        "neurons": 60,
        "bacteria": 120,
        "worms": 120,
        "fibers": 60,
        "em_tissue": 80,
        "neurites": 40,
        "mitochondria": 20,
        "axons": 50,
        "leaves": 40,
        "precipitates": 50,
        "grains": 50,
        "organs_mr": 60,
        "organs_ct": 40,
    },
    3: {
        "nuclei": 40,
        "crowded_nuclei": 50,
        "deep_nuclei": 60,
        "membranes": 40,
        "cytoplasm": 30,
        "neurons": 20,
        "bacteria": 30,
        "em_tissue": 40,
        "neurites": 60,
        "mitochondria": 15,
        "grains": 15,
        "precipitates": 10,
        "organs_mr": 40,
        "organs_ct": 30,
    },
}
# Images of large objects: drawn large, because an enlarged small one is smooth inside.
LARGE_SIZE = (384, 384)
LARGE: Mapping[str, tuple[int, tuple[float, float]]] = {
    "nuclei": (30, (30, 100)),
    "crowded_nuclei": (100, (30, 130)),
    "deep_nuclei": (20, (25, 80)),
    "stained_tissue": (30, (20, 60)),
    "phase_contrast": (130, (30, 130)),
    "bright_field": (50, (30, 120)),
    "membranes": (30, (30, 100)),
    "cytoplasm": (60, (40, 140)),
    "worms": (100, (7, 26)),
    "fibers": (20, (6, 20)),
    "leaves": (20, (40, 140)),
    "grains": (20, (30, 100)),
}
VALIDATION = 4
SEED = 18


def draw(axes: int, data: Path) -> None:
    """Draw the images to train on and those of the validation."""
    for name, count in COUNTS[axes].items():
        write_phantoms(data / "train", name, SIZES[axes], count, seed=SEED)
        write_phantoms(data / "val", name, SIZES[axes], VALIDATION, seed=SEED + 1)
        print(name, count, flush=True)
    for name, (count, diameter) in (LARGE if axes == 2 else {}).items():
        for part, number, seed in (("train", count, SEED + 2), ("val", 2, SEED + 3)):
            draw_large(data / part, name, diameter, number, seed=seed)
        print(name, count, "large", flush=True)


def draw_large(
    folder: Path, name: str, diameter: tuple[float, float], count: int, *, seed: int
) -> None:
    """Draw images of large objects next to the small ones of the family, named apart."""
    with tempfile.TemporaryDirectory(dir=folder) as aside:
        options = {"diameter": diameter}
        drawn = write_phantoms(aside, name, LARGE_SIZE, count, seed=seed, options=options)
        for file in drawn.glob("*/*.tif"):
            family, _, number = file.name.rpartition("_")
            file.rename(folder / file.parent.name / f"{family}_large_{number}")


def fit(asked: argparse.Namespace) -> None:
    """Train on what was drawn."""
    axes, data = asked.axes, asked.data
    run = train(
        RECIPES / f"phantoms{axes}d.yaml",
        images=data / "train" / "images",
        labels=data / "train" / "labels",
        val_images=data / "val" / "images",
        val_labels=data / "val" / "labels",
        out=asked.out,
        init=asked.init,
        settings=asked.set,
        resume=asked.resume,
    )
    print(run)


def export(axes: int, data: Path, run: Path, *, scored: bool = True) -> Path:
    """Write the shipped model of a run; its file."""
    model = load_model(run)
    snapshot = load_snapshot(run, report=print)
    if snapshot is None:
        raise SystemExit(f"{run}: no snapshot yet.")
    name = f"phantoms{axes}d"
    weights = {
        key: value.half() if value.is_floating_point() else value
        for key, value in snapshot.tensors["average"].items()
    }
    card = make_card(axes, model.card, snapshot.step)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / f"{name}.safetensors"
        save_model(file, weights, card)
        card["figures"] = {
            "images": f"{VALIDATION} or more synthetic images per family, not trained on, "
            "as they are (infer.fit=false)",
            **(measure(file, data / "val") if scored else {"all": {}}),
        }
    target = SHIPPED / f"{name}.safetensors"
    save_model(target, weights, card)
    if target.stat().st_size > LARGEST_BYTES:
        raise SystemExit(f"{target}: {target.stat().st_size} bytes are too many for a package.")
    return target


def make_card(axes: int, trained: Mapping[str, Any], step: int) -> dict[str, Any]:
    """What the model says about itself: the chain of licenses ends at the phantom engine."""
    counts = dict(COUNTS[axes])
    sizes = " x ".join(map(str, SIZES[axes]))
    if axes == 2:
        counts |= {f"{name}, large": count for name, (count, _) in LARGE.items()}
        sizes += " and " + " x ".join(map(str, LARGE_SIZE))
    recipe = dict(trained["recipe"])
    # Real images differ from those of the training. In 3D the fit has not been measured.
    recipe["infer"] = {**recipe["infer"], "fit": axes == 2}
    return {
        "recipe": recipe,
        "license": "Apache-2.0",
        "data": {
            "name": f"{sum(counts.values())} synthetic images of {len(COUNTS[axes])} families "
            f"(unmask.phantoms), {sizes} voxels; no real image and no label of anybody",
            "license": "Apache-2.0",
            "source": "drawn by unmask synth, which is part of this package",
            "seed": SEED,
            "families": counts,
        },
        "training": {
            "command": f"python benchmarks/starts.py train --axes {axes}",
            "updates": [*updates_before(trained), step],
        },
        "versions": trained.get("versions", {}),
        "object_diameters": trained["object_diameters"],
    }


def updates_before(trained: Mapping[str, Any]) -> list[int]:
    """Updates of the runs that a run continues, with schedules of their own."""
    start = trained.get("start")
    if start is None:
        return []
    before = load_model(start["model"]).card
    if "step" not in before:
        # A shipped model says them itself.
        return list(before["training"]["updates"])
    return [*updates_before(before), before["step"]]


def measure(model: Path, folder: Path) -> dict[str, dict[str, float]]:
    """Mean metrics of all images, and the F1 of each family."""
    predictor = load_predictor(model, ["infer.fit=false"])
    kinds = defaultdict(list)
    for file in sorted((folder / "images").iterdir()):
        truth = open_labels(folder / "labels" / file.name).read()[0]
        found = predictor.predict(open_image(file, ndim=predictor.ndim)).labels
        kinds[file.stem.rpartition("_")[0]].append(evaluate_pair(truth, found, METRICS))
    means = {metric: mean(one[metric] for many in kinds.values() for one in many)
             for metric in METRICS}  # fmt: skip
    families = {kind: mean(one["f1@0.5"] for one in many) for kind, many in kinds.items()}
    return {"all": means, "f1@0.5 by family": families}


def mean(values: Any) -> float:
    """Mean of what is defined, in four digits."""
    return round(statistics.fmean(v for v in values if v == v), 4)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("step", choices=("draw", "train", "export"))
    parser.add_argument("--axes", type=int, choices=sorted(COUNTS), default=2)
    parser.add_argument("--data", type=Path, required=True, help="folder of the synthetic images")
    parser.add_argument("--out", type=Path, help="folder of the run")
    parser.add_argument("--init", help="run to continue with a schedule of its own")
    parser.add_argument("--resume", action="store_true")
    parser.add_argument("--unscored", action="store_true", help="export without measuring")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    if asked.step == "draw":
        draw(asked.axes, asked.data)
    elif asked.step == "export":
        print(export(asked.axes, asked.data, asked.out, scored=not asked.unscored))
    else:
        fit(asked)


if __name__ == "__main__":
    main()
