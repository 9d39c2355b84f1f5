"""Instance metrics: all from one sparse table, against scikit-image and dense matching.

Truth is a grid of touching discs; the prediction is shifted by (1, 2), 5 % of the objects are
dropped and 5 % merged. Every time stands next to a check that both sides give the same numbers.
"""

from __future__ import annotations

import tracemalloc

import numpy as np
from scipy.optimize import linear_sum_assignment
from skimage.metrics import adapted_rand_error, variation_of_information

from harness import interleave, row, write
from unmask.metrics import arand, evaluate_pair, matching, overlap, voi_merge, voi_split

ALL = ("f1@0.5", "ap", "pq", "aji", "aji_plus", "sbd", "dic", "voi", "arand")
THRESHOLDS = (0.5, 0.75, 0.9)
SCENES = {"1k objects, 1024^2": (31, 1024), "10k, 3072^2": (100, 3072), "100k, 6144^2": (316, 6144)}


def scene(side: int, size: int) -> tuple[np.ndarray, np.ndarray]:
    """``side ** 2`` discs in an image of ``size ** 2`` pixels, and their prediction."""
    rng = np.random.default_rng(0)
    pitch = size // side
    plane, row_ = np.mgrid[:pitch, :pitch] - pitch / 2
    disc = plane**2 + row_**2 < (0.5 * pitch) ** 2
    ids = np.arange(1, side**2 + 1, dtype=np.int32).reshape(side, side)
    truth = np.zeros((size, size), np.int32)
    truth[: side * pitch, : side * pitch] = np.kron(ids, disc.astype(np.int32))
    names = np.arange(side**2 + 1, dtype=np.int32)
    dropped, merged = rng.random((2, names.size)) < 0.05
    names[1:][merged[1:]] -= 1
    names[dropped] = 0
    return truth, names[np.roll(truth, (1, 2), (0, 1))]


def dense(truth: np.ndarray, predicted: np.ndarray) -> list[int]:
    """Matches at every threshold from the matrix of all objects with all."""
    n_truth, n_predicted = truth.max() + 1, predicted.max() + 1
    flat = np.bincount(
        truth.ravel().astype(np.int64) * n_predicted + predicted.ravel(),
        minlength=n_truth * n_predicted,
    )
    table = flat.reshape(n_truth, n_predicted)
    areas = table.sum(1, keepdims=True) + table.sum(0, keepdims=True)
    iou = (table / np.maximum(areas - table, 1))[1:, 1:]
    found = []
    for threshold in THRESHOLDS:
        cost = -(iou >= threshold).astype(float) - iou / (2 * min(iou.shape))
        rows, columns = linear_sum_assignment(cost)
        found.append(int((iou[rows, columns] >= threshold).sum()))
    return found


def sparse(truth: np.ndarray, predicted: np.ndarray) -> list[int]:
    """The same from the overlap table."""
    table = overlap(truth, predicted)
    return [matching(table, threshold=threshold).tp for threshold in THRESHOLDS]


def partitions(truth: np.ndarray, predicted: np.ndarray) -> list[float]:
    """Variation of information and Rand error from the overlap table."""
    table = overlap(truth, predicted)
    return [voi_split(table), voi_merge(table), arand(table)]


def partitions_of_peer(truth: np.ndarray, predicted: np.ndarray) -> list[float]:
    """The same by scikit-image."""
    split, merge = variation_of_information(truth, predicted, ignore_labels=(0,))
    return [split, merge, adapted_rand_error(truth, predicted)[0]]


def extra_memory(truth: np.ndarray, predicted: np.ndarray) -> float:
    """Peak of the memory that all metrics together take beyond the images, MB."""
    tracemalloc.start()
    evaluate_pair(truth, predicted, ALL)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak / 1e6


def main() -> None:
    rows = []
    for name, (side, size) in SCENES.items():
        pair = scene(side, size)
        floor = sum(image.nbytes for image in pair) / 40e9
        np.testing.assert_allclose(partitions(*pair), partitions_of_peer(*pair), atol=1e-9)
        both = {
            "ours": lambda p=pair: partitions(*p),
            "peer": lambda p=pair: partitions_of_peer(*p),
        }
        seconds = interleave(both, 3)
        note = "peer scikit-image; equal to 1e-9"
        rows.append(row(f"VOI and ARAND, {name}", seconds, floor=floor, note=note))
        if side <= 100:
            assert sparse(*pair) == dense(*pair)
            both = {"ours": lambda p=pair: sparse(*p), "peer": lambda p=pair: dense(*p)}
            seconds = interleave(both, 3 if side < 100 else 1)
            note = "peer dense matrix and Hungarian as StarDist; equal counts"
            rows.append(row(f"matching at 3 thresholds, {name}", seconds, floor=floor, note=note))
        seconds = interleave({"ours": lambda p=pair: evaluate_pair(*p, ALL)}, 3)
        note = f"{', '.join(ALL)}; {extra_memory(*pair):.0f} MB extra, floor: reading both images"
        rows.append(row(f"all instance metrics, {name}", seconds, floor=floor, note=note))
    write("metrics", rows)


if __name__ == "__main__":
    main()
