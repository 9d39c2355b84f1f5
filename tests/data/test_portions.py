"""Large images are looked at in boxes: all of them, or an even sample that is reported."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from unmask.data import portions as module
from unmask.data.pairs import Layout, audit_pairs
from unmask.data.portions import middle_box, portions
from unmask.io import Image, open_image, save_image
from unmask.io.zarr import create_zarr


@pytest.mark.parametrize("shape", [(3, 200, 150), (1, 70, 130, 65)])
def test_boxes_cover_the_image_once(monkeypatch: Any, shape: tuple[int, ...]) -> None:
    monkeypatch.setattr(module, "_WHOLE_BYTES", 1000)
    monkeypatch.setattr(module, "_PORTION_BYTES", 64 ** (len(shape) - 1))
    array = np.zeros(shape, np.uint8)
    image = Image.from_array(array, axes="CZYX"[-len(shape) :] if len(shape) > 3 else "CYX")
    parts = portions(image)
    assert len(parts.boxes) == parts.total > 1
    assert parts.note == ""
    count = np.zeros(shape[1:], int)
    for box, values in parts.read():
        assert values.shape[1:] == box.shape
        count[box.slices] += 1
    assert (count == 1).all()


@pytest.mark.parametrize("ndim", [2, 3])
def test_images_beyond_memory_are_sampled(tmp_path: Path, ndim: int) -> None:
    edge = 2**20 if ndim == 2 else 2**14
    for name in ("images", "labels"):
        store = create_zarr(
            tmp_path / name / "a.zarr", (edge,) * ndim, "uint8",
            axes="ZYX"[-ndim:], chunks=(2 ** (12 if ndim == 2 else 8),) * ndim,
        )  # fmt: skip
        del store
    image = open_image(tmp_path / "images" / "a.zarr")
    parts = portions(image)
    assert 16 < len(parts.boxes) <= 32
    assert "blocks of" in parts.note
    assert portions(image).boxes == parts.boxes
    box = middle_box(image)
    assert all(0 < a < b < edge for a, b in zip(box.start, box.stop, strict=True))


def test_check_reads_large_pairs_in_boxes(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(module, "_WHOLE_BYTES", 1000)
    monkeypatch.setattr(module, "_PORTION_BYTES", 64**2 * 4)
    values = np.ones((200, 150), np.float32)
    save_image(tmp_path / "i" / "a.zarr", values)
    labels = np.zeros((200, 150), np.uint16)
    labels[190:, 140:] = 3
    save_image(tmp_path / "l" / "a.zarr", labels)
    audit = audit_pairs(tmp_path / "i", tmp_path / "l", Layout(2), read=True)
    assert not audit.problems
    assert [note.split(": ")[1] for note in audit.notes] == ["all values are equal (1.0)."]
    values[199, 149] = np.nan
    save_image(tmp_path / "i" / "a.zarr", values)
    audit = audit_pairs(tmp_path / "i", None, Layout(2), read=True)
    assert "channel 0 at y 199, x 149" in audit.problems[0]


def test_check_reports_lost_chunks(tmp_path: Path) -> None:
    save_image(tmp_path / "a.zarr", np.arange(700 * 600, dtype=np.uint32).reshape(700, 600))
    next((tmp_path / "a.zarr" / "0" / "c" / "0").iterdir()).unlink()
    audit = audit_pairs(tmp_path / "a.zarr", None, Layout(2), read=True)
    assert any("chunks are not there" in note for note in audit.notes)
