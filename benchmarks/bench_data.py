"""Feeding: crops per second of one core, normalized and augmented, against the same chain in MONAI.

Crops of 256 x 256 come from an 8-bit memory map in the page cache. "light" is normalize, flips and
quarter turns, gamma, contrast, brightness; "full" is normalize, flips, rotation, zoom, elastic
warp, gamma, noise, blur, every part applied to every sample, image and labels. The peer
(``pip install --no-deps monai``) is left out where it is not installed. Before the clock starts,
the compiled resampling is compared with the one written in torch.
"""

from __future__ import annotations

import importlib
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

import harness
from unmask.data.augment.apply import Part, augment, read_shape
from unmask.data.augment.intensity import Brightness, Contrast, Gamma
from unmask.data.augment.spatial import Spatial
from unmask.data.augment.texture import Blur, Noise
from unmask.data.normalize import Percentile
from unmask.data.warp import resample_cpu, resample_torch
from unmask.space.random import generator

CROP = (256, 256)
BATCH = 16
SIDE = 2048
LIGHT: list[Part] = [Spatial(), Gamma(p=1), Contrast(p=1), Brightness(p=1)]
WARP = Spatial(
    rotate90=False, rotate=45, zoom=(0.8, 1.25), elastic=4, p_rotate=1, p_zoom=1, p_elastic=1
)
FULL: list[Part] = [WARP, Gamma(p=1), Noise(p=1), Blur(p=1)]


def feed(
    image: np.ndarray, labels: np.ndarray | None, parts: list[Part], crop: tuple[int, ...]
) -> Callable[[], torch.Tensor]:
    """A function that makes the next batch, from reading to augmentation."""
    read = read_shape(crop, parts)
    affine = Percentile().measure(image)
    step = iter(range(1 << 30))

    def batch() -> torch.Tensor:
        first = next(step) * BATCH
        rngs = [generator(0, "bench", first + b) for b in range(BATCH)]
        images, ids = [], []
        for rng in rngs:
            corner = [int(rng.integers(n - r)) for n, r in zip(image.shape[1:], read, strict=True)]
            box = tuple(slice(a, a + r) for a, r in zip(corner, read, strict=True))
            images.append(affine.apply(image[(slice(None), *box)]))
            if labels is not None:
                ids.append(labels[box].astype(np.int64))
        truth = torch.from_numpy(np.stack(ids)) if ids else None
        return augment(torch.from_numpy(np.stack(images)), truth, rngs, crop=crop, parts=parts)[0]

    return batch


def monai_feed(image: np.ndarray, labels: np.ndarray, *, full: bool) -> Callable[[], Any] | None:
    """The peer's version of the same chain, or None where it is not installed."""
    try:
        t = importlib.import_module("monai.transforms")
    except ImportError:
        return None
    both = ["image", "labels"]
    low, high = np.percentile(image, (1, 99.8))
    parts = [t.ScaleIntensityRanged("image", low, high, 0.0, 1.0)]
    if full:
        parts += [
            t.RandFlipd(both, prob=0.5, spatial_axis=0),
            t.RandFlipd(both, prob=0.5, spatial_axis=1),
            t.Rand2DElasticd(
                both, spacing=(32, 32), magnitude_range=(2, 4), prob=1.0, rotate_range=np.pi / 4,
                scale_range=(-0.2, 0.25), mode=("bilinear", "nearest"), padding_mode="reflection",
            ),
            t.RandAdjustContrastd("image", prob=1.0, gamma=(0.7, 1.5)),
            t.RandGaussianNoised("image", prob=1.0, std=0.1),
            t.RandGaussianSmoothd("image", (0.5, 1.5), (0.5, 1.5), prob=1.0),
        ]  # fmt: skip
    else:
        parts += [
            t.RandFlipd(both, prob=0.5, spatial_axis=0),
            t.RandFlipd(both, prob=0.5, spatial_axis=1),
            t.RandRotate90d(both, prob=0.75),
            t.RandAdjustContrastd("image", prob=1.0, gamma=(0.7, 1.5)),
            t.RandScaleIntensityd("image", factors=0.5, prob=1.0),
            t.RandShiftIntensityd("image", offsets=0.1, prob=1.0),
        ]
    chain = t.Compose(parts)
    chain.set_random_state(seed=0)
    rng = generator(0, "bench")

    def batch() -> torch.Tensor:
        made = []
        for _ in range(BATCH):
            y, x = rng.integers(SIDE - CROP[0], size=2)
            box = (slice(y, y + CROP[0]), slice(x, x + CROP[1]))
            sample = {
                "image": image[(slice(None), *box)].astype(np.float32),
                "labels": labels[box][None].astype(np.float32),
            }
            made.append(torch.as_tensor(chain(sample)["image"]))
        return torch.stack(made)

    return batch


def check() -> None:
    """The compiled resampling and the one written in torch give the same."""
    for crop in (CROP, (24, 48, 48)):
        image = torch.rand(1, *WARP.read_shape(crop))
        labels = torch.randint(0, 1 << 40, image.shape[1:])
        warp = WARP.draw(generator(0, "check"), (1, *crop))
        results = []
        for resample in (resample_cpu, resample_torch):
            into = torch.empty(1, *crop), torch.empty(crop, dtype=torch.int64)
            resample(image, labels, warp, into=into)
            results.append(into)
        (ours, ids), (wanted, wanted_ids) = results
        torch.testing.assert_close(ours, wanted, atol=1e-5, rtol=0)
        assert (ids == wanted_ids).float().mean() > 0.999


def row(what: str, ours: float, peer: float | None, note: str) -> dict[str, Any]:
    """One row, in crops per second."""
    return {
        "what": what,
        "ours": BATCH / ours,
        "peer": None if peer is None else BATCH / peer,
        "ratio": None if peer is None else peer / ours,
        "floor": None,
        "unit": "crops/s",
        "note": note,
    }


def memory_map(folder: str) -> np.ndarray:
    """An 8-bit image on disk, read through a memory map."""
    path = Path(folder) / "image.npy"
    rng = generator(0, "bench")
    np.save(path, rng.gamma(2.0, 20.0, (1, SIDE, SIDE)).clip(0, 255).astype(np.uint8))
    return np.load(path, mmap_mode="r")


def main() -> None:
    """Measure and write."""
    torch.set_num_threads(1)
    check()
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        image = memory_map(folder)
        labels = np.arange(SIDE * SIDE, dtype=np.int32).reshape(SIDE, SIDE) // 500
        for name, parts, full in (("light", LIGHT, False), ("full", FULL, True)):
            runs: dict[str, Callable[[], Any]] = {"ours": feed(image, labels, parts, CROP)}
            peer = monai_feed(image, labels, full=full)
            if peer is not None:
                runs["peer"] = peer
            found = harness.interleave(runs, 7)
            rows.append(
                row(f"{name} chain, 256^2, labels", found["ours"], found.get("peer"), "MONAI")
            )
        alone = harness.interleave({"ours": feed(image, None, LIGHT, CROP)}, 7)
        rows.append(row("light chain, 256^2, no labels", alone["ours"], None, ""))
        volume = np.asarray(image).reshape(64, 256, 256)[None]
        ids = labels.reshape(64, 256, 256)
        deep = harness.interleave({"ours": feed(volume, ids, FULL, (32, 96, 96))}, 5)
        rows.append(row("full chain, 32 x 96 x 96, labels", deep["ours"], None, ""))
    harness.write("data", rows)


if __name__ == "__main__":
    main()
