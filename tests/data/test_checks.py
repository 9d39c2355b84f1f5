"""What labels hold: swapped folders, empty labels, masks for objects, images of the validation."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unmask.data.checks import check_content
from unmask.data.fingerprint import digest, same_images
from unmask.data.outputs import keep_inputs, mixed_note, refuse_inside
from unmask.data.pairing import Layout, Pair
from unmask.data.pairs import open_pairs
from unmask.errors import DataError
from unmask.io import Image, open_image, save_image


def scene(ndim, seed=0, objects=6):
    """A noisy image, its numbered objects."""
    rng = np.random.default_rng(seed)
    shape = (12, 40, 40)[-ndim:]
    labels = np.zeros(shape, np.uint16)
    for number in range(1, objects + 1):
        start = [6 * (number % 3) + (14 if axis else 0) * (number // 3) for axis in range(ndim)]
        box = tuple(slice(min(a, n - 5), min(a, n - 5) + 4)
                    for a, n in zip(start, shape, strict=True))  # fmt: skip
        labels[box] = number
    image = rng.integers(20, 90, shape).astype(np.uint8) + (labels > 0) * np.uint8(100)
    return image, labels


def pair(image, labels, name="a"):
    ndim = labels.ndim
    return Pair(
        name,
        Image.from_array(image, name=f"{name}.png", ndim=ndim),
        Image.from_array(labels, name=f"{name}_labels.png", ndim=ndim),
    )


@pytest.mark.parametrize("ndim", [2, 3])
def test_good_labels_are_not_remarked_on(ndim):
    pairs = [pair(*scene(ndim, seed), name=str(seed)) for seed in range(20)]
    assert check_content(pairs, objects=True) == ([], [])
    assert check_content(pairs, objects=False) == ([], [])
    assert check_content([], objects=True) == ([], [])


@pytest.mark.parametrize("ndim", [2, 3])
def test_swapped_folders(ndim):
    pairs = [pair(*scene(ndim, seed)[::-1], name=str(seed)) for seed in range(3)]
    problems, _ = check_content(pairs, objects=False)
    assert len(problems) == 1
    assert "Exchange --images and --labels" in problems[0]
    assert "and 2 more" in problems[0]


@pytest.mark.parametrize("ndim", [2, 3])
def test_the_image_as_its_labels(ndim):
    image, _ = scene(ndim)
    problems, _ = check_content([pair(image, image.copy())], objects=True)
    assert "the pixels of the image itself" in problems[0]


@pytest.mark.parametrize("ndim", [2, 3])
def test_labels_without_an_object(ndim):
    empty = [pair(image, 0 * labels) for image, labels in (scene(ndim), scene(ndim, 1))]
    problems, _ = check_content(empty, objects=False)
    assert "found 0 everywhere" in problems[0]
    assert check_content([*empty, pair(*scene(ndim))], objects=True) == ([], [])
    image, labels = scene(ndim)
    ignored = [pair(image, np.where(labels > 0, 255, 0).astype(np.uint8))]
    assert check_content(ignored, objects=False, ignore=255)[0]


@pytest.mark.parametrize("ndim", [2, 3])
@pytest.mark.parametrize("value", [1, 255])
def test_masks_where_objects_are_numbered(ndim, value):
    pairs = [
        pair(image, (labels > 0).astype(np.uint8) * value)
        for image, labels in (scene(ndim), scene(ndim, 1))
    ]
    problems, notes = check_content(pairs, objects=True)
    assert f"one id ({value}) in" in problems[0]
    assert "semantic2d" in problems[0]
    assert notes == []
    assert check_content(pairs, objects=False) == ([], [])
    # Among numbered objects it is one remark.
    problems, notes = check_content([pairs[0], pair(*scene(ndim))], objects=True)
    assert problems == []
    assert "1 id in" in notes[0]


def test_one_object_is_not_a_mask():
    image, labels = scene(2, objects=1)
    assert check_content([pair(image, labels)], objects=True) == ([], [])


@settings(max_examples=30)
@given(st.integers(1, 3), st.integers(1, 3), st.integers(0, 5), st.booleans())
def test_any_content_is_looked_at(height, width, value, objects):
    labels = np.full((height, width), value, np.uint8)
    problems, notes = check_content([pair(labels + 1, labels)], objects=objects)
    assert bool(problems) == (value == 0)
    assert notes == []


def test_same_images_are_found_by_their_pixels(tmp_path):
    image, other = scene(2)[0], scene(2, 1)[0]
    for name, array in (("a.png", image), ("b.tif", image), ("c.png", other), ("d.png", image)):
        save_image(tmp_path / name, array)
    (tmp_path / "e.png").symlink_to(tmp_path / "a.png")
    opened = {name: Pair(name, open_image(tmp_path / name)) for name in
              ("a.png", "b.tif", "c.png", "d.png", "e.png")}  # fmt: skip
    rest = [opened[name] for name in ("b.tif", "c.png", "d.png", "e.png")]
    found = same_images([opened["a.png"]], rest)
    assert [other.name for _, other in found] == ["b.tif", "d.png", "e.png"]
    # Equal in the middle alone is not equal.
    large = np.zeros((200, 200), np.uint8)
    edge = large.copy()
    edge[0, 0] = 1
    pairs = [Pair(str(i), Image.from_array(each)) for i, each in enumerate((large, edge))]
    assert same_images(pairs[:1], pairs[1:]) == []
    assert digest(large[None]) != digest(edge[None])
    assert digest(large[None]) == digest(large[None].copy(order="F"))


def test_outputs_stay_out_of_the_folders_of_images(tmp_path):
    images, labels = tmp_path / "i", tmp_path / "l"
    for folder in (images, labels):
        save_image(folder / "a.png", np.eye(4, dtype=np.uint8))
    (tmp_path / "link").symlink_to(images, target_is_directory=True)
    for out in (images, images / "run", labels / "x" / "y", tmp_path / "link" / "run"):
        with pytest.raises(DataError, match="expected a folder of its own for the run"):
            refuse_inside(out, str(images), labels, None)
    refuse_inside(tmp_path / "run", images, labels)
    # A file says nothing of its folder.
    refuse_inside(images / "run", images / "a.png", f"{images}/*.png", np.eye(3))


def test_labels_among_images_are_reported(tmp_path):
    images, other, out = tmp_path / "images", tmp_path / "other", tmp_path / "out"
    save_image(images / "a.png", np.eye(4, dtype=np.uint8))
    save_image(other / "b.png", np.eye(4, dtype=np.uint8))
    save_image(out / "c.tif", np.eye(4, dtype=np.uint8))
    pairs = open_pairs(images, None, Layout(2))
    for folder in (images, other):
        (note,) = mixed_note(pairs, [folder / "a.tif"], folder)
        assert "the labels lie among them" in note
    # Results of other images, and a new folder.
    for folder in (out, tmp_path / "new"):
        assert mixed_note(pairs, [folder / "a.tif"], folder) == []


def test_nothing_in_a_folder_of_images_is_replaced(tmp_path):
    save_image(tmp_path / "a.png", np.eye(4, dtype=np.uint8))
    save_image(tmp_path / "a.tif", np.ones((4, 4), np.uint8))
    pairs = open_pairs(tmp_path / "a.png", None, Layout(2))
    with pytest.raises(DataError, match=r"expected no file of the output's name.*a\.tif"):
        keep_inputs(pairs, tmp_path)
    keep_inputs(pairs, tmp_path, resume=True)
    (tmp_path / "a.tif").unlink()
    keep_inputs(pairs, tmp_path)


def test_files_that_cannot_be_read_are_left_to_others(tmp_path):
    image, labels = scene(2)
    for name in "ab":
        save_image(tmp_path / "i" / f"{name}.png", image)
        save_image(tmp_path / "l" / f"{name}.png", labels)
    pairs = open_pairs(tmp_path / "i", tmp_path / "l", Layout(2))
    for name in "ab":
        path = tmp_path / "l" / f"{name}.png"
        path.write_bytes(path.read_bytes()[:-40])
    assert check_content(pairs, objects=True) == ([], [])
