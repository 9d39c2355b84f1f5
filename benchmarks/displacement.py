"""Picture of ``docs/howto/cluster.md``: where the vectors of a disc lie, aligned and official.

    python benchmarks/displacement.py docs/images/aligned.png

Grey is the distance of each pixel's vector from that of the empty image, by a network of random
weights; the ring is the true border.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure

from bench_features import network
from unmask.clustering.dense import Dense, features

SIDE, RADIUS = 64, 10


def main() -> None:
    torch.set_num_threads(1)
    rows, columns = np.indices((SIDE, SIDE)) - SIDE / 2
    disc = (np.hypot(rows, columns) < RADIUS).astype(np.float32)[None]
    backbone = network()
    figure = Figure(figsize=(9, 3.2), layout="constrained")
    axes = figure.subplots(1, 3)
    shown = {"image": disc[0]}
    for compat in ("aligned", "official"):
        dense = Dense(backbone, compat=compat)
        gap = features(dense, disc) - features(dense, np.zeros_like(disc))
        shown[f"--compat {compat}"] = np.linalg.norm(gap, axis=0)
    for axis, (title, picture) in zip(axes, shown.items(), strict=True):
        axis.imshow(picture, cmap="gray")
        axis.contour(disc[0], [0.5], colors="tab:orange", linewidths=1.2)
        axis.set_title(title, fontsize=9)
        axis.axis("off")
    figure.savefig(Path(sys.argv[1]), dpi=110)


if __name__ == "__main__":
    main()
