"""Blocks of an image's own grid, for labels that are decoded from interpolated scores."""

from __future__ import annotations

from math import prod

from unmask.blocks.grid import BUDGET, Grid, choose_block
from unmask.data.grid import Place


def own_grid(grid: Grid, place: Place) -> Grid:
    """Blocks of the image's own grid that are about as large as those of the network's grid."""
    lengths = zip(grid.block, place.box.shape, place.shape, place.whole, strict=True)
    edges = tuple(min(whole, max(1, round(b * n / m))) for b, n, m, whole in lengths)
    return Grid(place.whole, edges, 0)


def choose_own_block(place: Place, classes: int) -> tuple[int, ...]:
    """A block of the network's grid whose scores fit into memory on the image's grid as well."""
    share = min(1.0, prod(place.shape) / place.box.size)
    return choose_block(place.shape, halo=0, classes=classes, budget=int(BUDGET * share))
