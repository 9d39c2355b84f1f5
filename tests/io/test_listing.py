"""dataset.json in the layouts that are in use, its parts and folds."""

import json

import numpy as np
import pytest

from unmask.data.pairs import Layout, open_pairs
from unmask.errors import DataError
from unmask.io import list_files, open_image, save_image
from unmask.io.listing import cases, part_of, read_listing
from unmask.io.multi_file import files_of, join_names, stack_files, without_parts
from unmask.io.paths import named_files


def write(folder, tree, name="dataset.json"):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(json.dumps(tree))
    return folder / name


def names(path):
    return [case.name for case in cases(path)]


def msd(folder, count=7):
    entry = {
        "image": "./imagesTr/spleen_{}.nii.gz", "label": "./labelsTr/spleen_{}.nii.gz"
    }  # fmt: skip
    training = [{k: v.format(n) for k, v in entry.items()} for n in range(count)]
    tests = [f"./imagesTs/spleen_{n}.nii.gz" for n in (50, 51)]
    return write(folder, {"modality": {"0": "CT"}, "training": training, "test": tests})


def test_decathlon(tmp_path):
    path = msd(tmp_path)
    assert names(path) == [f"spleen_{n}" for n in range(7)]
    first = cases(path)[0]
    assert first.image == str(tmp_path / "imagesTr" / "spleen_0.nii.gz")
    assert first.label == str(tmp_path / "labelsTr" / "spleen_0.nii.gz")
    assert names(f"{path}:test") == ["spleen_50", "spleen_51"]
    assert cases(f"{path}:val") == []
    held = [set(names(f"{path}:val{fold}")) for fold in range(5)]
    assert sorted(len(each) for each in held) == [1, 1, 1, 2, 2]
    assert set.union(*held) == set(names(path))
    for fold, each in enumerate(held):
        assert set(names(f"{path}:train{fold}")) == set(names(path)) - each
    with pytest.raises(DataError, match="one of the folds"):
        cases(f"{path}:val5")


def test_a_published_split(tmp_path):
    """BTCV's dataset_0.json: 24 cases to learn from and six to validate on."""

    def entry(n):
        return {
            "image": f"imagesTr/img{n:04d}.nii.gz",
            "label": f"labelsTr/label{n:04d}.nii.gz",
        }

    held = range(35, 41)
    tree = {
        "training": [entry(n) for n in (*range(1, 11), *range(21, 35))],
        "validation": [entry(n) for n in held],
        "test": ["imagesTs/img0061.nii.gz"],
    }
    path = write(tmp_path, tree, "dataset_0.json")
    assert names(f"{path}:val") == [f"label{n:04d}" for n in held]
    assert len(cases(f"{path}:train")) == 24
    assert len(cases(path)) == 30
    with pytest.raises(DataError, match="the file is one already"):
        cases(f"{path}:train0")


def test_folds_of_entries(tmp_path):
    """MONAI's and MiM's lists: each entry says its fold; several files are channels."""
    tree = {
        "training": [
            {"fold": n % 3, "image": [f"B{n}/t1.nii.gz", f"B{n}/t2.nii.gz"], "label": f"B{n}.nii"}
            for n in range(6)
        ]
    }
    path = write(tmp_path, tree)
    assert names(f"{path}:val1") == ["B1", "B4"]
    assert names(f"{path}:train1") == ["B0", "B2", "B3", "B5"]
    assert cases(path)[0].image == f"{tmp_path}/B0/t{{1,2}}.nii.gz"


def nnunet(folder, channels, tree):
    for n in (1, 2, 10):
        for channel in range(channels):
            volume = np.full((3, 4, 5), 10 * n + channel, np.int16)
            save_image(folder / "imagesTr" / f"case_{n}_{channel:04d}.nii.gz", volume)
        save_image(folder / "labelsTr" / f"case_{n}.nii.gz", np.ones((3, 4, 5), np.uint8))
    (folder / "labelsTr" / "._case_1.nii.gz").write_bytes(b"of another system")
    return write(folder, tree)


@pytest.mark.parametrize("channels", [1, 3])
def test_nnunet_2(tmp_path, channels):
    tree = {"channel_names": {str(n): "CT" for n in range(channels)}, "file_ending": ".nii.gz"}
    path = nnunet(tmp_path, channels, tree | {"numTraining": 3})
    assert set(names(path)) == {"case_1", "case_2", "case_10"}
    pairs = open_pairs(path, path, Layout(3), channels=channels)
    assert {pair.name for pair in pairs} == set(names(path))
    values = {pair.name: pair.image.read()[:, 0, 0, 0].tolist() for pair in pairs}
    assert values["case_10"] == [100 + n for n in range(channels)]
    assert {pair.labels.read().max() for pair in pairs if pair.labels} == {1}
    splits = [{"train": ["case_1"], "val": ["case_2", "case_10"]}]
    write(tmp_path, splits, "splits_final.json")
    assert names(f"{path}:train0") == ["case_1"]
    assert set(names(f"{path}:val0")) == {"case_2", "case_10"}
    with pytest.raises(DataError, match=r"folds \[0\], found 3"):
        cases(f"{path}:val3")


