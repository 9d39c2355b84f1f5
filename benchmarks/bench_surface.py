"""HD95 and NSD of 14 classes in 256^3 voxels: organs, and classes that fill everything.

Peer: both distances by scipy's exact Euclidean transform, for each class in the box of its voxels.
"""

from __future__ import annotations

import tracemalloc

import numpy as np
from scipy import ndimage

from harness import interleave, row, write
from torso import organs
from unmask.metrics import evaluate_pair

SHAPE, SPACING = (256, 256, 256), (1.5, 1.2, 1.2)
NAMES = ("hd95", "nsd")


def by_transform(truth: np.ndarray, predicted: np.ndarray) -> dict[str, float]:
    """Both metrics, one transform a class and side."""
    rows = []
    for number in range(1, 15):
        sides = [truth == number, predicted == number]
        box = ndimage.find_objects((sides[0] | sides[1]).astype(np.uint8))[0]
        sides = [side[box] & np.logical_not(ndimage.binary_erosion(side[box])) for side in sides]
        fields = [
            np.asarray(ndimage.distance_transform_edt(np.logical_not(side), sampling=SPACING))
            for side in sides
        ]
        distances = fields[1][sides[0]], fields[0][sides[1]]
        near = sum((each <= 1 + 1e-9).sum() for each in distances)
        worst = max(np.percentile(each, 95) for each in distances)
        rows.append((worst, near / sum(each.size for each in distances)))
    return dict(zip(NAMES, np.mean(rows, axis=0), strict=True))


def tissue() -> np.ndarray:
    """Classes 1 to 14 in smooth patches that fill everything."""
    rng = np.random.default_rng(0)
    best = np.full(SHAPE, -np.inf, np.float32)
    labels = np.zeros(SHAPE, np.uint8)
    for number in range(1, 15):
        coarse = rng.normal(size=[n // 8 for n in SHAPE]).astype(np.float32)
        smooth = np.asarray(ndimage.zoom(ndimage.gaussian_filter(coarse, 1.0), 8, order=1))
        labels[smooth > best] = number
        best = np.maximum(best, smooth)
    return labels


def peak(truth: np.ndarray, predicted: np.ndarray) -> float:
    """Memory beyond the two images, MB."""
    tracemalloc.start()
    evaluate_pair(truth, predicted, NAMES, spacing=SPACING)
    found = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return found / 1e6


def main() -> None:
    rows = []
    scenes = {"organs": organs(SHAPE, SPACING), "classes everywhere": tissue()}
    for scene, truth in scenes.items():
        for shift in (2, 12):
            predicted = np.roll(truth, (shift, -shift // 2, shift // 2), (0, 1, 2))
            ours = evaluate_pair(truth, predicted, NAMES, spacing=SPACING)
            functions = {"ours": lambda p=predicted, t=truth: evaluate_pair(
                t, p, NAMES, spacing=SPACING)}  # fmt: skip
            if scene == "organs":
                expected = by_transform(truth, predicted)
                np.testing.assert_allclose([ours[n] for n in NAMES], [expected[n] for n in NAMES])
                functions["peer"] = lambda p=predicted, t=truth: by_transform(t, p)
            what = f"14 {scene}, predicted {shift} voxels away"
            note = f"HD95 {ours['hd95']:.2f} mm, NSD {ours['nsd']:.3f}; "
            note += "peer scipy, equal; " if "peer" in functions else ""
            note += f"{peak(truth, predicted):.0f} MB in addition to the images"
            rows.append(row(what, interleave(functions, 1), note=note))
    write("surface", rows)


if __name__ == "__main__":
    main()
