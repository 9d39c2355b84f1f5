"""Tables of stacks and movies: the objects of each position are measured alone."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from unmask.io import Image
from unmask.io.stacks import plane_of
from unmask.measurement.table import Table, concatenate

# Measures the labels of one position in their image.
Measure = Callable[[Image, Image | None], Table]


def measure_positions(
    labels: Image, image: Image | None, divided: str, measure: Measure
) -> list[tuple[dict[str, int], Table]]:
    """Measure every position on the divided axes.

    Args:
        labels: the divided axes come first.
        image: of the same shape; None: no intensities.
        divided: a letter per divided axis, "t", "z" or "tz"; "": the labels are one image.
        measure: measures one position.

    Returns:
        For each position its place by letter, and its table.
    """
    found: list[tuple[dict[str, int], Table]] = []
    for position in np.ndindex(*labels.shape[1 : 1 + len(divided)]):
        part = plane_of(labels, position) if position else labels
        other = plane_of(image, position) if position and image is not None else image
        found.append((dict(zip(divided, position, strict=True)), measure(part, other)))
    return found


def join_positions(
    tables: list[tuple[dict[str, int], Table]], *, name: str | None, well: str = ""
) -> Table:
    """One table with the columns ``image``, ``time`` and, for objects of planes, ``plane``.

    Args:
        tables: see `measure_positions`.
        name: of the image; None: no such column.
        well: of a plate that the image is a field of, as column ``well``; "": no such column.
    """
    joined: list[Table] = []
    for place, table in tables:
        rows = len(table)
        where: dict[str, np.ndarray] = {} if name is None else {"image": np.full(rows, name)}
        if well:
            where["well"] = np.full(rows, well)
        where["time"] = np.full(rows, place.get("t", 0))
        if "area" in table:
            where["plane"] = np.full(rows, place.get("z", 0))
        joined.append(Table({**where, **table.columns}, table.spatial))
    return concatenate(joined)
