"""Archives of leaves, nuclei and neurites: parts, labels, submission, wrong files."""

import h5py
import numpy as np
import pytest
from PIL import Image

from unmask.build import new_segmenter, resolve_recipe
from unmask.checkpoint import save_model
from unmask.datasets import find_set
from unmask.datasets.cvppp import CVPPP_VAL
from unmask.datasets.cvppp_challenge import CVPPP_SIZE, segment_foreground, write_submission
from unmask.datasets.writing import write_set
from unmask.errors import DataError, RecipeError
from unmask.io import open_image, save_image


def prepare(archive, out, *, name):
    return write_set(find_set(name), archive, out, partial=True, options={}).counts


def write(path, array):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path)


def leaves(folder, *numbers, labeled=True):
    for number in numbers:
        labels = np.zeros((12, 10), np.uint8)
        labels[2:6, 2:6] = number % 7 + 1
        stem = folder / f"plant{number:03}"
        write(stem.with_name(f"{stem.name}_rgb.png"), np.full((12, 10, 4), number, np.uint8))
        write(stem.with_name(f"{stem.name}_fg.png"), (labels > 0).astype(np.uint8))
        if labeled:
            palette = Image.new("P", (labels.shape[1], labels.shape[0]))
            palette.putpalette([level for level in range(256) for _ in range(3)])
            palette.putdata(labels.ravel().tolist())
            palette.save(stem.with_name(f"{stem.name}_label.png"))


def read(path):
    return open_image(path).read()


def test_leaves(tmp_path):
    leaves(tmp_path / "in" / "train", 1, CVPPP_VAL[0], 5)
    leaves(tmp_path / "in" / "test", 3, labeled=False)
    counts = prepare(tmp_path / "in", tmp_path / "out", name="cvppp")
    assert counts == {"train": 2, "val": 1, "test": 1}
    assert read(tmp_path / "out/train/images/plant005.tif").shape == (3, 12, 10)
    labels = read(tmp_path / "out/train/labels/plant005.tif")
    assert sorted(np.unique(labels)) == [0, 6]
    assert (tmp_path / "out/test/foreground/plant003.tif").is_file()
    assert not (tmp_path / "out/test/labels").exists()


def test_leaves_of_another_size(tmp_path):
    leaves(tmp_path, 1)
    write(tmp_path / "plant001_label.png", np.zeros((4, 4), np.uint8))
    with pytest.raises(DataError, match=r"plant001, labels.*\(12, 10\)"):
        prepare(tmp_path, tmp_path / "out", name="cvppp")


def nuclei(folder):
    mask = np.zeros((40, 30, 4), np.uint8)
    mask[2:10, 2:10, 0] = 128
    mask[2:10, 10:18, 0] = 255
    mask[30:34, 5:9, 0] = 128
    for number, file in enumerate(("training", "validation", "test")):
        write(folder / "images" / f"a{number}.tif", np.full((40, 30), 900, np.uint16))
        write(folder / "masks" / f"a{number}.png", mask)
        (folder / "metadata").mkdir(exist_ok=True)
        (folder / "metadata" / f"{file}.txt").write_text(f"a{number}.png\n")


def test_nuclei(tmp_path):
    nuclei(tmp_path / "in")
    counts = prepare(tmp_path / "in", tmp_path / "out", name="bbbc039")
    assert counts == {"train": 1, "val": 1, "test": 1}
    labels = read(tmp_path / "out/val/labels/a1.tif")
    # Two that touch with different values, and a piece of 16 pixels that is dropped
    assert np.bincount(labels.ravel())[1:].tolist() == [64, 64]
    assert read(tmp_path / "out/val/images/a1.tif").max() == 900


def test_nuclei_without_lists(tmp_path):
    nuclei(tmp_path)
    (tmp_path / "metadata" / "test.txt").unlink()
    with pytest.raises(DataError, match=r"test\.txt: expected the official list"):
        prepare(tmp_path, tmp_path / "out", name="bbbc039")


def neurites(folder, depth):
    folder.mkdir()
    for volume in ("AC3", "AC4"):
        image = np.arange(depth, dtype=np.uint8)[:, None, None] + np.zeros((depth, 6, 5), np.uint8)
        for kind in ("inputs", "labels"):
            with h5py.File(folder / f"{volume}_{kind}.h5", "w") as file:
                file["main"] = image


