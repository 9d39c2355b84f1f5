"""The report of an evaluation: one row per image, a summary, and how it was made."""

from __future__ import annotations

import base64
import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import fmean, median
from typing import TYPE_CHECKING, Any

from unmask.atomic import atomic_write, refuse_folder
from unmask.errors import DataError, message
from unmask.lookup import optional_import
from unmask.own_files import refuse_others
from unmask.plain_text import csv_text, json_text, printable

if TYPE_CHECKING:
    import pandas as pd

# Metrics that are not numbers from 0 to 1.
_UNITS = {
    "voi": "in bits", "voi_split": "in bits", "voi_merge": "in bits", "cremi": "from 0 (best)",
    "cremi_challenge": "from 0 (best)", "hd95": "in the unit of the voxel size (voxels without it)",
    "dic": "in objects", "abs_dic": "in objects",
}  # fmt: skip
# Metrics in a short form of a report.
_SHOWN = 4
# Formats by their ending, with what every report in them contains.
_FORMS: dict[str, tuple[bytes, ...]] = {
    ".json": (b'"images"', b'"summary"', b'"settings"', b'"version"'),
    ".csv": (),
    ".html": (b"<!doctype html>", b"<p>unmask "),
    ".txt": (b"metric", b"undefined"),
}
_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title>
<meta name="viewport" content="width=device-width, initial-scale=1"><style>
body {{ font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 72rem; padding: 0 1rem;
  color: #1c2330; background: #fff; }}
h1 {{ font-size: 1.5rem; }} h2 {{ font-size: 1.1rem; margin-top: 2rem; }}
.wide {{ overflow-x: auto; }}
table {{ border-collapse: collapse; font-variant-numeric: tabular-nums; }}
th, td {{ padding: .3rem .8rem; text-align: right; border-bottom: 1px solid #e3e7ee; }}
th:first-child, td:first-child {{ text-align: left; }}
thead th {{ border-bottom: 2px solid #9aa5b8; }}
td.text {{ text-align: left; }} td.none {{ color: #8a93a3; }}
figure {{ display: inline-block; margin: 0 1rem 1rem 0; vertical-align: top; }}
figure img {{ max-width: 100%; border: 1px solid #e3e7ee; }}
figcaption {{ color: #566; font-size: .9rem; }}
pre {{ background: #f5f7fa; padding: 1rem; overflow-x: auto; }}
</style></head><body>
<h1>{title}</h1>
<h2>Summary</h2><div class="wide">{summary}</div>
{pictures}<h2>Images</h2><div class="wide">{images}</div>
<h2>Settings</h2><pre>{settings}</pre>
<p>unmask {version}</p>
</body></html>
"""


@dataclass(frozen=True)
class Picture:
    """A PNG file's bytes and what it shows."""

    png: bytes
    caption: str


@dataclass(frozen=True)
class Report:
    """Values of every metric for every image.

    Attributes:
        images: rows ``{"name": ..., metric: value, ...}``; text (such as an ``"error"``) is shown
            and not summarized.
        summary: metric to ``{"mean", "median", "n", "undefined"}``, see `summarize`; and ``low``
            and ``high`` where it is about folds, see `unmask.metrics.folds`.
        settings: what was compared and how; any JSON value. ``notes`` are sentences about doubts.
        version: of unmask.
    """

    images: Sequence[Mapping[str, Any]]
    summary: Mapping[str, Mapping[str, float]]
    settings: Mapping[str, Any] = field(default_factory=dict)
    version: str = ""

    @classmethod
    def of(
        cls,
        images: Sequence[Mapping[str, Any]],
        *,
        settings: Mapping[str, Any] | None = None,
        summary: Mapping[str, Mapping[str, float]] | None = None,
    ) -> Report:
        """Report over rows; the summary is computed where none is given."""
        rows = [dict(row) for row in images]
        found = summarize(rows) if summary is None else summary
        return cls(rows, found, dict(settings or {}), installed_version())

    def __repr__(self) -> str:
        shown = [f"{name} {_short(entry['mean'])}" for name, entry in self.summary.items()]
        more = f", ... ({len(shown)} metrics)" if len(shown) > _SHOWN else ""
        return f"Report({len(self.images)} images: {', '.join(shown[:_SHOWN])}{more})"

    def _repr_html_(self) -> str:
        """The summary as a table, for notebooks."""
        rows = [{"metric": name, **entry} for name, entry in self.summary.items()]
        notes = "".join(f"<p>Note: {_html(note)}</p>" for note in self.settings.get("notes", ()))
        return _table(self._header(), rows) + notes

    def show(self) -> None:
        """Print the summary."""
        print(self.to_text(), end="")

    def to_pandas(self) -> pd.DataFrame:
        """One row per image as a data frame.

        Raises:
            MissingPackageError: pandas is not installed.
        """
        frames = optional_import("pandas", "tables")
        return frames.DataFrame([dict(row) for row in self.images], columns=_columns(self.images))

    def to_json(self) -> str:
        """JSON object with images, summary, settings and version; undefined values are null."""
        whole = {
            "images": self.images,
            "summary": self.summary,
            "settings": self.settings,
            "version": self.version,
        }
        text = json.dumps(_plain(whole), indent=2, ensure_ascii=False, allow_nan=False)
        return json_text(text) + "\n"

    def to_csv(self) -> str:
        """One line per image, in full precision; undefined values are empty."""
        columns = _columns(self.images)
        return csv_text(
            columns, ([_cell(row.get(name)) for name in columns] for row in self.images)
        )

    def to_text(self) -> str:
        """The summary as a plain table, and below it the notes of the settings."""
        header = self._header()
        rows = [[name, *map(_short, entry.values())] for name, entry in self.summary.items()]
        widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
        lines = [
            "  ".join(
                cell.ljust(width) if first else cell.rjust(width)
                for first, cell, width in zip(
                    [True, *[False] * len(row)], row, widths, strict=False
                )
            ).rstrip()
            for row in [header, *rows]
        ]
        lines += [f"Note: {note}" for note in self.settings.get("notes", ())]
        return "\n".join(lines) + "\n"

    def describe_numbers(self) -> str:
        """What the numbers of the summary are: their range or unit, and what is counted."""
        bases = {re.split("[@/]", name)[0] for name in self.summary if ":" not in name}
        other = [f"{base} {unit}" for base, unit in _UNITS.items() if base in bases]
        within = len(other) < len(bases)
        parts = [*other, *([f"{'others ' if other else ''}from 0 to 1"] if within else [])]
        # Names of metrics keep their spelling, so no sentence begins with one.
        what = f"Values: {', '.join(parts)}. " if parts else ""
        return f"{what}n: images with a value; undefined: those without one."

    def to_html(self, *, pictures: Sequence[Picture] = (), title: str = "Evaluation") -> str:
        """One page that needs nothing else: summary, pictures, images, settings."""
        columns = _columns(self.images)
        summary = [{"metric": name, **entry} for name, entry in self.summary.items()]
        figures = "".join(
            f'<figure><img alt="{_html(picture.caption)}" src="data:image/png;base64,'
            f'{base64.b64encode(picture.png).decode()}">'
            f"<figcaption>{_html(picture.caption)}</figcaption></figure>\n"
            for picture in pictures
        )
        return _PAGE.format(
            title=_html(title),
            summary=_table(self._header(), summary),
            pictures=f"<h2>Pictures</h2>\n{figures}" if figures else "",
            images=_table(columns, self.images),
            settings=_html(json.dumps(_plain(self.settings), indent=2, ensure_ascii=False)),
            version=_html(self.version),
        )

    def _header(self) -> list[str]:
        """Columns of the summary; reports of folds have more."""
        entries = list(self.summary.values()) or [{}]
        return ["metric", *dict.fromkeys(["mean", "median", "n", "undefined", *entries[0]])]

    def write(self, path: Path | str, *, pictures: Sequence[Picture] = ()) -> None:
        """Write a .json, .csv, .html or .txt file; it is complete or not there.

        Raises:
            DataError: another suffix.
            SaveError: the file could not be written.
        """
        path = Path(path)
        check_report_path(path)
        forms = {
            ".json": self.to_json,
            ".csv": self.to_csv,
            ".html": lambda: self.to_html(pictures=pictures),
            ".txt": self.to_text,
        }
        atomic_write(path, forms[path.suffix.lower()]())


def check_report_path(path: Path) -> None:
    """Refuse a file that no report can be written to; call it before the work on the report.

    Raises:
        DataError: another suffix.
        SaveError: it is a folder.
    """
    refuse_folder(path)
    if path.suffix.lower() not in _FORMS:
        raise DataError(
            message(
                path,
                expected=f"a report ending in {', '.join(_FORMS)}",
                found=repr(path.suffix) if path.suffix else "no ending",
                do="Choose one of these endings.",
            )
        )


def refuse_other_files(path: Path) -> None:
    """Refuse to replace a file that is not a report of unmask; call it before the work.

    Raises:
        DataError: another file.
    """
    suffix = path.suffix.lower()
    starts = (b"name", b"\n") if suffix == ".csv" else (b"",)
    # Tables of classes, drawn or predicted, begin with a name as reports do.
    refuse_others(path, *_FORMS.get(suffix, ()), starts=starts, unlike=(b"name,class",))


def summarize(images: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, float]]:
    """Mean and median of every metric over the images where it is defined.

    Returns:
        For each metric ``mean`` and ``median`` (NaN without a defined value), ``n`` images that
        count, and ``undefined`` images that do not: NaN, infinite, or without this metric.
    """
    summary = {}
    for name in _columns(images):
        values = [row.get(name) for row in images]
        if name == "name" or any(isinstance(value, str) for value in values):
            continue
        defined = [number for number in map(_finite_or_none, values) if number is not None]
        summary[name] = {
            "mean": fmean(defined) if defined else float("nan"),
            "median": median(defined) if defined else float("nan"),
            "n": len(defined),
            "undefined": len(values) - len(defined),
        }
    return summary


def _columns(images: Sequence[Mapping[str, Any]]) -> list[str]:
    """Keys of all rows, in order of appearance, ``name`` first."""
    return list(dict.fromkeys(["name", *(key for row in images for key in row)]))


def _finite_or_none(value: Any) -> float | None:
    """The finite number, or None."""
    return None if value is None or not math.isfinite(value) else float(value)


def _cell(value: Any) -> Any:
    """What CSV shows: text and numbers as they are, nothing where undefined."""
    return value if isinstance(value, str) or _finite_or_none(value) is not None else ""


def _short(value: Any) -> str:
    """What people read: four decimals, counts whole, a dash where undefined."""
    if isinstance(value, str):
        return printable(value, one_line=True)
    if _finite_or_none(value) is None:
        return "-"
    return str(value) if isinstance(value, int) else f"{value:.4f}"


def _table(columns: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> str:
    def cell(value: Any) -> str:
        text = _short(value)
        kind = ' class="text"' if isinstance(value, str) else ' class="none"' if text == "-" else ""
        return f"<td{kind}>{escape(text)}</td>"

    head = "".join(f"<th>{_html(column)}</th>" for column in columns)
    body = "\n".join(
        f"<tr>{''.join(cell(row.get(column)) for column in columns)}</tr>" for row in rows
    )
    return f"<table><thead><tr>{head}</tr></thead><tbody>\n{body}\n</tbody></table>"


def _html(text: str) -> str:
    return escape(printable(text))


def _plain(value: Any) -> Any:
    """The value in JSON's own types; numbers that are not finite become null."""
    if isinstance(value, Mapping):
        return {str(key): _plain(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(entry) for entry in value]
    if value is None or isinstance(value, (str, bool, int)):
        return value
    if hasattr(value, "tolist"):
        return _plain(value.tolist())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return str(value)


def installed_version() -> str:
    """Version of this distribution, or "not installed" where it runs from its sources."""
    try:
        return version("unmask")
    except PackageNotFoundError:
        return "not installed"
