"""Chunks of a Zarr store that are not there.

By the format's rule they hold the fill value, which is how stores save empty space; but a chunk
that was lost in copying looks the same, so whoever reads a store should be told.
"""

from __future__ import annotations

from math import ceil, prod
from typing import Any

import numpy as np
import zarr

from unmask.io.formats import FORMATS
from unmask.io.paths import format_of, locate
from unmask.io.several import files_of


def unwritten(source: str) -> str:
    """A line about the chunks of a store's finest level that are not there; one for each store.

    Args:
        source: path as for ``open_image``.

    Returns:
        How many of how many, the first one, and what it counts as; "" where all are there, or where
        the path is no Zarr store on a local disk.
    """
    return "\n".join(line for file in files_of(source) if (line := _unwritten(file)))


def _unwritten(source: str) -> str:
    location = locate(source)
    form = format_of(location)
    if form is not FORMATS[".zarr"]:
        return ""
    folder = location.path / location.key
    node: Any = zarr.open(folder, mode="r")
    while isinstance(node, zarr.Group):
        attributes: Any = node.attrs.asdict()
        scales = attributes.get("ome", attributes).get("multiscales")
        # A group without one is that of bioformats2raw, whose first image is called 0.
        inner = scales[0]["datasets"][0]["path"] if scales else "0"
        folder, node = folder / inner, node[inner]
    files = getattr(node, "shards", None) or node.chunks
    counts = [ceil(n / edge) for n, edge in zip(node.shape, files, strict=True)]
    keys = (node.metadata.encode_chunk_key(cell) for cell in np.ndindex(*counts))
    missing = [key for key in keys if not (folder / key).exists()]
    if not missing:
        return ""
    return (
        f"{source}: {len(missing)} of {prod(counts)} chunks are not there, the first one is "
        f"{missing[0]}. They count as {node.fill_value}; copy the store again if they were lost."
    )
