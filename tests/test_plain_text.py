"""Names and texts from elsewhere on terminals, in reports and in spreadsheets."""

from __future__ import annotations

import csv
import io
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unmask.errors import CheckpointError, DataError, RecipeError, SaveError, UnmaskError, message
from unmask.plain_text import csv_text, from_cell, guard_formula, json_text, printable, to_cell

NASTY = "a\x1b[2J\x9b1m\x07\u202egnp.tif\udcff\u2028\r"
TEXTS = st.text(st.characters(exclude_categories=[]))


@given(TEXTS)
def test_nothing_printed_is_obeyed(text):
    safe = printable(text, one_line=True)
    assert all(ord(c) >= 32 and not 127 <= ord(c) < 160 for c in safe)
    assert not set(safe) & set("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u2028\u2029")
    safe.encode("utf-8")
    assert printable(safe, one_line=True) == safe


@given(st.text(st.characters(categories=["L", "N", "P", "S", "Zs"])))
def test_usual_text_stays(text):
    assert printable(text, one_line=True) == text


def test_lines_of_messages_stay():
    assert printable("a:\n\t- b") == "a:\n\t- b"


@given(TEXTS)
def test_json_reads_back(text):
    written = json_text(json.dumps({text: text}, ensure_ascii=False, indent=1))
    assert json.loads(written) == {text: text}
    written.encode("utf-8")


@given(TEXTS)
def test_guarded_cells_read_back(text):
    assert from_cell(guard_formula(text)) == text


@pytest.mark.parametrize("sign", ["=", "+", "-", "@", "\t", "\r", "\n"])
def test_no_cell_is_a_formula(sign):
    assert str(to_cell(f"{sign}cmd|' /C calc'!A0")).startswith("'")
    text = csv_text([f"{sign}name", "x"], [[f"{sign}a", -1.5], {f"{sign}name": "b", "x": None}])
    rows = list(csv.reader(io.StringIO(text)))
    assert [row[0][0] for row in rows] == ["'", "'", "b"]
    assert rows[1][1] == "-1.5"


@pytest.mark.parametrize("kind", [UnmaskError, DataError, RecipeError, CheckpointError, SaveError])
def test_messages_are_safe_and_keep_their_lines(kind):
    text = str(kind(f"{NASTY}: one\n  - two"))
    assert text == printable(f"{NASTY}: one\n  - two")
    assert "\x1b" not in text
    assert text.count("\n") == 1


def test_a_name_stays_in_its_line():
    text = message("a\nError: b.tif", expected="1", found="2", do="3.")
    assert "\n" not in text
