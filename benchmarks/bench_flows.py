"""Flow fields compared with Cellpose 3 (its numba code for one mask at a time, its torch tracking).

The peer lives in ``.venv-peer`` (see README.md); elsewhere its columns stay empty:

    PYTHONPATH=src:benchmarks .venv-peer/bin/python benchmarks/bench_flows.py

Images are discs on a jittered grid, most of them touching. Before the clock starts, both results
are compared: fields by the cosine of their vectors, label images by the number of objects and the
share of equal voxels.
"""

from __future__ import annotations

import importlib
import logging
from typing import Any

import numpy as np
import torch

import harness
from unmask.labels import flows_to_labels, labels_to_flows

REPEATS = 3
# Vector units of this core at 111 GFLOP/s in float32 (matrix product); 10 operations a voxel and
# step of diffusion, 40 per voxel and step of tracking.
FLOPS = 111e9
PLANES = ((1024, 50), (2048, 71))


def discs(size: int, side: int, *, radius: float = 0.55, seed: int = 0) -> np.ndarray:
    """``side^2`` discs of ``radius`` (in grid units) on a jittered grid; touching ones share."""
    rng = np.random.default_rng(seed)
    pitch = size / side
    labels, nearest = np.zeros((size, size), np.int32), np.full((size, size), np.inf)
    rows, columns = np.mgrid[:size, :size]
    for name, (i, j) in enumerate(np.ndindex(side, side), 1):
        y, x = (np.array([i, j]) + 0.5 + rng.uniform(-0.1, 0.1, 2)) * pitch
        box = tuple(slice(max(0, int(c - pitch)), int(c + pitch) + 1) for c in (y, x))
        distance = (rows[box] - y) ** 2 + (columns[box] - x) ** 2
        inside = (distance < (radius * pitch) ** 2) & (distance < nearest[box])
        labels[box][inside], nearest[box][inside] = name, distance[inside]
    return labels


def find_peer() -> Any | None:
    """The dynamics of Cellpose 3, or None where it is not installed."""
    logging.disable(logging.WARNING)
    try:
        dynamics = importlib.import_module("cellpose.dynamics")
    except ImportError:
        return None
    return dynamics if hasattr(dynamics, "masks_to_flows_cpu") else None


def cosine(a: np.ndarray, b: np.ndarray, inside: np.ndarray) -> float:
    """Share of the voxels inside whose vectors agree to a cosine of 0.999."""
    return float(((a * b).sum(0)[inside] > 0.999).mean())


def equal_share(a: np.ndarray, b: np.ndarray) -> float:
    """Share of voxels that lie in objects which are each other's best match, or in no object."""
    pairs, counts = np.unique(np.stack([a.ravel(), b.ravel()]), axis=1, return_counts=True)
    best: dict[int, int] = {}
    for name, other, count in sorted(
        zip(*pairs.tolist(), counts.tolist(), strict=True), key=lambda p: p[2]
    ):
        best[name] = count if (name == 0) == (other == 0) else 0
    return sum(best.values()) / a.size


def field_row(labels: np.ndarray, what: str, peer: Any | None) -> dict[str, Any]:
    """labels -> flows."""
    runs: dict[str, Any] = {"ours": lambda: labels_to_flows(labels)}
    note = ""
    if peer is not None and labels.ndim == 2:
        runs["peer"] = lambda: peer.masks_to_flows_cpu(labels)
        same = cosine(runs["ours"](), runs["peer"]()[0], labels > 0)
        assert same > 0.99, same
        note = f"cosine > 0.999 in {same:.2%} of the voxels"
    counts = np.bincount(labels.ravel())[1:]
    extent = 2 * np.ceil(np.sqrt(counts / 0.785)) + 4
    floor = float((counts * 2 * extent).sum() * 10 / FLOPS)
    return harness.row(
        f"labels -> flows, {what}", harness.interleave(runs, REPEATS), floor=floor, note=note
    )


def label_row(labels: np.ndarray, what: str, peer: Any | None) -> dict[str, Any]:
    """flows -> labels."""
    flows, inside = labels_to_flows(labels), labels > 0
    logit = np.where(inside, 6.0, -6.0).astype(np.float32)
    runs: dict[str, Any] = {"ours": lambda: flows_to_labels(flows, inside)}
    found = runs["ours"]()
    note = f"{found.max()} objects, {equal_share(labels, found):.3%} of the voxels as in the truth"
    if peer is not None and labels.ndim == 2:
        scaled = 5 * flows
        runs["peer"] = lambda: peer.compute_masks(scaled, logit, min_size=15)
        other = runs["peer"]()
        assert other.max() == found.max(), (other.max(), found.max())
        other = other.astype(np.int32)
        same = equal_share(other, found)
        assert same > 0.999, same
        note += f"; {same:.3%} as the peer's, whose {equal_share(labels, other):.3%} are as in it"
    return harness.row(f"flows -> labels, {what}", harness.interleave(runs, REPEATS), note=note)


def main() -> None:
    torch.set_num_threads(1)
    peer = find_peer()
    rows = []
    for size, side in PLANES:
        labels = discs(size, side)
        what = f"{size}^2, {len(np.unique(labels)) - 1} objects"
        for make in (field_row, label_row):
            rows.append(make(labels, what, peer))
            print(rows[-1], flush=True)
    harness.write("flows", rows)


if __name__ == "__main__":
    main()
