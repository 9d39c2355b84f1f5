import numpy as np
import pytest

from unmask.datasets.betaseg import SET
from unmask.datasets.writing import write_set
from unmask.errors import DataError
from unmask.io import open_image, open_labels, save_image


def prepare(archive, out):
    return write_set(SET, archive, out, partial=True, options={}).counts


KINDS = ("granules", "mitochondria_mask", "nucleus_mask", "membrane_full_mask")


def archive(folder, names=("high_c1", "high_c4", "low_c2"), *, beside=()):
    rng = np.random.default_rng(0)
    made = {}
    for name in names:
        image = rng.integers(0, 255, (20, 7, 9)).astype(np.uint8)
        masks = {kind: np.zeros((20, 7, 9), np.uint16) for kind in KINDS}
        masks["membrane_full_mask"][:, 1:6, 1:8] = 255
        masks["nucleus_mask"][2:9, 2:4, 2:4] = 255
        masks["mitochondria_mask"][5:12, 3:5, 3:6] = 255
        masks["granules"][11:14, 4:6, 5:9] = rng.integers(1, 900, (3, 2, 4))
        save_image(folder / f"{name}_source.tif", image, axes="ZYX")
        place = folder if name in beside else folder / f"{name}_segs"
        for kind, mask in masks.items():
            save_image(place / f"{name}_{kind}.tif", mask, axes="ZYX")
        made[name] = (image, masks)
    return made


def test_parts_images_and_labels(tmp_path):
    made = archive(tmp_path / "in", beside=("high_c4",))
    counts = prepare(tmp_path / "in", tmp_path / "out")
    assert counts == {"train": 1, "test": 1, "other": 1}
    parts = {"high_c1": "train", "high_c4": "test", "low_c2": "other"}
    for name, part in parts.items():
        image = open_image(tmp_path / "out" / part / "images" / f"{name}.tif")
        assert np.array_equal(image.read()[0], made[name][0])
        assert (image.spacing, image.unit) == ((16.0, 16.0, 16.0), "nm")
        labels = open_labels(tmp_path / "out" / part / "labels" / f"{name}.tif", ndim=3).read()[0]
        masks = made[name][1]
        wanted = np.where(masks["nucleus_mask"] > 0, 1, 0)
        wanted = np.where(masks["mitochondria_mask"] > 0, 3, wanted)
        wanted = np.where(masks["granules"] > 0, 2, wanted)
        wanted = np.where(masks["membrane_full_mask"] > 0, wanted, 255)
        assert np.array_equal(labels, wanted)
        assert set(np.unique(labels)) == {0, 1, 2, 3, 255}


def test_cells_without_masks_are_images(tmp_path):
    save_image(tmp_path / "in" / "low_c1_source.tif", np.ones((2, 3, 4), np.uint8), axes="ZYX")
    assert prepare(tmp_path / "in", tmp_path / "out")
    assert not (tmp_path / "out" / "other" / "labels").exists()


def test_wrong_archives(tmp_path):
    with pytest.raises(DataError, match=r"high_c1_source\.tif"):
        prepare(tmp_path, tmp_path / "out")
    archive(tmp_path / "in", ("high_c1",))
    segs = tmp_path / "in" / "high_c1_segs"
    (segs / "high_c1_granules.tif").rename(tmp_path / "kept.tif")
    with pytest.raises(DataError, match="no granules"):
        prepare(tmp_path / "in", tmp_path / "out")
    save_image(segs / "high_c1_granules.tif", np.zeros((20, 7, 8), np.uint8), axes="ZYX")
    with pytest.raises(DataError, match=r"granules\.tif: expected the size of"):
        prepare(tmp_path / "in", tmp_path / "out")
    save_image(segs / "other_granules.tif", np.zeros((20, 7, 9), np.uint8), axes="ZYX")
    with pytest.raises(DataError, match="one mask granules"):
        prepare(tmp_path / "in", tmp_path / "out")
    archive(tmp_path / "in" / "again", ("high_c1",))
    with pytest.raises(DataError, match="one source volume of high_c1"):
        prepare(tmp_path / "in", tmp_path / "out")
