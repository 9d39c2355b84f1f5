"""One HTML file of tables, charts and pictures: opens offline, sorts, prints, needs no server."""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from typing import Any

from unmask.plain_text import printable

_STYLE = """
:root { color-scheme: light; }
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 76rem; padding: 0 1rem;
  color: #1c2330; background: #fff; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.1rem; margin-top: 2rem; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .3rem .8rem; text-align: right; border-bottom: 1px solid #e3e7ee; }
th:first-child, td:first-child, td.text { text-align: left; }
thead th { border-bottom: 2px solid #9aa5b8; white-space: nowrap; }
th button { font: inherit; font-weight: 600; border: 0; background: none; cursor: pointer;
  padding: 0; color: inherit; }
th[aria-sort=ascending] button::after { content: " \\2191"; }
th[aria-sort=descending] button::after { content: " \\2193"; }
td.none { color: #6b7484; }
.figures { display: grid; grid-template-columns: repeat(auto-fill, minmax(15rem, 1fr)); gap: 1rem; }
figure { margin: 0; break-inside: avoid; }
figure img { width: 100%; border: 1px solid #e3e7ee; image-rendering: auto; }
figcaption { color: #47505f; font-size: .85rem; overflow-wrap: anywhere; }
.charts { display: flex; flex-wrap: wrap; gap: 1rem; }
.charts svg { max-width: 100%; height: auto; }
.legend span { display: inline-block; margin-right: 1.2rem; }
.legend i { display: inline-block; width: .9rem; height: .9rem; margin-right: .4rem;
  vertical-align: -.1rem; }
.note { color: #47505f; }
pre { background: #f5f7fa; padding: 1rem; overflow-x: auto; }
@media print { body { margin: 0; max-width: none; } .wide { overflow: visible; }
  .figures { grid-template-columns: repeat(4, 1fr); } }
"""
# Sorting by a click: numbers as numbers, undefined values at the end.
_SCRIPT = """
document.querySelectorAll("table.sortable th").forEach((head, column) => {
  head.querySelector("button").addEventListener("click", () => {
    const up = head.getAttribute("aria-sort") !== "ascending";
    const body = head.closest("table").tBodies[0];
    const value = (row) => row.cells[column].dataset.value ?? row.cells[column].textContent;
    const rows = [...body.rows].sort((a, b) => {
      const [x, y] = [value(a), value(b)];
      if (x === "" || y === "") return (x === "") - (y === "");
      const order = isNaN(x) || isNaN(y) ? x.localeCompare(y) : x - y;
      return up ? order : -order;
    });
    head.parentNode.querySelectorAll("th").forEach((other) => other.removeAttribute("aria-sort"));
    head.setAttribute("aria-sort", up ? "ascending" : "descending");
    body.append(...rows);
  });
});
"""
_SHOWN = ("f1@0.5", "dice", "aji")


@dataclass(frozen=True)
class Table:
    """Rows of named values, with the columns of all of them in order of appearance."""

    title: str
    rows: Sequence[Mapping[str, Any]]
    note: str = ""
    sortable: bool = False


@dataclass(frozen=True)
class Chart:
    """An ``<svg>`` element that this package drew."""

    svg: str


@dataclass(frozen=True)
class Figure:
    """A JPEG file's bytes with a name, a remark, and the values of its caption."""

    name: str
    jpeg: bytes
    remark: str = ""
    values: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Page:
    """The parts of a page, in the order in which they are shown."""

    title: str
    tables: Sequence[Table] = ()
    charts: Sequence[Chart] = ()
    figures: Sequence[Figure] = ()
    legend: Sequence[tuple[str, tuple[int, int, int]]] = ()
    notes: Sequence[str] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)
    version: str = ""
    heading: str = "What was compared"

    def to_html(self) -> str:
        """The page; every text from outside is escaped."""
        first, rest = self.tables[:1], self.tables[1:]
        parts = [
            f"<h1>{_text(self.title)}</h1>",
            *map(_table, first),
            *(f'<p class="note">Note: {_text(note)}</p>' for note in self.notes),
            f'<div class="charts">{"".join(chart.svg for chart in self.charts)}</div>',
            *map(_table, rest[:-1]),
            _figures(self.figures, self.legend),
            *map(_table, rest[-1:]),
            f"<h2>{_text(self.heading)}</h2><pre>{_text(_json(self.settings))}</pre>",
            f"<p>unmask {_text(self.version)}</p>",
        ]
        return (
            '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
            f"<title>{_text(self.title)}</title>"
            '<meta name="viewport" content="width=device-width, initial-scale=1">'
            f"<style>{_STYLE}</style></head><body>\n"
            + "\n".join(parts)
            + f"\n<script>{_SCRIPT}</script></body></html>\n"
        )


def _table(table: Table) -> str:
    columns = list(dict.fromkeys(key for row in table.rows for key in row))
    button = "<button>{}</button>" if table.sortable else "{}"
    head = "".join(f"<th>{button.format(_text(column))}</th>" for column in columns)
    body = "\n".join(
        f"<tr>{''.join(_cell(row.get(column)) for column in columns)}</tr>" for row in table.rows
    )
    note = f'<p class="note">{_text(table.note)}</p>' if table.note else ""
    kind = ' class="sortable"' if table.sortable else ""
    return (
        f'<h2>{_text(table.title)}</h2>{note}<div class="wide"><table{kind}>'
        f"<thead><tr>{head}</tr></thead><tbody>\n{body}\n</tbody></table></div>"
    )


def _cell(value: Any) -> str:
    if isinstance(value, str):
        return f'<td class="text">{_text(value)}</td>'
    if value is None or not math.isfinite(value):
        return '<td class="none" data-value="">-</td>'
    shown = str(value) if isinstance(value, int) else f"{value:.4f}"
    return f'<td data-value="{float(value)!r}">{shown}</td>'


def _figures(figures: Sequence[Figure], legend: Sequence[tuple[str, tuple[int, int, int]]]) -> str:
    if not figures:
        return ""
    keys = "".join(
        f'<span><i style="background: rgb{color}"></i>{_text(word)}</span>'
        for word, color in legend
    )
    shown = "\n".join(map(_figure, figures))
    return f'<h2>Pictures</h2><p class="legend">{keys}</p><div class="figures">\n{shown}\n</div>'


def _figure(figure: Figure) -> str:
    values = [
        f"{name} {value:.3f}"
        for name, value in figure.values.items()
        if name in _SHOWN and isinstance(value, float) and math.isfinite(value)
    ]
    caption = _text(", ".join([figure.name, *values, *([figure.remark] if figure.remark else [])]))
    data = base64.b64encode(figure.jpeg).decode()
    return (
        f'<figure><img loading="lazy" alt="{caption}" src="data:image/jpeg;base64,{data}">'
        f"<figcaption>{caption}</figcaption></figure>"
    )


def _json(value: Mapping[str, Any]) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False, default=str)


def _text(text: str) -> str:
    return escape(printable(text))
