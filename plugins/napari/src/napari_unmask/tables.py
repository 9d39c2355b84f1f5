"""Tables of objects as features of a labels layer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from napari.layers import Labels as LabelsLayer

from unmask.measurement import Table

# napari finds the row of a label by this column.
INDEX = "index"
# A table that lists everything makes a window slow.
_IDENTITY = "id"


def features_of(table: Table) -> dict[str, np.ndarray]:
    """The columns of a table with the ids of its objects, as napari joins them to labels.

    A table with several rows per id, such as one row per slice, cannot be joined; it gives {}.
    """
    if _IDENTITY not in table or len(np.unique(table[_IDENTITY])) < len(table):
        return {}
    ids = np.asarray(table[_IDENTITY]).astype(np.int64)
    return {INDEX: ids} | {
        name: np.asarray(column) for name, column in table.columns.items() if name != _IDENTITY
    }


def join(layer: LabelsLayer, columns: Mapping[str, Any]) -> None:
    """Add columns to the features of a layer, by the ids in ``columns["index"]``.

    Columns of the same name are replaced.
    """
    new = pd.DataFrame(dict(columns)).set_index(INDEX)
    before = features(layer)
    if before is None:
        layer.features = new.reset_index()
        return
    kept = before.drop(columns=[name for name in new.columns if name in before])
    layer.features = new.join(kept, how="left").reset_index()


def features(layer: LabelsLayer) -> pd.DataFrame | None:
    """The features of a layer by id; None if they are not by id."""
    table = layer.features
    if INDEX not in table or not len(table):
        return None
    return table.set_index(INDEX)
