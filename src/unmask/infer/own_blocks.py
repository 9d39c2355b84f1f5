"""The own grid of an image: blocks for labels of interpolated scores, and the scores themselves."""

from __future__ import annotations

from math import prod
from pathlib import Path

from unmask.blocks.grid import BUDGET, Grid, choose_block
from unmask.data.grid import Place
from unmask.infer.sinks import ZarrSink
from unmask.io import Image, open_image
from unmask.space.box import Box


def own_grid(grid: Grid, place: Place) -> Grid:
    """Blocks of the image's own grid that are about as large as those of the network's grid."""
    lengths = zip(grid.block, place.box.shape, place.shape, place.whole, strict=True)
    edges = tuple(min(whole, max(1, round(b * n / m))) for b, n, m, whole in lengths)
    return Grid(place.whole, edges, 0)


def choose_own_block(place: Place, classes: int) -> tuple[int, ...]:
    """A block of the network's grid whose scores fit into memory on the image's grid as well."""
    share = min(1.0, prod(place.shape) / place.box.size)
    return choose_block(place.shape, halo=0, classes=classes, budget=int(BUDGET * share))


def scores_back(store: Path, image: Image, place: Place) -> Path:
    """Stored scores on the image's own grid."""
    if place.still:
        return store
    seen = open_image(store, ndim=image.ndim)
    sink = ZarrSink(store.with_name(f"{store.stem}-back.zarr"), spacing=image.spacing)
    lines = sink.open((seen.shape[0], *place.whole))
    for start in range(0, place.whole[0], lines):
        stop = min(start + lines, place.whole[0])
        rest = place.whole[1:]
        box = Box((start, *(0 for _ in rest)), (stop, *rest))
        sink.write(box, place.scores_back(seen, box))
    return sink.path
