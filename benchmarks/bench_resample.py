"""A CT of 512 x 512 x 300 voxels to 1.5 mm and its labels there and back.

Peer: scipy.ndimage.zoom on the same grids, linear for values and nearest for labels.
"""

from __future__ import annotations

import tracemalloc

import numpy as np
from scipy.ndimage import zoom

from harness import interleave, row, write
from torso import ORGANS, organs
from unmask.data.grid import Place, View
from unmask.io import Image
from unmask.metrics import dice

SHAPE, SPACING = (300, 512, 512), (1.0, 0.8, 0.8)


def peer(array: np.ndarray, shape: tuple[int, ...], order: int) -> np.ndarray:
    factors = [m / n for m, n in zip(shape, array.shape, strict=True)]
    return np.asarray(zoom(array, factors, order=order, mode="nearest", grid_mode=True))


def agreement(labels: np.ndarray, back: np.ndarray) -> list[float]:
    """Dice of all organs' voxels, the mean over organs, and that of the smallest."""
    shared = 2 * ((labels == back) & (labels > 0)).sum() / ((labels > 0).sum() + (back > 0).sum())
    return [float(shared), dice(labels, back), dice(labels, back, label=ORGANS)]


def describe_losses(labels: np.ndarray, back: np.ndarray) -> str:
    return ", ".join(f"{value:.4f}" for value in agreement(labels, back))


def memory(place: Place, image: Image, labels: Image) -> float:
    """Peak of the image, its labels and all that resampling them takes, in volumes of the image."""
    volume = 2 * np.prod(SHAPE)
    tracemalloc.start()
    place.seen(image).read()
    seen = place.seen_labels(labels).read()[0]
    place.back(seen)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return float((peak + 1.5 * volume) / volume)


def main() -> None:
    labels = organs(SHAPE, SPACING)
    noise = np.random.default_rng(0).normal(size=SHAPE[1:]) * 40
    values = (labels * 20.0 + noise).astype(np.int16)
    image = Image.from_array(values, spacing=SPACING)
    truth = Image.from_array(labels, spacing=SPACING)
    place = View((1.5, 1.5, 1.5)).place(image)
    seen = place.seen_labels(truth).read()[0]
    back = place.back(seen)
    plain = peer(peer(labels, place.shape, 0), SHAPE, 0)
    assert agreement(labels, back)[0] >= 0.99
    found, expected = place.seen(image).read()[0], peer(values, place.shape, 1)
    assert np.abs(found.astype(int) - expected).max() <= 1
    size = "512 x 512 x 300 of 0.8 x 0.8 x 1 mm"
    functions = {
        f"values of {size} to 1.5 mm": (
            lambda: place.seen(image).read(),
            lambda: peer(values, place.shape, 1),
            "int16, equal to 1 after rounding",
        ),
        "its labels to 1.5 mm": (
            lambda: place.seen_labels(truth).read(),
            lambda: peer(labels, place.shape, 0),
            f"{ORGANS} labels by vote; peer nearest",
        ),
        "labels back": (
            lambda: place.back(seen),
            lambda: peer(seen, SHAPE, 0),
            "Dice of there and back: all organs' voxels, mean organ, smallest organ: "
            f"{describe_losses(labels, back)}; peer {describe_losses(labels, plain)}",
        ),
    }
    rows = []
    for what, (ours, other, note) in functions.items():
        seconds = interleave({"ours": ours, "peer": other}, 2)
        rows.append(row(what, seconds, note=f"peer scipy zoom; {note}"))
    share = memory(place, image, truth)
    note = "image and labels included, the three steps in turn"
    rows.append(row("peak memory / volume", {"ours": share}, unit="volumes", note=note))
    write("resample", rows)


if __name__ == "__main__":
    main()
