"""Folders of DICOM slices as volumes: sorted, scaled, placed, and refused by the file's name."""

import sys
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest

from unmask.errors import DataError, MissingPackageError
from unmask.io import list_files, open_image, output_name, save_image
from unmask.space import Box

pydicom = pytest.importorskip("pydicom")
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian  # noqa: E402

AXIAL, CORONAL = (1, 0, 0, 0, 1, 0), (1, 0, 0, 0, 0, -1)
VALUES = np.random.default_rng(0).integers(0, 4000, (5, 6, 7)).astype(np.uint16)


def write(path: Path, pixels: np.ndarray, place: Any, direction: Any = AXIAL, **tags: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    meta = pydicom.dataset.FileMetaDataset()
    meta.MediaStorageSOPClassUID = CTImageStorage
    meta.MediaStorageSOPInstanceUID = pydicom.uid.generate_uid()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    slice_ = pydicom.Dataset()
    slice_.file_meta = meta
    slice_.SOPClassUID, slice_.SOPInstanceUID = CTImageStorage, meta.MediaStorageSOPInstanceUID
    slice_.Modality, slice_.SeriesInstanceUID = "CT", "1.2.3"
    slice_.Rows, slice_.Columns = pixels.shape
    slice_.PixelSpacing = [0.5, 0.75]
    slice_.ImagePositionPatient = [float(n) for n in place]
    slice_.ImageOrientationPatient = [float(n) for n in direction]
    slice_.SamplesPerPixel, slice_.PhotometricInterpretation = 1, "MONOCHROME2"
    slice_.BitsAllocated, slice_.BitsStored, slice_.HighBit = 16, 12, 11
    slice_.PixelRepresentation = 0
    slice_.RescaleSlope, slice_.RescaleIntercept = 1, -1024
    slice_.PixelData = pixels.tobytes()
    for name, value in tags.items():
        setattr(slice_, name, value)
    slice_.save_as(path, enforce_file_format=True)


def series(folder: Path, direction: Any = AXIAL, **tags: Any) -> Path:
    """Slices every 2 mm along the normal, under names in no order."""
    normal = np.cross(direction[:3], direction[3:])
    for number, pixels in enumerate(VALUES):
        place = np.array([-10, 20, 30]) + 2 * number * normal
        write(folder / f"IM{(number * 3) % 5}.dcm", pixels, place, direction, **tags)
    return folder


@pytest.mark.parametrize(
    "direction", [AXIAL, CORONAL, (0, 1, 0, 0, 0, -1), (0.8, 0.6, 0, 0, 0, -1)]
)
def test_a_series_lies_where_its_headers_say(tmp_path, direction):
    folder = series(tmp_path / "scan", direction)
    image = open_image(folder, ndim=3)
    along, down = np.array(direction[:3], float), np.array(direction[3:], float)
    affine = np.eye(4)
    affine[:3, :3] = np.stack([along * 0.75, down * 0.5, np.cross(along, down) * 2], 1)
    affine[:3, 3] = (-10, 20, 30)
    affine = np.diag([-1.0, -1, 1, 1]) @ affine  # left, back and head to right, front and head
    expected: Any = nibabel.as_closest_canonical(
        nibabel.Nifti1Image(VALUES.T.astype(np.int16) - 1024, affine)
    )
    np.testing.assert_array_equal(image.read()[0], np.asarray(expected.dataobj).T)
    np.testing.assert_allclose(image.meta["position"], expected.affine, atol=1e-6)
    assert image.spacing == pytest.approx(expected.header.get_zooms()[::-1])
    assert (image.dtype, image.unit, image.name) == (np.int16, "mm", "scan")
    box = Box((1, 2, 0), tuple(n - 1 for n in image.shape[1:]))
    np.testing.assert_array_equal(image.read(box), image.read()[(slice(None), *box.slices)])
    # Labels are NIfTI in the order of the series.
    out = output_name(image, tmp_path)
    assert out.name == "scan.nii.gz"
    save_image(out, (image.read()[0] > 500).astype(np.uint8), like=image)
    written: Any = nibabel.load(out)
    np.testing.assert_array_equal(np.asarray(written.dataobj).T, VALUES > 1524)
    np.testing.assert_allclose(written.affine, affine, atol=1e-5)


def test_folders_of_series_are_images(tmp_path):
    for name in ("p2", "p10"):
        series(tmp_path / "all" / name)
    (tmp_path / "all" / "notes").mkdir()
    (tmp_path / "all" / "notes" / "a.txt").write_text("x")
    found = list_files(tmp_path / "all")
    assert [Path(each).name for each in found] == ["p2", "p10"]
    assert list_files(tmp_path / "all" / "p2") == [str(tmp_path / "all" / "p2")]


@pytest.mark.parametrize(
    ("tags", "dtype"),
    [({"RescaleSlope": 0.5}, np.float32), ({"RescaleSlope": 100}, np.int32), ({}, np.int16)],
)
def test_values_are_rescaled(tmp_path, tags, dtype):
    image = open_image(series(tmp_path / "scan", **tags), ndim=3)
    assert image.dtype == dtype
    expected = VALUES * float(tags.get("RescaleSlope", 1)) - 1024
    assert np.sort(image.read().ravel()).tolist() == np.sort(expected.ravel()).tolist()


def test_one_slice(tmp_path):
    write(tmp_path / "scan" / "a.dcm", VALUES[0], (0, 0, 0), SliceThickness=3)
    image = open_image(tmp_path / "scan", ndim=3)
    assert image.shape == (1, 1, 6, 7)
    assert image.spacing == (3, 0.5, 0.75)


def refused(folder: Path, *words: str) -> None:
    with pytest.raises(DataError) as error:
        open_image(folder, ndim=3).read()
    for word in (folder.name, *words):
        assert word in str(error.value)


def test_missing_and_double_slices_are_named(tmp_path):
    folder = series(tmp_path / "scan")
    (folder / "IM1.dcm").unlink()  # the third
    refused(folder, "4 mm between IM3.dcm and IM4.dcm", "slices every 2 mm")
    folder = series(tmp_path / "scan")
    (folder / "copy.dcm").write_bytes((folder / "IM4.dcm").read_bytes())
    refused(folder, "at one position", "copy.dcm", "IM4.dcm")


@pytest.mark.parametrize(
    ("tags", "words"),
    [
        ({"SeriesInstanceUID": "9.9"}, ["2 series of"]),
        ({"NumberOfFrames": 2}, ["several frames", "odd.dcm"]),
        ({"SamplesPerPixel": 3}, ["colours", "odd.dcm"]),
        ({"PixelSpacing": [1, 1]}, ["others in odd.dcm"]),
        ({"ImageOrientationPatient": list(map(float, CORONAL))}, ["others in odd.dcm"]),
        ({"ImagePositionPatient": None}, ["odd.dcm", "ImagePositionPatient, 3 numbers"]),
        ({"PixelData": b"short!"}, ["odd.dcm", "can be decoded"]),
    ],
)
def test_slices_that_do_not_belong_are_named(tmp_path, tags, words):
    folder = series(tmp_path / "scan")
    write(folder / "odd.dcm", VALUES[0], (-10, 20, 40), **tags)
    refused(folder, *words)


def test_without_pydicom_the_extra_is_named(tmp_path, monkeypatch):
    folder = series(tmp_path / "scan")
    monkeypatch.setitem(sys.modules, "pydicom", None)
    with pytest.raises(MissingPackageError, match=r"pip install 'unmask\[dicom\]'"):
        open_image(folder, ndim=3)


def test_a_series_is_not_written(tmp_path):
    folder = series(tmp_path / "scan")
    with pytest.raises(DataError, match=r"\.nii\.gz"):
        save_image(folder, np.zeros((3, 4, 5), np.uint8))
