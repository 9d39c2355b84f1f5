"""How much of the truth the tokens of a transformer explain, compared with their positions alone.

    python benchmarks/places.py NAME=RUN [NAME=RUN...]

On hippocampus_mri: the share of both classes in every patch is predicted from 4, 12 or 60 volumes,
by the mean of each place of the crop, and by small networks on frozen tokens, of the runs and of
fresh weights. R^2 is that on the 30 validation volumes, the mean of both classes; a network is
stopped where it is best. Data are read from UNMASK_DATA (default ../shared/data).
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from curves import DATA, STUDIES
from harness import write
from unmask.build import build_crops, layout, new_segmenter
from unmask.data.pairs import open_pairs
from unmask.recipe import Recipe, load
from unmask.training.provenance import initialize

COUNTS, BATCH = (4, 12, 60), 10
BLOCKS = (0, 4, 8)
CLASSES = (1, 2)


def crops(recipe: Recipe, part: str, count: int) -> tuple[Tensor, Tensor]:
    """Crops ``(n, 1, *crop)`` of the first volumes, and the shares ``(n, patches, 2)``."""
    folder = DATA / "hippocampus_mri" / part
    images = sorted((folder / "images").iterdir())[:count]
    labels = [folder / "labels" / path.name for path in images]
    pairs = open_pairs(images, labels, layout(recipe), channels=1)
    source = build_crops(recipe, pairs, new_segmenter(recipe).task)
    batches = [source.batch(number) for number in range(count // BATCH)]
    truth = torch.cat([each.values for each in batches if each.values is not None])
    patch = recipe.model.backbone.choice.options["patch"]
    shares = [F.avg_pool3d((truth == c).float(), patch).flatten(1) for c in CLASSES]
    return torch.cat([each.image for each in batches]), torch.stack(shares, dim=2)


@torch.no_grad()
def features(recipe: Recipe, run: Path | None, images: Tensor) -> Iterator[tuple[int, Tensor]]:
    """Tokens after some blocks, of unit scale over a crop as the decoder sees them."""
    chosen = recipe.with_settings([f"model.backbone.taps={list(BLOCKS)}"])
    segmenter = new_segmenter(chosen)
    if run is not None:
        initialize(segmenter, run)
    backbone: Any = segmenter.backbone.eval()
    for block, feature in zip(BLOCKS, backbone(images)[1:], strict=True):
        tokens = feature.flatten(2).transpose(1, 2)
        mean, deviation = tokens.mean(1, keepdim=True), tokens.std(1, keepdim=True)
        yield block, (tokens - mean) / (deviation + 1e-5)


def fit_map(inputs: Tensor, truth: Tensor, others: Tensor, known: Tensor) -> float:
    """R^2 on ``others`` of a small network that learns ``truth`` from ``inputs``."""
    torch.manual_seed(0)
    mean, deviation = inputs.mean((0, 1)), inputs.std((0, 1)) + 1e-3
    (seen, shown), (aim, goal) = (
        (((each - mean) / deviation).flatten(0, 1) for each in (inputs, others)),
        (each.flatten(0, 1) for each in (truth, known)),
    )
    width = seen.shape[1]
    layers = [nn.Linear(width, 64), nn.GELU(), nn.Linear(64, 64), nn.GELU(), nn.Linear(64, 2)]
    network = nn.Sequential(*layers)
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-3, weight_decay=0.1)
    found = []
    for step in range(1, 401):
        rows = torch.randint(len(seen), (512,))
        optimizer.zero_grad()
        F.mse_loss(network(seen[rows]), aim[rows]).backward()
        optimizer.step()
        if step % 50 == 0:
            with torch.no_grad():
                found.append(explained(network(shown), goal))
    return max(found)


def explained(predicted: Tensor, truth: Tensor) -> float:
    """R^2, the mean over classes."""
    error = (predicted - truth).square().mean(dim=0)
    return float((1 - error / truth.var(dim=0)).mean())


def row(what: str, count: int, value: float) -> dict[str, Any]:
    return {"what": f"{what}, {count} volumes", "ours": value, "unit": "R^2"}


def main() -> None:
    torch.set_num_threads(1)
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("runs", nargs="*", metavar="NAME=RUN")
    named = dict(each.split("=", 1) for each in parser.parse_args().runs)
    study = STUDIES["hippocampus"]
    quiet = ("data.augment=[]", "data.foreground=0", f"train.batch_size={BATCH}")
    recipe = load(study.preset).with_settings([*study.settings, *quiet])
    (images, truth), (others, known) = (
        crops(recipe, part, count) for part, count in (("train", max(COUNTS)), ("val", 30))
    )
    rows = []
    for count in COUNTS:
        mean = truth[:count].mean(dim=0).expand_as(known)
        value = explained(mean.flatten(0, 1), known.flatten(0, 1))
        rows.append(row("places alone", count, value))
    for name, run in {"fresh weights": None, **named}.items():
        place = None if run is None else Path(run)
        pairs = zip(features(recipe, place, images), features(recipe, place, others), strict=True)
        for (block, inputs), (_, shown) in pairs:
            what = f"{name}, {f'block {block}' if block else 'before the first block'}"
            for count in COUNTS:
                value = fit_map(inputs[:count], truth[:count], shown, known)
                rows.append(row(what, count, value))
    write("places", rows)


if __name__ == "__main__":
    main()
