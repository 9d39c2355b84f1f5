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


@pytest.mark.parametrize("shape", [(1, 20, 24), (3, 20, 24), (5, 20, 24), (1, 6, 20, 24)])
def test_triptych(shape):
    image = np.random.default_rng(0).random(shape, dtype=np.float32)
    labels = np.zeros(shape[1:], np.uint16)
    labels[..., 5:12, 5:12] = 70
    one = pixels(pictures.triptych([(image, labels, labels)]))
    two = pixels(pictures.triptych([(image, labels, labels), (image, labels * 0, labels)]))
    assert two.shape[0] == pytest.approx(2 * one.shape[0], abs=4)
    assert (one != 255).mean() > 0.2


def test_constant_images_can_be_shown():
    flat = np.full((1, 8, 8), 3.0, np.float32)
    assert pixels(pictures.triptych([(flat, np.zeros((8, 8), int), np.ones((8, 8), int))])).size


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
