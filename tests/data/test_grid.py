"""What the network sees of an image, and the way back to the file's grid."""

import numpy as np
import pytest

import unmask.data.grid as module
from unmask.data.grid import AS_IT_IS, View
from unmask.data.pairs import Layout, Pair, apply_view, audit_pairs
from unmask.errors import DataError
from unmask.io import Image, save_image
from unmask.space import Box

RNG = np.random.default_rng(1)
SPACES = {1: (40,), 2: (30, 41), 3: (12, 30, 41)}
SIZES = {1: (0.5,), 2: (0.5, 0.7), 3: (3.0, 0.5, 0.7)}


def image(ndim, channels=2, dtype=np.int16):
    array = (RNG.normal(size=(channels, *SPACES[ndim])) * 300).astype(dtype)
    return Image.from_array(array, spacing=SIZES[ndim], axes="CZYX"[:1] + "ZYX"[-ndim:])


def organs(ndim):
    """Ellipsoids of three ids."""
    places = np.indices(SPACES[ndim])
    labels = np.zeros(SPACES[ndim], np.uint16)
    for number, (center, radius) in enumerate([(0.3, 0.25), (0.7, 0.25), (0.5, 0.1)], 1):
        scaled = [(p / n - center) / radius for p, n in zip(places, SPACES[ndim], strict=True)]
        labels[sum(s**2 for s in scaled) < 1] = 100 * number
    return labels


@pytest.mark.parametrize("ndim", [2, 3])
@pytest.mark.parametrize("foreground", [None, 600.0])
def test_shapes_and_sizes(ndim, foreground):
    one = image(ndim)
    place = View((1.0,) * ndim, foreground).place(one)
    seen = place.seen(one)
    expected = [round(n * s) for n, s in zip(place.box.shape, SIZES[ndim], strict=True)]
    assert seen.shape == (2, *expected)
    assert seen.read().shape == seen.shape
    assert seen.spacing == pytest.approx((1.0,) * ndim, rel=0.05)
    assert seen.dtype == one.dtype
    assert seen.name == one.name
    assert seen.source == one.source
    labels = np.ones(expected, np.uint16)
    assert place.back(labels).shape == SPACES[ndim]
    assert place.back_scores(np.ones((3, *expected), np.float32)).shape == (3, *SPACES[ndim])
    outside = place.back(labels) == 0
    assert not outside[place.box.slices].any()
    assert outside.sum() == outside.size - place.box.size


@pytest.mark.parametrize("ndim", [2, 3])
def test_parts_equal_that_part_of_the_whole(ndim, monkeypatch):
    one, labels = image(ndim), Image.from_array(organs(ndim), spacing=SIZES[ndim])
    place = View((0.8,) * ndim, 700.0).place(one)
    whole, ids = place.seen(one).read(), place.seen_labels(labels).read()
    back = place.back(ids[0])
    monkeypatch.setattr(module, "_SLAB_BYTES", 300)
    np.testing.assert_array_equal(place.seen(one).read(), whole)
    for _ in range(10):
        ends = [sorted(RNG.integers(0, n + 1, 2)) for n in place.shape]
        box = Box(tuple(int(a) for a, _ in ends), tuple(int(b) for _, b in ends))
        np.testing.assert_array_equal(place.seen(one).read(box), whole[(slice(None), *box.slices)])
        ends = [sorted(RNG.integers(0, n + 1, 2)) for n in place.whole]
        box = Box(tuple(int(a) for a, _ in ends), tuple(int(b) for _, b in ends))
        seen = Image.from_array(ids, axes="C" + "ZYX"[-ndim:])
        np.testing.assert_array_equal(place.part_back(seen, box), back[box.slices])


def test_labels_survive_the_way_there_and_back():
    labels = organs(3)
    place = View((1.5, 0.6, 0.6)).place(Image.from_array(labels, spacing=SIZES[3]))
    seen = place.seen_labels(Image.from_array(labels[None], axes="CZYX")).read()[0]
    back = place.back(seen)
    assert set(np.unique(back)) == set(np.unique(labels))
    for value in (100, 200):
        shared = ((back == value) & (labels == value)).sum()
        assert 2 * shared / ((back == value).sum() + (labels == value).sum()) > 0.97


def test_the_same_grid_is_the_same_image():
    one = image(3)
    for view in (AS_IT_IS, View(SIZES[3]), View(None, -1e9)):
        place = view.place(one)
        assert place.still
        assert place.seen(one) is one
        labels = organs(3)
        assert place.back(labels) is labels


def test_the_foreground_is_the_box_of_bright_voxels(monkeypatch):
    array = np.full((10, 12, 14), -1000, np.int16)
    array[2, 3, 4] = array[7, 8, 9] = 0
    for slab in (1 << 26, 100):
        monkeypatch.setattr(module, "_SLAB_BYTES", slab)
        place = View(None, -500).place(Image.from_array(array, ndim=3))
        assert place.box == Box((2, 3, 4), (8, 9, 10))
    assert View(None, 0).place(Image.from_array(array, ndim=3)).still


def test_a_grid_so_coarse_that_one_voxel_is_left():
    one = image(3)
    place = View((1e6,) * 3).place(one)
    assert place.seen(one).read().shape == (2, 1, 1, 1)


def test_values_that_are_not_finite_are_named_by_their_place_in_the_file(tmp_path):
    array = np.zeros((9, 20, 20), np.float32)
    array[5, 17, 3] = np.nan
    save_image(tmp_path / "scan.nii", array, spacing=(2, 1, 1))
    pair = audit_pairs(tmp_path / "scan.nii", None, Layout(3)).pairs[0]
    for spacing in ((1.0,) * 3, (0.7,) * 3):
        seen = View(spacing).place(pair.image).seen(pair.image)
        with pytest.raises(DataError, match=r"scan\.nii.*channel 0 at z 5, y 17, x 3"):
            seen.read()


def test_images_of_unknown_voxel_size_are_refused_all_at_once(tmp_path):
    for name in "ab":
        save_image(tmp_path / f"{name}.tif", np.zeros((4, 8, 8), np.uint8), axes="ZYX")
    layout = Layout(3, view=View((1.0,) * 3))
    audit = audit_pairs(tmp_path, None, layout)
    assert len(audit.problems) == 2
    assert "data.spacing=[1.0, 1.0, 1.0], found none" in audit.problems[0]
    bare = [Pair(n, Image.from_array(np.zeros((4, 8, 8)), ndim=3, name=n)) for n in "ab"]
    with pytest.raises(DataError, match="2 problem"):
        apply_view(bare, layout.view)
    assert len(apply_view(bare, AS_IT_IS)) == 2


def test_another_number_of_axes_is_refused():
    with pytest.raises(DataError, match=r"2 spatial axes as data\.spacing has"):
        View((1.0, 1.0)).place(image(3))


@pytest.mark.parametrize("ndim", [2, 3])
def test_a_grid_of_another_unit_is_refused(ndim):
    image = Image.from_array(np.zeros((8,) * ndim, np.uint8), spacing=(1.0,) * ndim, ndim=ndim)
    with pytest.raises(DataError, match="units of both"):
        View(spacing=(1e-6,) * ndim).place(image)
    assert View(spacing=(0.25,) * ndim).place(image).shape == (32,) * ndim
