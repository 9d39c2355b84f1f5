"""Phantoms with known options and their statistics: what photographs are compared with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unmask.phantoms.families import draw_one, family
from unmask.phantoms.likeness.statistics import measure
from unmask.space.random import generator

Range = tuple[float, float]
Ranges = dict[str, Range]


@dataclass(frozen=True)
class Canvas:
    """Size of the phantoms that are compared.

    Attributes:
        shape: voxels per axis.
        spacing: voxel sizes relative to the last axis; None: drawn by the family.
    """

    shape: tuple[int, ...]
    spacing: tuple[float, ...] | None = None


@dataclass(frozen=True)
class Bank:
    """Statistics of phantoms of several families.

    Attributes:
        names: families.
        rows: ``(n, d)`` statistics.
        kind: ``(n,)`` index of the family in ``names``.
        options: value of every option that has a range, per phantom.
    """

    names: tuple[str, ...]
    rows: NDArray[np.float32]
    kind: NDArray[np.int64]
    options: tuple[dict[str, float], ...]

    def of(self, number: int) -> NDArray[np.bool_]:
        """Which rows belong to a family."""
        return self.kind == number


def option_ranges(name: str) -> Ranges:
    """Options of a family that are ranges of numbers, such as diameter and density."""
    kind: Any = family(name)
    values = {each.name: getattr(kind, each.name) for each in fields(kind) if each.init}
    return {
        key: (float(value[0]), float(value[1]))
        for key, value in values.items()
        if isinstance(value, tuple) and len(value) == 2
        and all(isinstance(v, float) for v in value)
    }  # fmt: skip


def draw_bank(
    names: Sequence[str],
    canvas: Canvas,
    count: int,
    *,
    ranges: Ranges | None = None,
    seed: int = 0,
) -> Bank:
    """``count`` phantoms per family; the diameters are spread evenly in their logarithm.

    Args:
        names: families.
        canvas: size of the phantoms.
        count: phantoms per family.
        ranges: options to spread instead of those of the family.
        seed: of the phantoms.
    """
    rows, options = [], []
    for name in names:
        spread = option_ranges(name) | (ranges or {})
        rng = generator(seed, f"likeness {name}", 0)
        order = rng.permutation(count)
        for index in range(count):
            chosen = {
                key: _between(value, rng.random(), canvas if key == "diameter" else None)
                for key, value in spread.items()
            }
            position = (order[index] + 0.5) / count
            chosen["diameter"] = _between(spread["diameter"], position, canvas)
            sample = draw_one(
                name, canvas.shape, seed=seed, index=index, spacing=canvas.spacing,
                options={key: (value, value) for key, value in chosen.items()},
            )  # fmt: skip
            rows.append(measure(sample.image))
            options.append(chosen)
    kind = np.repeat(np.arange(len(names)), count)
    return Bank(tuple(names), np.stack(rows), kind, tuple(options))


def _between(limits: Range, position: float, canvas: Canvas | None) -> float:
    """A value at a share of a range, in its logarithm if it is positive."""
    low, high = limits
    if canvas is not None:
        # Larger objects than this do not show in a crop.
        high = max(low, min(high, 0.5 * max(canvas.shape[-2:])))
    if low <= 0:
        return low + position * (high - low)
    return float(np.exp(np.log(low) + position * (np.log(high) - np.log(low))))
