"""``evaluate --out report.html`` with the images under the outlines."""

from __future__ import annotations

import numpy as np
import pytest

from unmask.io import save_image


@pytest.fixture
def folder(tmp_path):
    labels = np.zeros((40, 40), np.uint8)
    labels[5:15, 5:15] = 1
    labels[20:30, 20:30] = 2
    for name in ("a", "b"):
        save_image(tmp_path / "truth" / f"{name}.png", labels, axes="YX")
        save_image(tmp_path / "out" / f"{name}.png", labels * (labels == 1), axes="YX")
        save_image(tmp_path / "img" / f"{name}.png", labels * 90, axes="YX")
    return tmp_path


def test_a_page_with_pictures(folder, command):
    page = folder / "report.html"
    answer = command(
        "evaluate", "--truth", folder / "truth", "--predicted", folder / "out",
        "--images", folder / "img", "--out", page,
    )  # fmt: skip
    assert answer.code == 0, answer.err
    text = page.read_text(encoding="utf-8")
    assert text.count("data:image/jpeg;base64,") == 2
    assert str(folder / "img") in text


def test_an_image_that_is_missing_is_named(folder, command):
    (folder / "img" / "b.png").unlink()
    page = folder / "report.html"
    answer = command(
        "evaluate", "--truth", folder / "truth", "--predicted", folder / "out",
        "--images", folder / "img", "--out", page,
    )  # fmt: skip
    assert answer.code == 2
    assert "b: expected an image" in answer.err
    assert not page.exists()
