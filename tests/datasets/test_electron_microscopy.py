"""Archives of electron microscopy and CT in the layouts of their owners."""

import json
import tarfile
import zipfile
from typing import Any

import h5py
import nibabel
import numpy as np
import numpy.typing as npt
import pytest
import tifffile
from PIL import Image

from unmask.datasets import find_set, prepare
from unmask.errors import DataError
from unmask.io import open_image

SIZE = (6, 8, 10)


def hdf5(path, arrays, **attributes):
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        for key, array in arrays.items():
            file[key] = array
            for name, value in attributes.items():
                file[key].attrs[name] = value
    return path


def counted(size=SIZE, dtype: npt.DTypeLike = np.uint8):
    """A volume whose slices hold their number."""
    return np.arange(size[0])[:, None, None].astype(dtype) + np.zeros(size, dtype)


def cremi(folder):
    """Cropped samples, a padded one whose labels have an offset, and a test."""
    ids = counted(dtype=np.uint64) + 1
    ids[0, 0, 0] = 2**64 - 3
    given = {"volumes/labels/neuron_ids": ids, "volumes/labels/clefts": ids}
    made = [
        hdf5(folder / f"sample_{name}_20160501.hdf", {"volumes/raw": counted(), **given},
             resolution=(40.0, 4.0, 4.0))
        for name in "AB"
    ]  # fmt: skip
    large = counted((10, 12, 14))
    path = hdf5(folder / "sample_C_padded_20160501.hdf", {"volumes/raw": large, **given},
                resolution=(40.0, 4.0, 4.0))  # fmt: skip
    with h5py.File(path, "a") as file:
        for key in given:
            file[key].attrs["offset"] = (80.0, 8.0, 8.0)
    test = hdf5(folder / "sample_A+_20160601.hdf", {"volumes/raw": counted()})
    return [*made, path, test]


def mitoem(folder):
    """Slices as images; the two volumes have files of the same names."""
    archives = []
    for volume in "RH":
        slices, labels = (folder / f"EM30-{volume}-{each}.zip" for each in ("im", "mito"))
        folder.mkdir(exist_ok=True)
        with zipfile.ZipFile(slices, "w") as archive:
            for number in range(6):
                path = folder / "slice.png"
                Image.fromarray(np.full(SIZE[1:], number, np.uint8)).save(path)
                archive.write(path, f"im/im{number:04}.png")
        with zipfile.ZipFile(labels, "w") as archive:
            for number in range(4):
                path = folder / "slice.tif"
                tifffile.imwrite(path, np.full(SIZE[1:], 300 + number, np.uint16))
                part = "train" if number < 3 else "val"
                archive.write(path, f"mito-{part}-v2/seg{number:04}.tif")
        archives += [slices, labels]
    return archives


def isbi2012(folder):
    folder.mkdir()
    labels = np.full(SIZE, 255, np.uint8)
    labels[:, :, 4] = 0
    for name, array in (("train-volume", counted()), ("train-labels", labels),
                        ("test-volume", counted())):  # fmt: skip
        tifffile.imwrite(folder / f"{name}.tif", array)
    return sorted(folder.iterdir())


def nucmm(folder):
    for animal in ("Zebrafish (NucMM-Z)", "Mouse (NucMM-M)"):
        for part in ("train", "val"):
            root = folder / "data" / animal
            hdf5(root / "Image" / part / "img_0000_0064.h5", {"main": counted()})
            ids = counted(dtype=np.uint16)
            hdf5(root / "Label" / part / "seg_0000_0064.h5", {"main": ids})
    return [folder / "data"]


def betaseg(folder):
    kinds = ("granules", "mitochondria_mask", "nucleus_mask", "membrane_full_mask")
    for cell in ("high_c1", "high_c4"):
        root = folder / "download" / cell
        root.mkdir(parents=True)
        tifffile.imwrite(root / f"{cell}_source.tif", counted())
        for kind in kinds:
            tifffile.imwrite(root / f"{cell}_{kind}.tif", np.full(SIZE, 255, np.uint8))
    return [folder / "download"]


def nifti(path, size=(5, 4, 3)):
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(np.ones(size, np.int16), np.diag([2, 2, 5, 1])), path)


def tcia_covid19(folder):
    for name in ("volume-covid19-A-0001", "volume-covid19-A-0011_day010"):
        nifti(folder / "CT-Covid-19-August2020" / f"{name}.nii.gz")
    return [folder / "CT-Covid-19-August2020"]


