"""Chunks of a Zarr store that are not there.

By the format's rule they hold the fill value, which is how stores save empty space; but a chunk
that was lost in copying looks the same, so a reader of a store should know.
"""

from __future__ import annotations

from dataclasses import replace
from math import ceil, prod

from unmask.io.multi_file import files_of
from unmask.io.paths import locate, suffix_of
from unmask.io.remote import is_remote

# Chunks that are looked for; a store can claim more of them than any disk holds.
_MOST_LOOKED = 200_000


def find_unwritten(source: str) -> str:
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
    # Asking a server for every chunk takes as long as reading them.
    if is_remote(source) or suffix_of(location) != ".zarr":
        return ""
    from unmask.io.zarr_open import find_array  # Zarr takes 0.3 s to import.

    # Where the store may be read from was decided when it was opened.
    folder, node = find_array(replace(location, allow_external=True))
    files = getattr(node, "shards", None) or node.chunks
    counts = [ceil(n / edge) for n, edge in zip(node.shape, files, strict=True)]
    total = prod(counts)
    looked = range(0, total, ceil(total / _MOST_LOOKED))
    keys = (node.metadata.encode_chunk_key(_cell(number, counts)) for number in looked)
    missing = [key for key in keys if not (folder / key).exists()]
    if not missing:
        return ""
    of = total if len(looked) == total else f"{len(looked)} that were looked at, out of {total}"
    return (
        f"{source}: {len(missing)} of {of} chunks are not there, the first one is "
        f"{missing[0]}. They count as {node.fill_value}; copy the store again if they were lost."
    )


def _cell(number: int, counts: list[int]) -> tuple[int, ...]:
    """The cell of a number in a grid; grids may have more cells than an index of numpy."""
    cell = []
    for count in reversed(counts):
        number, place = divmod(number, count)
        cell.append(place)
    return tuple(reversed(cell))
