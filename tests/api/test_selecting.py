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


def test_regions_of_a_large_image(folder, tmp_path):
    """A quarter with stripes among noise; labeled regions come last."""
    rng = np.random.default_rng(0)
    image = rng.integers(0, 50, (96, 96)).astype(np.uint8)
    image[48:, 48:] += np.repeat([20, 200], 6).astype(np.uint8)[None].repeat(4, 0).ravel()[:48]
    save_image(tmp_path / "large.tif", image, axes="YX")
    chosen = api.select(tmp_path / "large.tif", count=2, regions=(48, 48))
    assert {each.box.start for each in chosen if each.box} >= {(48, 48)}
    labels = np.zeros((96, 96), np.uint8)
    labels[60:70, 60:70] = 1
    save_image(tmp_path / "labels.tif", labels, axes="YX")
    more = api.select(
        tmp_path / "large.tif", count=4, regions=(48, 48), labels=tmp_path / "labels.tif"
    )
    assert len(more) == 3
    assert all(each.box and each.box.start != (48, 48) for each in more)
    with pytest.raises(DataError, match="--regions"):
        api.select(tmp_path / "large.tif", count=2, regions=(8, 8, 8))


def test_a_model_names_its_doubts(folder):
    """The shipped model of nuclei looks at noise and stripes."""
    model = api.shipped_models()[0].name
    chosen = api.select(folder / "images", count=3, model=model, labels=folder / "labels")
    assert len(chosen) == 3
    assert "noise0" not in {each.name for each in chosen}
    assert all(each.doubt is None or 0 <= each.doubt <= 1 for each in chosen)