def luna16(folder):
    """MetaImage: header and values in two files."""
    root = folder / "subset0"
    root.mkdir(parents=True)
    uid = "1.3.6.1.4.1.14519.5.2.1"
    (root / f"{uid}.mhd").write_text(
        "ObjectType = Image\nNDims = 3\nBinaryData = True\nBinaryDataByteOrderMSB = False\n"
        "CompressedData = False\nTransformMatrix = 1 0 0 0 1 0 0 0 1\nOffset = -9 -8 -7\n"
        "ElementSpacing = 0.7 0.6 2.5\nDimSize = 10 8 6\nElementType = MET_SHORT\n"
        f"ElementDataFile = {uid}.raw\n"
    )
    (counted(dtype=np.int16) - 900).astype("<i2").tofile(root / f"{uid}.raw")
    archive = folder / "subset0.zip"
    with zipfile.ZipFile(archive, "w") as packed:
        for path in root.iterdir():
            packed.write(path, f"subset0/{path.name}")
    return [archive]


def glmae_pretraining(folder):
    for number in (*range(1, 11), *range(21, 41)):
        for kind in ("img", "label"):
            nifti(folder / "RawData" / "Training" / kind / f"{kind}{number:04}.nii.gz")
    return [folder / "RawData", *tcia_covid19(folder), *luna16(folder / "luna")]


def decathlon(folder):
    root = folder / "Task04_Hippocampus"
    for number in range(1, 11):
        for kind in ("imagesTr", "labelsTr", "imagesTs"):
            nifti(root / kind / f"hippocampus_{number:03}.nii.gz")
    names = [f"hippocampus_{number:03}.nii.gz" for number in range(1, 11)]
    tree = {
        "labels": {"0": "background", "1": "Anterior", "2": "Posterior"},
        "modality": {"0": "MRI"},
        "numTraining": 10,
        "training": [
            {"image": f"./imagesTr/{each}", "label": f"./labelsTr/{each}"} for each in names
        ],
        "test": [f"./imagesTs/{each}" for each in names],
    }
    (root / "dataset.json").write_text(json.dumps(tree))
    path = folder / "Task04_Hippocampus.tar"
    with tarfile.open(path, "w") as archive:
        archive.add(root, root.name)
    return [path]


# Set: parts, one image of it, its size, spacing and unit.
SETS = {
    "cremi": ({"train": 3, "test": 1}, "train/images/C.tif", SIZE, (40, 4, 4), "nm"),
    "mitoem": (
        {"train": 2, "val": 2, "test": 2}, "train/images/H.tif", (3, 8, 10), (30, 8, 8), "nm",
    ),
    "isbi2012": (
        {"train": 5, "val": 1, "test": 6}, "train/images/train_03.tif", (8, 10), (4, 4), "nm",
    ),
    "nucmm": ({"train": 2, "val": 2}, "val/images/Z_0000_0064.tif", SIZE, (0.48, 0.51, 0.51), "um"),
    "betaseg": ({"train": 1, "test": 1}, "test/images/high_c4.tif", SIZE, (16, 16, 16), "nm"),
    "tcia_covid19": (
        {"train": 2}, "train/images/volume-covid19-A-0001.nii.gz", (3, 4, 5), (5, 2, 2), "mm",
    ),
    "luna16": (
        {"train": 1}, "train/images/1.3.6.1.4.1.14519.5.2.1.nii", SIZE, (2.5, 0.6, 0.7), "mm",
    ),
    "glmae_pretraining": (
        {"train": 27}, "train/images/btcv_img0001.nii.gz", (3, 4, 5), (5, 2, 2), "mm",
    ),
    "decathlon": (
        {"train": 8, "val": 2, "test": 10}, "val/images/hippocampus_001.nii.gz", (3, 4, 5),
        (5, 2, 2), "mm",
    ),
}  # fmt: skip
OPTIONS = {"cremi": ["val_slices=0"], "isbi2012": ["val=1"]}


@pytest.mark.parametrize("name", SETS)
def test_sets_of_volumes(name, tmp_path):
    """The official files give volumes with spacing; fewer than published are refused by default."""
    counts, path, size, spacing, unit = SETS[name]
    archives, out = globals()[name](tmp_path / "in"), tmp_path / "out"
    given = OPTIONS.get(name, [])
    with pytest.raises(DataError, match=r"as published|volumes with labels"):
        prepare(name, archives, out=out, settings=given)
    assert not out.exists()
    prepared = prepare(name, archives, out=out, settings=[*given, "partial=true"])
    assert prepared.counts == counts
    assert sorted(each.name for each in out.iterdir()) == sorted([*counts, "README.md"])
    image = open_image(out / path, ndim=len(size))
    assert image.shape == (1, *size)
    assert image.spacing == pytest.approx(spacing)
    # NIfTI files are linked as they are, and these state no unit
    assert image.unit in {unit, None}
    assert find_set(name).citation in (out / "README.md").read_text()
    expected = f"unmask {find_set(name).verb} {out}/train/images"
    assert (prepared.command or "").startswith(expected)


