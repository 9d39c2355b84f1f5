"""Pictures for people."""

from __future__ import annotations

import io
import json

import numpy as np
import pytest
from PIL import Image

from unmask.apps import pictures


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


def test_reconstructions():
    batch = np.random.default_rng(0).random((5, 1, 12, 12))
    named = {"original": batch, "masked": batch, "rebuilt": batch}
    assert pixels(pictures.reconstructions(named, count=2)).size
    assert pixels(pictures.reconstructions({"one": batch[:1]})).size


def test_curves(tmp_path):
    lines = [{"step": step, "loss": 1 / step, "validation/dice": None} for step in (1, 2, 3)]
    lines[1]["validation/dice"] = 0.5
    (tmp_path / "journal.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert pictures.series(tmp_path, "loss") == ([1, 2, 3], [1.0, 0.5, pytest.approx(1 / 3)])
    assert pictures.series(tmp_path, "validation/dice") == ([2], [0.5])
    assert pixels(pictures.curves({"run": tmp_path}, ["loss", "validation/dice"])).size
