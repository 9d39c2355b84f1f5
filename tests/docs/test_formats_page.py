"""The table of formats in the docs is that of the program."""

from __future__ import annotations

import re
from pathlib import Path

from unmask.io.formats import FORMATS

PAGE = Path(__file__).resolve().parents[2] / "docs" / "howto" / "formats.md"


def test_the_table_lists_every_format_and_suffix():
    listed: dict[str, tuple[set[str], bool]] = {}
    for line in PAGE.read_text(encoding="utf-8").splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if line.startswith("| ") and len(cells) == 7 and cells[1].startswith("."):
            listed[cells[0]] = (set(cells[1].split()), cells[2] in ("yes", "labels"))
    known: dict[str, set[str]] = {}
    for suffix, form in FORMATS.items():
        known.setdefault(form.name, set()).add(suffix)
    assert {name: suffixes for name, (suffixes, _) in listed.items()} == known
    for form in FORMATS.values():
        assert listed[form.name][1] == (form.save is not None), form.name


def test_every_extra_of_the_page_exists():
    text = (PAGE.parents[2] / "pyproject.toml").read_text(encoding="utf-8")
    extras = {line.rsplit("|", 2)[1].strip() for line in PAGE.read_text().splitlines()
              if line.startswith("| ") and line.count("|") == 8} - {"", "extra"}  # fmt: skip
    assert extras
    everything = re.search(r"^formats = \[(.*)\]", text, re.MULTILINE)
    assert everything
    for extra in extras:
        found = re.search(rf"^{re.escape(extra)} = \[(.*)\]", text, re.MULTILINE)
        assert found, extra
        assert set(found[1].split(", ")) <= set(everything[1].split(", "))
