"""Start weights from synthetic images: draw them, train on them, export the model.

    python benchmarks/starts.py draw --axes 2 --data DATA
    python benchmarks/starts.py train --axes 2 --data DATA --out RUN [--resume] [--set KEY=VALUE]

Everything is drawn by ``unmask.phantoms``, so the weights depend on no image of anybody. The recipe
is ``starts/phantoms<axes>d.yaml``. The number of images per family says how often it is seen; kinds
that a user of microscopes meets most often come first.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path

import torch

from unmask.api.learning import train
from unmask.phantoms import write_phantoms

RECIPES = Path(__file__).resolve().parent / "starts"
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
}
VALIDATION = 4
SEED = 18


def draw(axes: int, data: Path) -> None:
    """Draw the images to train on and those of the validation."""
    for name, count in COUNTS[axes].items():
        write_phantoms(data / "train", name, SIZES[axes], count, seed=SEED)
        write_phantoms(data / "val", name, SIZES[axes], VALIDATION, seed=SEED + 1)
        print(name, count, flush=True)


def fit(axes: int, data: Path, out: Path, settings: list[str], *, resume: bool) -> None:
    """Train on what was drawn."""
    run = train(
        RECIPES / f"phantoms{axes}d.yaml",
        images=data / "train" / "images",
        labels=data / "train" / "labels",
        val_images=data / "val" / "images",
        val_labels=data / "val" / "labels",
        out=out,
        settings=settings,
        resume=resume,
    )
    print(run)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("step", choices=("draw", "train"))
    parser.add_argument("--axes", type=int, choices=sorted(COUNTS), default=2)
    parser.add_argument("--data", type=Path, required=True, help="folder of the synthetic images")
    parser.add_argument("--out", type=Path, help="folder of the run")
    parser.add_argument("--resume", action="store_true")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    if asked.step == "draw":
        draw(asked.axes, asked.data)
    else:
        fit(asked.axes, asked.data, asked.out, asked.set, resume=asked.resume)


if __name__ == "__main__":
    main()
