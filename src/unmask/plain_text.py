"""Text from elsewhere, such as file names and cards, made safe to print and to write.

A name can hold characters that move a terminal's cursor, reverse the direction of the text around
them, or begin a formula in a spreadsheet (CWE-150, CWE-1236). They are shown as escapes instead.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Mapping

# C0 without tab and newline, DEL, C1, line separators, directions, and halves of pairs, which
# stand for bytes of names that are not UTF-8.
_UNSAFE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]"
)
_BREAKS = {"\t": "\\t", "\n": "\\n"}
# A spreadsheet takes a cell that begins so for a formula.
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")
_QUOTE = "'"


def printable(text: object, *, one_line: bool = False) -> str:
    r"""Text with escapes in place of characters that a terminal or a browser would obey.

    Args:
        text: anything; ``str`` of it is taken.
        one_line: escape tabs and line breaks too, as in a name.

    Examples:
        >>> printable("a\x1b[2Jb.tif"), printable("a\nb", one_line=True)
        ('a\\x1b[2Jb.tif', 'a\\nb')
    """
    safe = _UNSAFE.sub(lambda match: _escape(match[0]), str(text))
    return re.sub("[\t\n]", lambda match: _BREAKS[match[0]], safe) if one_line else safe


def json_text(text: str) -> str:
    """JSON text with unsafe characters as JSON escapes: it reads back to the same values."""
    return _UNSAFE.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


def to_cell(value: object) -> object:
    """A value for CSV: text that a spreadsheet would compute gets a quote in front.

    Examples:
        >>> to_cell("=1+1"), to_cell(-1.5), to_cell("a.tif")
        ("'=1+1", -1.5, 'a.tif')
    """
    return printable(guard_formula(value)) if isinstance(value, str) else value


def guard_formula(text: str) -> str:
    """The text with a quote in front if a spreadsheet would compute it."""
    guarded = text.startswith((*_FORMULA, *(_QUOTE + sign for sign in (*_FORMULA, _QUOTE))))
    return f"{_QUOTE}{text}" if guarded else text


def from_cell(text: str) -> str:
    """What ``guard_formula`` was given.

    Examples:
        >>> from_cell("'=1+1"), from_cell("'a'")
        ('=1+1', "'a'")
    """
    guarded = text.startswith(tuple(_QUOTE + sign for sign in (*_FORMULA, _QUOTE)))
    return text[1:] if guarded and guard_formula(text[1:]) == text else text


def csv_text(
    columns: Iterable[str], rows: Iterable[Mapping[str, object] | Iterable[object]]
) -> str:
    """CSV of a first line of columns and of rows, given by column or in order."""
    names = list(columns)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([to_cell(name) for name in names])
    for row in rows:
        cells = [row.get(name) for name in names] if isinstance(row, Mapping) else row
        writer.writerow([to_cell(cell) for cell in cells])
    return text.getvalue()


def _escape(character: str) -> str:
    number = ord(character)
    return f"\\x{number:02x}" if number < 256 else f"\\u{number:04x}"
