"""Cost of a voxel: the networks of the presets over a large image, windows and overlap included.

Weights are random, which does not change the cost; deciding which voxels are one object comes on
top (see ``bench_decode.py``). Precision is ``auto``: bf16 where the processor has instructions.
"""

from __future__ import annotations

from math import prod

import numpy as np
import torch

from harness import interleave, row, write
from unmask.build import new_segmenter, resolve_recipe
from unmask.infer.load import make_predictor

SHAPES = {
    "cells": (1024, 1024),
    "semantic2d": (1024, 1024),
    "membranes2d": (1024, 1024),
    "mediar": (1024, 1024),
    "cells3d": (64, 192, 192),
    "semantic3d": (64, 192, 192),
    "neurites3d": (64, 192, 192),
}


def main() -> None:
    """Command line."""
    torch.set_num_threads(1)
    rows = []
    for preset, shape in SHAPES.items():
        recipe = resolve_recipe(preset, ["infer.tta=false"])
        predictor = make_predictor([new_segmenter(recipe).eval()], recipe)
        image = np.random.default_rng(0).random((recipe.data.channels, *shape), dtype=np.float32)
        seconds = interleave({"ours": lambda p=predictor, i=image: p.scores(i)}, 1)
        each = {"ours": seconds["ours"] / prod(shape) * 1e6}
        size = " x ".join(map(str, shape))
        rows.append(row(f"{preset}, {size}, one view", each, unit="us per voxel"))
    write("voxels", rows)


if __name__ == "__main__":
    main()
