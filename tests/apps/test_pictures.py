"""Pictures for people."""

from __future__ import annotations

import io
import json

import numpy as np
import pytest
from PIL import Image

from unmask.apps import pictures
from unmask.training.journal import read_journal


def pixels(png: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(png)) as image:
        assert image.format == "PNG"
        return np.asarray(image.convert("RGB"))


def test_curves(tmp_path):
    lines = [{"step": step, "loss": 1 / step, "validation/dice": None} for step in (1, 2, 3)]
    lines[1] |= {"validation/dice": 0.5, "warning": "text"}
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (tmp_path / "journal.jsonl").write_text(text + '{"step": 4, "lo')  # a kill amid a line
    journal = read_journal(tmp_path)
    assert pictures.series(journal, "loss") == ([1, 2, 3], [1.0, 0.5, pytest.approx(1 / 3)])
    assert pictures.series(journal, "validation/dice") == ([2], [0.5])
    assert pictures.series(journal, "warning") == ([], [])
    one = pixels(pictures.curves({"run": tmp_path}, ["loss"]))
    both = pixels(pictures.curves({"run": tmp_path}))
    assert both.shape[1] == pytest.approx(2 * one.shape[1], abs=4)
    svg = pictures.curves({"run": tmp_path}, form="svg")
    assert svg == pictures.curves({"run": tmp_path}, form="svg")
