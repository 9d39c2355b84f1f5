"""Synthetic images with labels, to try the forms on."""

from __future__ import annotations

from typing import Any

import numpy as np

from unmask.phantoms import draw_one

Layers = list[tuple[Any, dict[str, Any], str]]
_PLANE, _VOLUME = (256, 256), (24, 128, 128)


def nuclei() -> Layers:
    """Fluorescent nuclei, 2D."""
    return _sample("nuclei", _PLANE)


def nuclei_volume() -> Layers:
    """Fluorescent nuclei, 3D with thick slices."""
    return _sample("nuclei", _VOLUME, (2.0, 0.5, 0.5))


def phase_contrast() -> Layers:
    """Cells in phase contrast, 2D."""
    return _sample("phase_contrast", _PLANE)


def electron_microscopy() -> Layers:
    """Mitochondria in electron microscopy, 3D."""
    return _sample("mitochondria", _VOLUME)


def _sample(name: str, shape: tuple[int, ...], spacing: tuple[float, ...] | None = None) -> Layers:
    drawn = draw_one(name, shape, seed=1, spacing=spacing)
    facts: dict[str, Any] = {} if spacing is None else {
        "scale": spacing, "units": ("um",) * len(spacing)
    }  # fmt: skip
    image = drawn.image[0] if len(drawn.image) == 1 else np.moveaxis(drawn.image, 0, -1)
    labels = drawn.labels.astype(np.uint32)
    return [
        (image, {**facts, "name": name}, "image"),
        (labels, {**facts, "name": f"{name} labels", "visible": False}, "labels"),
    ]