def test_nnunet_1_lists_the_case_and_stores_its_channels(tmp_path):
    training = [
        {"image": f"./imagesTr/case_{n}.nii.gz", "label": f"./labelsTr/case_{n}.nii.gz"}
        for n in (1, 2, 10)
    ]
    path = nnunet(tmp_path, 2, {"modality": {"0": "T1", "1": "T2"}, "training": training})
    pairs = open_pairs(path, path, Layout(3), channels=2)
    assert [pair.name for pair in pairs] == ["case_1", "case_2", "case_10"]
    assert [int(value) for value in pairs[2].image.read()[:, 0, 0, 0]] == [100, 101]


def test_nnunet_2_with_listed_files(tmp_path):
    tree = {"channel_names": {"0": "CT"}, "file_ending": ".png",
            "dataset": {"a": {"images": ["x/a.png"], "label": "y/a.png"}}}  # fmt: skip
    case = cases(write(tmp_path, tree))[0]
    assert (case.name, case.image) == ("a", str(tmp_path / "x" / "a.png"))


def test_lists_stand_where_paths_stand(tmp_path):
    path = msd(tmp_path, 2)
    assert list_files(path) == [case.image for case in cases(path)]
    assert named_files(path, labels=True)[1] == ("spleen_1", cases(path)[1].label)
    with pytest.raises(DataError, match=r"label of every case, found none of spleen_50"):
        named_files(f"{path}:test", labels=True)
    with pytest.raises(DataError, match="at least one case"):
        list_files(f"{path}:val")


@pytest.mark.parametrize(
    "tree",
    [[], {}, {"training": [{"label": "a"}]}, {"training": [3]}, {"training": [{"image": []}]},
     {"training": [{"image": "a", "fold": "x"}]}, {"channel_names": {}, "file_ending": ".nii"}],
)  # fmt: skip
def test_what_is_no_list_is_refused(tmp_path, tree):
    with pytest.raises(DataError, match=r"dataset\.json: expected training"):
        read_listing(write(tmp_path, tree))


def test_broken_files_and_parts_are_refused(tmp_path):
    (tmp_path / "a.json").write_text("{")
    for path in (tmp_path / "a.json", tmp_path / "none.json"):
        with pytest.raises(DataError, match=r"\.json: expected a list in JSON"):
            cases(path)
    with pytest.raises(DataError, match="a whole list"):
        part_of("a.json:val0", "train", 1)
    write(tmp_path, [{"train": ["x"], "val": []}], "splits_final.json")
    with pytest.raises(DataError, match="not listed: x"):
        cases(f"{msd(tmp_path)}:train0")


def test_several_files_are_one_path_and_back():
    for files in (["a/b_0000.nii", "a/b_0001.nii"], ["x/t1.nii", "y/t2.nii"], ["a.tif", "ab.tif"]):
        assert files_of(join_names(files)) == files
    assert join_names(["a.nii"]) == "a.nii"
    assert without_parts("a/b_000{0,1}.nii") == "a/b.nii"
    assert without_parts("{x/t,y/u}.nii") == "x/t.nii"
    with pytest.raises(DataError, match="Rename"):
        join_names(["a{.nii", "b.nii"])


def test_channels_of_unlike_grids_are_refused(tmp_path):
    save_image(tmp_path / "a0.nii", np.zeros((3, 4, 5), np.uint8), spacing=(1, 1, 1))
    save_image(tmp_path / "a1.nii", np.zeros((3, 4, 5), np.int16), spacing=(2, 1, 1))
    with pytest.raises(DataError, match=r"a1\.nii: expected the grid of .*a0\.nii"):
        open_image(tmp_path / "a{0,1}.nii", ndim=3)
    one = open_image(tmp_path / "a{0,0,0}.nii", ndim=3)
    assert one.shape == (3, 3, 4, 5)
    assert one.name == "a"
    assert one[1:, 2].shape == (2, 4, 5)
    with pytest.raises(DataError, match=r"a7\.nii"):
        open_image(tmp_path / "a{0,7}.nii", ndim=3)
    assert stack_files([one], "s", "n").shape == one.shape
