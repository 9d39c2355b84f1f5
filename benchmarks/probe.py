"""What backbones know before they are fine-tuned: linear maps from frozen features to the truth.

    python benchmarks/probe.py RUN [RUN...] --images FOLDER --labels FOLDER
                               --val-images FOLDER --val-labels FOLDER [--side 96] [--count 64]

For each run, and for fresh weights of the same backbone, every feature is averaged over the patches
of the coarsest one. Ridge regression predicts the share of foreground and of outlines of a patch;
R^2 is that on validation images, of the middle of each. The rank is the exponential of the entropy
of the spectrum of the features: how many directions they make use of.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from skimage.segmentation import find_boundaries
from torch import Tensor

from unmask.build import build_backbone
from unmask.checkpoint import load_model
from unmask.data import NORMALIZERS
from unmask.data.channels import match_channels
from unmask.io import open_image, open_labels
from unmask.lookup import build
from unmask.recipe import Recipe, parse

_RIDGE = 1e-3  # of the mean variance of a feature


def crops(
    recipe: Recipe, images: Path, labels: Path, *, side: int, count: int
) -> tuple[Tensor, Tensor]:
    """Middles ``(N, C, y, x)`` of evenly spread images, and their foreground and outlines."""
    normalize: Any = build(recipe.data.normalize.choice, NORMALIZERS, "data.normalize")
    paths = sorted(images.iterdir())
    shown, truths = [], []
    for path in (paths[i * len(paths) // count] for i in range(min(count, len(paths)))):
        image = match_channels(open_image(path).read(), recipe.data.channels, str(path))
        truth = open_labels(labels / path.name).read()[0]
        starts = [max(0, (n - side) // 2) for n in truth.shape]
        place = tuple(slice(start, start + side) for start in starts)
        shown.append(normalize.measure(image).apply(image[(slice(None), *place)]))
        truth = truth[place]
        truths.append(np.stack([truth > 0, find_boundaries(truth, mode="inner")]))
    return torch.tensor(np.stack(shown)), torch.tensor(np.stack(truths), dtype=torch.float32)


@torch.no_grad()
def pooled(backbone: Any, images: Tensor, truths: Tensor) -> tuple[list[Tensor], Tensor]:
    """Every feature, and the truth, averaged over patches: ``(patches, channels)``."""
    features = backbone.eval()(images)
    grid = features[-1].shape[2:]
    tables = [F.adaptive_avg_pool2d(each, grid).movedim(1, -1).flatten(0, -2) for each in features]
    return tables, F.adaptive_avg_pool2d(truths, grid).movedim(1, -1).flatten(0, -2)


def explained(train: tuple[Tensor, Tensor], test: tuple[Tensor, Tensor]) -> list[float]:
    """R^2 of every column of the truth on the second table."""
    mean, deviation = train[0].mean(0), train[0].std(0) + 1e-6
    first, second = (((table - mean) / deviation).double() for table in (train[0], test[0]))
    offset = train[1].double().mean(0)
    gram = first.T @ first + _RIDGE * len(first) * torch.eye(first.shape[1], dtype=torch.float64)
    weights = torch.linalg.solve(gram, first.T @ (train[1].double() - offset))
    error = (second @ weights + offset - test[1]).square().mean(0)
    return (1 - error / test[1].double().var(0, correction=0)).tolist()


def rank(table: Tensor) -> float:
    """Effective number of directions of the centered features."""
    values = torch.linalg.svdvals((table - table.mean(0)).double()).square()
    shares = values / values.sum()
    return float(torch.exp(-(shares * shares.clamp(min=1e-12).log()).sum()))


def report(run: Path, asked: argparse.Namespace) -> None:
    """Lines for a run and for fresh weights of its backbone."""
    model = load_model(run)
    recipe = parse(model.card["recipe"], source=str(run))
    sizes = {"side": asked.side, "count": asked.count}
    train = crops(recipe, asked.images, asked.labels, **sizes)
    test = crops(recipe, asked.val_images, asked.val_labels, **sizes)
    weights = {
        name.removeprefix("backbone."): tensor
        for name, tensor in model.weights.items()
        if name.startswith("backbone.")
    }
    for label in ("fresh", "trained"):
        torch.manual_seed(0)
        backbone = build_backbone(recipe)
        if label == "trained":
            backbone.load_state_dict(weights)
        known, truth = pooled(backbone, *train)
        seen, wanted = pooled(backbone, *test)
        for level, (first, second) in enumerate(zip(known, seen, strict=True)):
            inside, outline = explained((first, truth), (second, wanted))
            print(
                f"{run.name} {label}, feature {level} of {first.shape[1]} channels: "
                f"foreground {inside:.3f}, outlines {outline:.3f}, rank {rank(first):.1f}, "
                f"deviation {first.std(0).mean():.3f}"
            )


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("runs", nargs="+", type=Path)
    for part in ("images", "labels", "val-images", "val-labels"):
        parser.add_argument(f"--{part}", type=Path, required=True)
    parser.add_argument("--side", type=int, default=96)
    parser.add_argument("--count", type=int, default=64)
    asked = parser.parse_args()
    for run in asked.runs:
        report(run, asked)


if __name__ == "__main__":
    main()
