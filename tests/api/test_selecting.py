"""``select`` from the command line and from Python."""

from __future__ import annotations

import numpy as np
import pytest

from unmask import api
from unmask.errors import DataError
from unmask.io import save_image


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Six dark images with bright noise, two of stripes, and a label of one of the former."""
    folder = tmp_path_factory.mktemp("select")
    rng = np.random.default_rng(0)
    for number in range(6):
        image = rng.integers(0, 50, (48, 48)).astype(np.uint8)
        save_image(folder / "images" / f"noise{number}.png", image, axes="YX")
    for number in range(2):
        image = np.tile(np.repeat([20, 220], 6), 4)[None].repeat(48, 0).astype(np.uint8)
        image += rng.integers(0, 9, image.shape).astype(np.uint8)
        save_image(folder / "images" / f"stripe{number}.png", image, axes="YX")
    save_image(folder / "labels" / "noise0.png", np.ones((48, 48), np.uint8), axes="YX")
    return folder


def test_both_kinds_are_chosen(folder):
    chosen = api.select(folder / "images", count=2)
    assert [each.name[:5] for each in chosen] == ["noise", "strip"]
    assert [each.like for each in chosen] == [6, 2]


def test_what_is_labeled_is_left_out(folder):
    chosen = api.select(folder / "images", count=1, labels=folder / "labels")
    assert chosen[0].name.startswith("stripe")
    every = api.select(folder / "images", count=50, labels=folder / "labels")
    assert len(every) == 7
    assert "noise0" not in {each.name for each in every}


def test_command(folder, command, tmp_path):
    answer = command("select", folder / "images", "--count", "2", "--out", tmp_path / "list.txt")
    assert answer.code == 0, answer.err
    lines = (tmp_path / "list.txt").read_text().splitlines()
    assert len(lines) == 2
    assert all(line in answer.out for line in lines)


def test_one_image_is_refused(folder):
    with pytest.raises(DataError, match="two images"):
        api.select(folder / "images" / "noise0.png", count=1)


def test_every_bad_image_is_named(folder, tmp_path):
    for name in ("a.png", "b.png"):
        (tmp_path / name).write_bytes(b"no image")
    with pytest.raises(DataError, match=r"a\.png[\s\S]*b\.png"):
        api.select(tmp_path, count=1)
