"""The table of objects: named columns of equal length."""

from __future__ import annotations

import html
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from unmask.lookup import optional_import

if TYPE_CHECKING:
    import pandas as pd

_SHOWN = 10


@dataclass(frozen=True, eq=False, repr=False)
class Table:
    """One row per object.

    Attributes:
        columns: arrays of one length by name, in order.
        spatial: names of the columns with the centroid, slow axis first, in physical units if
            these are known.

    Examples:
        >>> table = Table({"id": np.array([1, 2]), "area": np.array([9, 4])})
        >>> len(table), table["area"]
        (2, array([9, 4]))
    """

    columns: Mapping[str, np.ndarray] = field(default_factory=dict)
    spatial: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(next(iter(self.columns.values()))) if self.columns else 0

    def __getitem__(self, name: str) -> np.ndarray:
        return self.columns[name]

    def __contains__(self, name: object) -> bool:
        return name in self.columns

    def __iter__(self) -> Iterator[str]:
        """Names of the columns."""
        return iter(self.columns)

    def __repr__(self) -> str:
        names = list(self.columns)
        shown = ", ".join(names[:6]) + (", ..." if len(names) > 6 else "")
        return f"Table({len(self)} objects, {len(names)} columns: {shown})"

    def _repr_html_(self) -> str:
        head = "".join(f"<th>{html.escape(name)}</th>" for name in self.columns)
        cells = [[_shown(value) for value in column[:_SHOWN]] for column in self.columns.values()]
        rows = "".join(
            f"<tr>{''.join(f'<td>{html.escape(cell)}</td>' for cell in row)}</tr>"
            for row in zip(*cells, strict=True)
        )
        return (
            f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"
            f"<p>{len(self)} objects, {len(self.columns)} columns</p>"
        )

    def extend(self, columns: Mapping[str, Mapping[int, float]]) -> Table:
        """The table with more columns, given by ``id``; an id without a value has NaN."""
        added = {
            name: np.array([values.get(int(key), np.nan) for key in self["id"]], float)
            for name, values in columns.items()
        }
        return Table({**self.columns, **added}, self.spatial)

    def to_pandas(self) -> pd.DataFrame:
        """The table as a data frame.

        Raises:
            MissingPackageError: pandas is not installed.
        """
        frames = optional_import("pandas", "tables")
        return frames.DataFrame(dict(self.columns))

    def write(self, path: str | Path) -> Path:
        """Write the table as ``.csv``, ``.parquet`` or ``.h5ad`` (AnnData).

        Raises:
            DataError: another suffix.
            MissingPackageError: the format needs an extra.
            SaveError: the file could not be written.
        """
        from unmask.measurement.writing import write_table

        return write_table(self, path)


def concatenate(tables: Sequence[Table]) -> Table:
    """All rows one after another; a column that a table lacks is empty there.

    Empty cells are NaN, in columns of text "".
    """
    names = list(dict.fromkeys(name for table in tables for name in table.columns))
    columns = {}
    for name in names:
        held = [table.columns[name] for table in tables if name in table.columns]
        empty = _empty(held[0])
        parts = [
            table.columns[name] if name in table.columns else np.full(len(table), empty)
            for table in tables
        ]
        columns[name] = np.concatenate(parts)
    spatial = [table.spatial for table in tables if len(table)]
    return Table(columns, spatial[0] if len(set(spatial)) == 1 else ())


def _empty(column: np.ndarray) -> Any:
    return "" if column.dtype.kind in "UO" else np.nan


def _shown(value: Any) -> str:
    return f"{value:.5g}" if isinstance(value, (float, np.floating)) else str(value)
