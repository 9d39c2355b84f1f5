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
.figures.rows { grid-template-columns: minmax(15rem, 60rem); }
figure { margin: 0; break-inside: avoid; }
figure img { width: 100%; border: 1px solid #e3e7ee; image-rendering: auto; }
figcaption { color: #47505f; font-size: .85rem; overflow-wrap: anywhere; }
.charts { display: flex; flex-wrap: wrap; gap: 1rem; }
.charts svg { max-width: 100%; height: auto; font: 10px system-ui, sans-serif; fill: #47505f; }
svg .t { font-size: 12px; font-weight: 600; text-anchor: middle; fill: #1c2330; }
svg .x { text-anchor: middle; } svg .y { text-anchor: end; }
svg .g { stroke: #e3e7ee; fill: none; } svg .a { stroke: #6b7484; fill: none; }
svg .m { stroke: #6b7484; stroke-dasharray: 4 4; fill: none; }
.legend span { display: inline-block; margin-right: 1.2rem; }
.legend i { display: inline-block; width: .9rem; height: .9rem; margin-right: .4rem;
  vertical-align: -.1rem; }
.note { color: #47505f; }
pre { background: #f5f7fa; padding: 1rem; overflow-x: auto; white-space: pre-wrap; }
@media (min-width: 60rem) { pre.long { columns: 3; } }
@media print { body { margin: 0; max-width: none; } .wide { overflow: visible; }
  .figures:not(.rows) { grid-template-columns: repeat(4, 1fr); } h2 { break-after: avoid; }
  svg { break-inside: avoid; } * { print-color-adjust: exact; } }
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
# Longer texts stand in columns.
_LONG = 60
_SHOWN = ("f1@0.5", "dice", "aji")


@dataclass(frozen=True)
class Table:
    """Rows of named values, with the columns of all of them in order of appearance."""

    title: str
    rows: Sequence[Mapping[str, Any]]
    note: str = ""
    sortable: bool = False


@dataclass(frozen=True)
class Charts:
    """``<svg>`` elements that this package drew, side by side."""

    svgs: Sequence[str]
    title: str = ""
    note: str = ""


@dataclass(frozen=True)
class Figure:
    """A picture's bytes (JPEG or PNG) with a name, a remark, and the values of its caption."""

    name: str
    picture: bytes
    remark: str = ""
    values: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Figures:
    """Pictures with a legend of colors; ``wide`` ones stand below each other."""

    title: str
    figures: Sequence[Figure]
    legend: Sequence[tuple[str, tuple[int, int, int]]] = ()
    note: str = ""
    wide: bool = False


@dataclass(frozen=True)
class Lines:
    """Sentences below each other; ``pre`` keeps their line breaks and spaces, as in commands."""

    lines: Sequence[str]
    title: str = ""
    pre: bool = False


Section = Table | Charts | Figures | Lines


@dataclass(frozen=True)
class Page:
    """Sections in the order in which they are shown; empty ones are left out."""

    title: str
    sections: Sequence[Section]
    version: str = ""

    def to_html(self) -> str:
        """The page; every text from outside is escaped."""
        parts = [f"<h1>{_text(self.title)}</h1>", *map(_section, self.sections)]
        parts.append(f"<p>unmask {_text(self.version)}</p>")
        return (
            '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
            f"<title>{_text(self.title)}</title>"
            '<meta name="viewport" content="width=device-width, initial-scale=1">'
            f"<style>{_STYLE}</style></head><body>\n"
            + "\n".join(part for part in parts if part)
            + f"\n<script>{_SCRIPT}</script></body></html>\n"
        )


def notes(texts: Sequence[str]) -> Lines:
    """Notes as a section."""
    return Lines([f"Note: {text}" for text in texts])


def values(title: str, entries: Mapping[str, Any]) -> Lines:
    """Settings and origins as a section."""
    return Lines([_json(entries)], title, pre=True)


def _section(section: Section) -> str:
    match section:
        case Table():
            return _table(section) if section.rows else ""
        case Charts():
            svgs = "".join(section.svgs)
            head = _head(section.title, section.note)
            return f'{head}<div class="charts">{svgs}</div>' if svgs else ""
        case Figures():
            return _figures(section)
        case Lines():
            return _lines(section)


def _lines(section: Lines) -> str:
    if not section.lines:
        return ""
    head = _head(section.title)
    if section.pre:
        text = "\n".join(section.lines)
        kind = ' class="long"' if text.count("\n") > _LONG else ""
        return f"{head}<pre{kind}>{_text(text)}</pre>"
    return head + "\n".join(f'<p class="note">{_text(line)}</p>' for line in section.lines)


def _head(title: str, note: str = "") -> str:
    head = f"<h2>{_text(title)}</h2>" if title else ""
    return head + (f'<p class="note">{_text(note)}</p>' if note else "")


def _table(table: Table) -> str:
    columns = list(dict.fromkeys(key for row in table.rows for key in row))
    button = "<button>{}</button>" if table.sortable else "{}"
    head = "".join(f"<th>{button.format(_text(column))}</th>" for column in columns)
    body = "\n".join(
        f"<tr>{''.join(_cell(row.get(column)) for column in columns)}</tr>" for row in table.rows
    )
    kind = ' class="sortable"' if table.sortable else ""
    return (
        f'{_head(table.title, table.note)}<div class="wide"><table{kind}>'
        f"<thead><tr>{head}</tr></thead><tbody>\n{body}\n</tbody></table></div>"
    )


def _cell(value: Any) -> str:
    if isinstance(value, str):
        return f'<td class="text">{_text(value)}</td>'
    if value is None or not math.isfinite(value):
        return '<td class="none" data-value="">-</td>'
    shown = str(value) if isinstance(value, int) else f"{value:.4f}"
    return f'<td data-value="{float(value)!r}">{shown}</td>'


def _figures(section: Figures) -> str:
    if not section.figures:
        return ""
    keys = "".join(
        f'<span><i style="background: rgb{color}"></i>{_text(word)}</span>'
        for word, color in section.legend
    )
    legend = f'<p class="legend">{keys}</p>' if keys else ""
    shown = "\n".join(map(_figure, section.figures))
    head = _head(section.title, section.note)
    kind = "figures rows" if section.wide else "figures"
    return f'{head}{legend}<div class="{kind}">\n{shown}\n</div>'


def _figure(figure: Figure) -> str:
    values = [
        f"{name} {value:.3f}"
        for name, value in figure.values.items()
        if name in _SHOWN and isinstance(value, float) and math.isfinite(value)
    ]
    caption = _text(", ".join([figure.name, *values, *([figure.remark] if figure.remark else [])]))
    data = base64.b64encode(figure.picture).decode()
    kind = "png" if figure.picture.startswith(b"\x89PNG") else "jpeg"
    return (
        f'<figure><img decoding="async" alt="{caption}" src="data:image/{kind};base64,{data}">'
        f"<figcaption>{caption}</figcaption></figure>"
    )


def _json(value: Mapping[str, Any]) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False, default=str)


def _text(text: str) -> str:
    return escape(printable(text))
