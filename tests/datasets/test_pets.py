"""The reader of Oxford-IIIT Pet on a drawn archive."""

import numpy as np
import pytest
from PIL import Image

from unmask.datasets.pets import SET, read_split, trimap_labels
from unmask.datasets.writing import write_set
from unmask.errors import DataError
from unmask.io import open_image, open_labels


def prepare(archive, out, **options):
    return write_set(SET, archive, out, partial=True, options=options).counts


@pytest.fixture
def archive(tmp_path):
    rng = np.random.default_rng(1)
    folder = tmp_path / "archive"
    for part in ("images", "annotations/trimaps"):
        (folder / part).mkdir(parents=True)
    names = [f"Cat_{index}" for index in range(20)]
    for name in names:
        photograph = rng.integers(0, 255, (30, 40, 3)).astype(np.uint8)
        Image.fromarray(photograph).save(folder / "images" / f"{name}.jpg")
        trimap = np.full((30, 40), 2, np.uint8)
        trimap[5:25, 5:25] = 3
        trimap[8:22, 8:22] = 1
        Image.fromarray(trimap).save(folder / "annotations" / "trimaps" / f"{name}.png")
    lists = {"trainval": names[:15], "test": names[15:]}
    for file, chosen in lists.items():
        text = "".join(f"{name} 1 1 1\n" for name in chosen)
        (folder / "annotations" / f"{file}.txt").write_text("# list\n" + text)
    return folder


def test_official_parts(archive, tmp_path):
    counts = prepare(archive, tmp_path / "out", size=20)
    assert counts == {"train": 15, "test": 5}
    image = open_image(tmp_path / "out" / "train" / "images" / "Cat_3.png")
    labels = open_labels(tmp_path / "out" / "train" / "labels" / "Cat_3.png").read()[0]
    assert image.shape == (3, 20, 20)
    assert np.unique(labels).tolist() == [0, 1, 2]
    assert (labels == 1).mean() == pytest.approx(14 * 14 / 1200, abs=0.03)


def test_border_as_background_and_kept_sizes(archive, tmp_path):
    prepare(archive, tmp_path / "out", border="background", size=0)
    labels = open_labels(tmp_path / "out" / "test" / "labels" / "Cat_19.png").read()[0]
    assert labels.shape == (30, 40)
    assert labels.sum() == 14 * 14


def test_published_split_is_fixed_and_whole(archive):
    parts = read_split(archive, "published")
    assert {part: len(names) for part, names in parts.items()} == {"train": 14, "val": 4, "test": 2}
    assert len({name for names in parts.values() for name in names}) == 20
    assert parts == read_split(archive, "published")


def test_published_numbers_of_images(tmp_path):
    (tmp_path / "images").mkdir()
    for index in range(7390):
        (tmp_path / "images" / f"{index}.jpg").touch()
    parts = read_split(tmp_path, "published")
    assert [len(names) for names in parts.values()] == [5173, 1478, 739]


@pytest.mark.parametrize("value", [0, 4, 255])
def test_other_values_are_refused(archive, tmp_path, value):
    path = archive / "annotations" / "trimaps" / "Cat_2.png"
    Image.fromarray(np.full((30, 40), value, np.uint8)).save(path)
    with pytest.raises(DataError) as caught:
        prepare(archive, tmp_path / "out")
    message = str(caught.value)
    assert "Cat_2.png" in message
    assert f"[{value}]" in message
    assert "1 (pet), 2 (background), 3 (border)" in message


def test_all_wrong_files_are_reported_together(archive, tmp_path):
    trimaps = archive / "annotations" / "trimaps"
    Image.fromarray(np.ones((30, 40, 3), np.uint8)).save(trimaps / "Cat_0.png")
    Image.fromarray(np.ones((40, 30), np.uint8)).save(trimaps / "Cat_1.png")
    (archive / "images" / "Cat_4.jpg").write_bytes(b"no image")
    (archive / "images" / "Cat_5.jpg").unlink()
    with pytest.raises(DataError, match="4 problem") as caught:
        prepare(archive, tmp_path / "out")
    for name in ("Cat_0.png", "Cat_1.png", "Cat_4.jpg", "Cat_5.jpg"):
        assert name in str(caught.value)


def test_an_archive_without_lists_or_images(tmp_path):
    with pytest.raises(DataError, match=r"trainval\.txt"):
        read_split(tmp_path, "official")
    with pytest.raises(DataError, match="images"):
        read_split(tmp_path, "published")
    (tmp_path / "annotations").mkdir()
    (tmp_path / "annotations" / "trainval.txt").write_text("../../outside 1\n")
    with pytest.raises(DataError, match="outside"):
        read_split(tmp_path, "official")
    with pytest.raises(DataError, match="border=other"):
        trimap_labels(np.ones((2, 2), np.uint8), border="other", source="x")
