"""Write a table of objects: CSV, Parquet or AnnData."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np

from unmask.atomic import atomic_path
from unmask.errors import DataError, message
from unmask.lookup import optional_import
from unmask.measurement.table import Table
from unmask.own_files import refuse_others

# A spreadsheet takes text that begins with one of these for a formula and runs it:
# https://owasp.org/www-community/attacks/CSV_Injection
_FORMULA = ("=", "+", "-", "@", "\t", "\r")
# Tells tables of unmask from others, which are never replaced.
_MARK = "unmask objects"
# Columns of AnnData's `obs`; all other numbers are measurements.
_KEYS = ("image", "time", "plane", "id", "nearest_id")


def write_table(table: Table, path: str | Path) -> Path:
    """Write a table; the format follows from the suffix.

    Raises:
        DataError: an unknown suffix.
        MissingPackageError: the format needs an extra.
        SaveError: the file could not be written.
    """
    path = Path(path)
    write = table_writer(path)
    with atomic_path(path) as aside:
        write(table, aside)
    return path


def table_writer(path: str | Path) -> Callable[[Table, Path], None]:
    """The function that writes a format, so that a wrong suffix is refused before the work.

    Raises:
        DataError: an unknown suffix.
        MissingPackageError: the format needs an extra.
    """
    suffix = Path(path).suffix.lower()
    if suffix not in _WRITERS:
        raise DataError(
            message(
                path,
                expected=f"a table with one of the suffixes {' '.join(_WRITERS)}",
                found=repr(suffix),
                do="Choose one of them; .csv needs no extra package.",
            )
        )
    package, write = _WRITERS[suffix]
    if package:
        optional_import(package, "tables")
    return write


def refuse_other_tables(path: str | Path) -> None:
    """Refuse to replace a file that is not a table of objects; call it before the work.

    Raises:
        DataError: another file.
    """
    if Path(path).suffix.lower() == ".csv":
        refuse_others(path, b"id,", starts=(b"image,", b"time,", b"plane,", b"id,", b"\n"))
    else:
        refuse_others(path, _MARK.encode())


def safe_text(text: str) -> str:
    """Text that no spreadsheet runs as a formula: one that looks like it gets an apostrophe.

    Examples:
        >>> safe_text("=1+1"), safe_text("cells 1")
        ("'=1+1", 'cells 1')
    """
    return f"'{text}" if text.startswith(_FORMULA) else text


def _write_csv(table: Table, path: Path) -> None:
    columns = [_cells(column) for column in table.columns.values()]
    with path.open("w", encoding="utf-8", newline="") as handle:
        writer = csv.writer(handle, lineterminator="\n")
        writer.writerow([safe_text(name) for name in table.columns])
        writer.writerows(zip(*columns, strict=True))


def _cells(column: np.ndarray) -> Iterable[str]:
    """The shortest text that reads back as the same value; nothing for NaN."""
    if column.dtype.kind == "f":
        cells = np.array(list(map(repr, column.astype(np.float64).tolist())), object)
        cells[np.isnan(column)] = ""
        return cells
    text = map(str, column.tolist())
    return map(safe_text, text) if column.dtype.kind in "UO" else text


def _write_parquet(table: Table, path: Path) -> None:
    arrow = optional_import("pyarrow", "tables")
    parquet = optional_import("pyarrow.parquet", "tables")
    columns = {
        name: arrow.array(column.tolist() if column.dtype.kind in "UO" else column)
        for name, column in table.columns.items()
    }
    parquet.write_table(arrow.table(columns).replace_schema_metadata({_MARK: "1"}), path)


def _write_anndata(table: Table, path: Path) -> None:
    """Measurements in ``X``, what names an object in ``obs``, centroids (x first) in ``obsm``."""
    anndata = optional_import("anndata", "tables")
    frames = optional_import("pandas", "tables")
    keys = [name for name in table if name in _KEYS or table[name].dtype.kind in "UO"]
    names = [name for name in table if name not in keys]
    parts = [table[name] for name in ("image", "time", "plane", "id") if name in table]
    index = [":".join(map(str, row)) for row in zip(*parts, strict=True)]
    values = np.zeros((len(table), len(names)))
    for k, name in enumerate(names):
        values[:, k] = table[name]
    obs = frames.DataFrame({name: table[name] for name in keys}, index=index)
    data = anndata.AnnData(values, obs=obs, var=frames.DataFrame(index=names))
    spatial = [name for name in reversed(table.spatial) if name in table]
    if spatial:
        data.obsm["spatial"] = np.stack([table[name] for name in spatial], 1)
        data.uns["spatial_columns"] = spatial
    data.uns[_MARK] = "1"
    data.write_h5ad(path)


# By suffix: the package that is needed, and the function.
_WRITERS = {
    ".csv": ("", _write_csv),
    ".parquet": ("pyarrow", _write_parquet),
    ".h5ad": ("anndata", _write_anndata),
}