def test_values_of_volumes(tmp_path):
    """Slices, ids and offsets are those of the archive; markers without label become 0."""
    out = tmp_path / "cremi"
    prepare("cremi", cremi(tmp_path / "a"), out=out, settings=["val_slices=2", "partial=true"])
    padded = open_image(out / "val/images/C.tif").read()[0]
    assert padded[:, 0, 0].tolist() == [6, 7]
    labels = open_image(out / "train/labels/A.tif").read()[0]
    assert labels[0, 0, :2].tolist() == [0, 1]
    assert labels[:, 1, 1].tolist() == [1, 2, 3, 4]
    out = tmp_path / "mitoem"
    prepare("mitoem", mitoem(tmp_path / "b"), out=out, settings=["partial=true"])
    assert open_image(out / "val/images/R.tif", ndim=3).read()[0, :, 0, 0].tolist() == [3]
    assert open_image(out / "train/labels/R.tif").read()[0, :, 0, 0].tolist() == [300, 301, 302]
    assert open_image(out / "test/images/R.tif").read()[0, :, 0, 0].tolist() == [4, 5]
    out = tmp_path / "isbi"
    prepare("isbi2012", isbi2012(tmp_path / "c"), out=out, settings=["val=0", "partial=true"])
    cells = open_image(out / "train/labels/train_00.tif", ndim=2).read()[0]
    assert cells[0].tolist() == [1, 1, 1, 1, 0, 2, 2, 2, 2, 2]
    out = tmp_path / "luna"
    prepare("luna16", luna16(tmp_path / "d"), out=out, settings=["partial=true"])
    path = next((out / "train" / "images").iterdir())
    stored: Any = nibabel.load(path)
    np.testing.assert_array_equal(np.asarray(stored.dataobj).T, counted(dtype=np.int16) - 900)
    affine = [[-0.7, 0, 0, 9], [0, -0.6, 0, 8], [0, 0, 2.5, -7], [0, 0, 0, 1]]
    np.testing.assert_allclose(stored.affine, affine, rtol=1e-6)
    source = open_image(next((tmp_path / "d" / "subset0").glob("*.mhd")))
    np.testing.assert_array_equal(open_image(path).read(), source.read())


def test_the_command_of_a_task_knows_its_classes(tmp_path):
    archives = decathlon(tmp_path / "in")
    made = prepare("decathlon", archives, out=tmp_path / "out", settings=["partial=true"])
    assert "--set task.classes=3 --set data.channels=1" in (made.command or "")


def test_cut_off_files(tmp_path):
    """Half a scan, half a volume and missing slices are named."""
    luna16(tmp_path / "luna")
    raw = next((tmp_path / "luna" / "subset0").glob("*.raw"))
    raw.write_bytes(raw.read_bytes()[:-7])
    with pytest.raises(DataError, match=r"\.raw: expected 960 bytes.*found 953"):
        prepare("luna16", [raw.parent.parent], out=tmp_path / "out", settings=["partial=true"])
    half = cremi(tmp_path / "cremi")[0]
    half.write_bytes(half.read_bytes()[:3000])
    given = ["val_slices=0", "partial=true"]
    with pytest.raises(DataError, match=r"sample_A_20160501\.hdf: expected a whole HDF5 file"):
        prepare("cremi", [half.parent], out=tmp_path / "out", settings=given)
    slices, labels, *_ = mitoem(tmp_path / "mito")
    with zipfile.ZipFile(slices, "w") as archive:
        archive.writestr("im/im0000.png", (tmp_path / "mito" / "slice.png").read_bytes())
    with pytest.raises(DataError, match=r"expected 2 slices, such as im0001\.png"):
        prepare("mitoem", [slices, labels], out=tmp_path / "out", settings=["partial=true"])
    assert not (tmp_path / "out").exists()


def test_another_release_has_other_sizes(tmp_path):
    archives = isbi2012(tmp_path / "in")
    for path in archives:
        tifffile.imwrite(path, np.zeros((30, 8, 10), np.uint8))
    with pytest.raises(
        DataError, match=r"expected a size of 512 x 512, as published, found 8 x 10"
    ):
        prepare("isbi2012", archives, out=tmp_path / "out")
