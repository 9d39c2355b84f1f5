"""Instances after the network: raw outputs of 400 cells in 1024^2 to their labels, one core.

The truth's own flows and logits with smooth noise. The published program takes more than 10 s for
such an image, nearly all of it for the check of the flows.
"""

from __future__ import annotations

import numpy as np
import torch
from scipy.ndimage import gaussian_filter

import harness
from bench_flows import discs
from unmask.build import build_task
from unmask.labels import labels_to_flows
from unmask.metrics import f1
from unmask.recipe import load

REPEATS = 5
SIZE, SIDE = 1024, 20


def outputs(labels: np.ndarray, *, noise: float, seed: int = 0) -> np.ndarray:
    """Flows times 5 and a logit, both with smooth noise, ``(3, *space)``."""
    rng = np.random.default_rng(seed)
    clean = np.concatenate([5 * labels_to_flows(labels), np.where(labels > 0, 6.0, -6.0)[None]])
    spread = noise * np.array([5.0, 5.0, 6.0]).reshape(-1, 1, 1)
    smooth = np.stack([gaussian_filter(rng.standard_normal(labels.shape), 1) for _ in clean])
    return (clean + spread * smooth / smooth.std()).astype(np.float32)


def main() -> None:
    torch.set_num_threads(1)
    labels = discs(SIZE, SIDE)
    raw = torch.from_numpy(outputs(labels, noise=0.15))[None]
    rows = []
    for preset in ("cells", "mediar_finetune"):
        task = build_task(load(preset))

        def ours(task=task) -> np.ndarray:
            return task.decode(task.activate(raw)[0].numpy(), None)

        found = ours()
        score = f1(labels, found)
        assert score > 0.98, score
        note = f"{found.max()} objects found, F1@0.5 {score:.3f}"
        what = f"raw outputs -> labels, {SIZE}^2, {SIDE**2} cells, task of {preset}"
        rows.append(harness.row(what, harness.interleave({"ours": ours}, REPEATS), note=note))
    harness.write("decode", rows)


if __name__ == "__main__":
    main()