def test_neurites(tmp_path):
    neurites(tmp_path / "in", 110)
    counts = prepare(tmp_path / "in", tmp_path / "out", name="ac34")
    assert counts == {"train": 1, "val": 1, "test": 1}
    test = open_image(tmp_path / "out/test/images/AC3_test.tif")
    assert test.shape == (1, 100, 6, 5)
    assert test.spacing == pytest.approx((30, 6, 6))
    assert read(tmp_path / "out/test/labels/AC3_test.tif")[0, 0, 0, 0] == 10
    assert read(tmp_path / "out/val/images/AC4_val.tif").shape == (1, 20, 6, 5)


def test_wrong_volumes(tmp_path):
    neurites(tmp_path / "short", 50)
    with pytest.raises(DataError, match="80 slices"):
        prepare(tmp_path / "short", tmp_path / "out", name="ac34")
    with h5py.File(tmp_path / "short" / "AC4_inputs.h5", "w") as file:
        file["other"] = np.zeros(3)
    with pytest.raises(DataError, match="data set main"):
        prepare(tmp_path / "short", tmp_path / "out", name="ac34")


@pytest.mark.parametrize("name", ["cvppp", "bbbc039", "ac34"])
def test_empty_folders(tmp_path, name):
    with pytest.raises(DataError, match=r"Give|Put"):
        prepare(tmp_path, tmp_path / "out", name=name)


def test_submission(tmp_path):
    labels = np.zeros(CVPPP_SIZE, np.uint16)
    labels[:20, :20] = 700
    labels[40:60, :20] = 9
    save_image(tmp_path / "in" / "plant003.tif", labels)
    assert write_submission(tmp_path / "in", tmp_path / "out.h5") == ["plant003"]
    with h5py.File(tmp_path / "out.h5") as file:
        written = np.asarray(file["A1/plant003/label"])
    assert written.dtype == np.uint8
    assert written.shape == CVPPP_SIZE
    assert (written[:20, :20] == 2).all()
    save_image(tmp_path / "in" / "plant004.tif", labels[:10])
    with pytest.raises(DataError, match=r"plant004\.tif.*\(530, 500\)"):
        write_submission(tmp_path / "in", tmp_path / "out.h5")


@pytest.fixture
def run(tmp_path):
    """Saves a preset's network that nobody trained."""

    def saved(preset="pea_cvppp"):
        chosen = resolve_recipe(
            preset,
            [
                "data.channels=1",
                "data.normalize=percentile",
                "infer.tile=[32, 32]",
                "infer.precision='32'",
            ],
        )
        path = tmp_path / f"{preset}.safetensors"
        weights = new_segmenter(chosen).state_dict()
        save_model(path, weights, {"recipe": chosen.model_dump(mode="json")})
        return path

    return saved


def test_leaves_within_the_given_foreground(tmp_path, run):
    part, out = tmp_path / "test", tmp_path / "out"
    foreground = np.zeros((40, 36), np.uint8)
    foreground[4:20, 4:30] = 1
    foreground[30:34, 2] = 1
    image = np.random.default_rng(0).integers(0, 255, (40, 36), dtype=np.uint8)
    save_image(part / "images" / "plant001.tif", image)
    with pytest.raises(DataError, match=r"plant001\.tif"):
        segment_foreground(part, out, model=run())
    assert not out.exists()
    save_image(part / "foreground" / "plant001.tif", foreground)
    assert segment_foreground(part, out, model=run()) == ["plant001"]
    np.testing.assert_array_equal(read(out / "plant001.tif")[0] > 0, foreground > 0)
    with pytest.raises(RecipeError, match="embeddings or affinities"):
        segment_foreground(part, out, model=run("semantic2d"))
    save_image(part / "images" / "plant002.tif", image)
    save_image(part / "foreground" / "plant001.tif", foreground[:9])
    (out / "plant001.tif").unlink()
    with pytest.raises(DataError, match=r"2 problems(.|\n)*\(9, 36\)"):
        segment_foreground(part, out, model=run())
    assert not list(out.iterdir())
