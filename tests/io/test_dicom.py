"""Folders of DICOM slices as volumes: sorted, scaled, placed, and refused by the file's name."""

import sys
from pathlib import Path
from typing import Any

import imagecodecs
import nibabel
import numpy as np
import pytest

from unmask.data.pairs import Layout, audit_pairs
from unmask.errors import DataError, MissingPackageError
from unmask.io import dicom_files, list_files, open_image, output_name, save_image
from unmask.space import Box

pydicom = pytest.importorskip("pydicom")
from pydicom.uid import (  # noqa: E402
    CTImageStorage,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    RLELossless,
)

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
        ({"SamplesPerPixel": 3}, ["colors", "odd.dcm"]),
        ({"PixelSpacing": [1, 1]}, ["others in odd.dcm"]),
        ({"ImageOrientationPatient": list(map(float, CORONAL))}, ["others in odd.dcm"]),
        ({"ImagePositionPatient": None}, ["odd.dcm", "ImagePositionPatient, 3 numbers"]),
        ({"PixelData": b"short!"}, ["odd.dcm", "expected 84 bytes of pixels"]),
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


# Files that are damaged, or no slices


@pytest.mark.parametrize("place", [0, 2, 4])
@pytest.mark.parametrize("damage", ["empty", "zeroed", "half", "no magic", "text"])
def test_a_damaged_slice_is_not_left_out(tmp_path, place, damage):
    folder = series(tmp_path / "scan")
    file = folder / f"IM{(place * 3) % 5}.dcm"
    good = file.read_bytes()
    head, tail = good[:128], good[132:]
    changed = {"empty": b"", "zeroed": bytes(len(good)), "half": good[: len(good) // 2],
               "no magic": head + b"XXXX" + tail, "text": b"a note" * 100}  # fmt: skip
    file.write_bytes(changed[damage])
    refused(folder, file.name)


def test_other_files_next_to_a_series_are_reported(tmp_path):
    folder = series(tmp_path / "scan")
    for name in ("A_notes.txt", "0.json", ".hidden", "DICOMDIR", "b.xml", "c.csv", "d.log"):
        (folder / name).write_text("x" * 200)
    (folder / "preview.png").write_bytes(b"no image")
    assert list_files(folder) == [str(folder)]
    audit = audit_pairs(folder, None, Layout(3), read=True)
    assert len(audit.pairs) == 1
    assert any("left out: 0.json, A_notes.txt, b.xml" in note for note in audit.notes)
    assert open_image(folder, ndim=3).shape == (1, 5, 6, 7)
    (folder / "IM9").write_bytes(b"")
    refused(folder, "IM9 is no DICOM file (0 bytes)")


@pytest.mark.parametrize("implicit", [False, True])
def test_slices_without_a_preamble(tmp_path, implicit):
    expected = open_image(series(tmp_path / "scan"), ndim=3).read()
    folder = tmp_path / "raw"
    folder.mkdir()
    for file in (tmp_path / "scan").iterdir():
        header = pydicom.dcmread(file)
        header.file_meta, header.preamble = pydicom.dataset.FileMetaDataset(), None
        header.save_as(folder / file.stem, implicit_vr=implicit, little_endian=True)
        assert (folder / file.stem).read_bytes()[128:132] != b"DICM"
    image = open_image(folder, ndim=3)
    np.testing.assert_array_equal(image.read(), expected)
    assert list_files(folder) == [str(folder)]
    (folder / "IM0").write_bytes((folder / "IM0").read_bytes()[:200])
    refused(folder, "IM0")


# Several volumes, tilt


@pytest.mark.parametrize("count", [2, 3])
def test_several_images_at_each_position(tmp_path, count):
    for number in range(3 * count):
        place = (0, 0, 2.0 * (number // count))
        write(tmp_path / "scan" / f"s{number}.dcm", VALUES[0], place)
    refused(
        tmp_path / "scan",
        f"found {count} images at each of 3 positions (time points, echoes or b-values)",
        "Put each volume into a folder of its own",
    )


def test_a_tilted_stack_is_refused(tmp_path):
    for number in range(4):
        write(tmp_path / "scan" / f"s{number}.dcm", VALUES[0], (0, 0.8 * number, 2.0 * number))
    refused(tmp_path / "scan", "gantry tilt", "21.8 degrees", "dcm2niix")
    # Rounded positions are no tilt, and what is written contradicts itself nowhere.
    direction = (0.8, 0.6, 0, 0, 0, -1)
    normal = np.cross(direction[:3], direction[3:])
    for number in range(4):
        place = (np.array([0.1, 0.2, 0.3]) + 2.03 * number * normal).round(2)
        write(tmp_path / "fine" / f"s{number}.dcm", VALUES[0], place, direction)
    image = open_image(tmp_path / "fine", ndim=3)
    save_image(tmp_path / "a.nii.gz", np.zeros(image.shape[1:], np.uint8), like=image)
    header: Any = nibabel.load(tmp_path / "a.nii.gz").header
    np.testing.assert_allclose(header.get_sform(), header.get_qform(), atol=1e-4)


def test_directions_that_are_not_at_right_angles(tmp_path):
    write(tmp_path / "scan" / "a.dcm", VALUES[0], (0, 0, 0), (1, 0, 0, 0.5, 0.866, 0))
    refused(tmp_path / "scan", "a.dcm", "right angles")


# Single files


def test_one_file_is_an_image(tmp_path):
    folder = series(tmp_path / "scan")
    image = open_image(folder / "IM0.dcm", ndim=2)
    assert (image.shape, image.spacing, image.unit) == ((1, 6, 7), (0.5, 0.75), "mm")
    np.testing.assert_array_equal(image.read()[0], VALUES[0].astype(np.int16) - 1024)
    assert open_image(folder / "IM0.dcm", ndim=3).shape == (1, 1, 6, 7)
    assert image.name == "IM0"
    out = output_name(image, tmp_path)
    save_image(out, np.ones((6, 7), np.uint8), like=image)
    assert open_image(out, ndim=2).shape == (1, 6, 7)


def test_slices_given_one_by_one_are_the_series(tmp_path):
    folder = series(tmp_path / "scan")
    every = sorted(str(file) for file in folder.iterdir())
    assert list_files(f"{folder}/*.dcm") == [str(folder)]
    assert list_files(f"{tmp_path}/*/*.dcm") == [str(folder)]
    assert list_files(every) == [str(folder)]
    assert list_files(every[2]) == [every[2]]
    with pytest.raises(DataError, match=r"all slices of the series.*4 without IM4\.dcm"):
        list_files(every[:4])


@pytest.mark.parametrize("tag", ["PixelSpacing", "ImagerPixelSpacing", None])
def test_radiographs(tmp_path, tag):
    for number in range(3):
        tags = {"PixelSpacing": None, **({} if tag is None else {tag: [0.2, 0.1]})}
        path = tmp_path / "xrays" / f"x{number}.dcm"
        write(path, VALUES[number], (0, 0, 0), ImagePositionPatient=None,
              ImageOrientationPatient=None, **tags)  # fmt: skip
    found = list_files(tmp_path / "xrays")
    assert [Path(file).name for file in found] == ["x0.dcm", "x1.dcm", "x2.dcm"]
    assert list_files(f"{tmp_path}/xrays/*") == found
    image = open_image(found[1])
    assert (image.axes, image.spacing) == ("CYX", None if tag is None else (0.2, 0.1))
    np.testing.assert_array_equal(image.read()[0], VALUES[1].astype(np.int16) - 1024)


def test_files_that_are_no_single_slice(tmp_path):
    path = tmp_path / "a.dcm"
    write(path, VALUES[0], (0, 0, 0), NumberOfFrames=2)
    with pytest.raises(DataError, match=r"a\.dcm.*a stack of 2 planes"):
        open_image(path, ndim=2)
    with pytest.raises(DataError, match=r"a\.dcm.*bytes of pixels"):
        open_image(path, ndim=3).read()
    write(path, VALUES[0], (0, 0, 0), Rows=None)
    with pytest.raises(DataError, match="an image with Rows"):
        open_image(path, ndim=2)
    path.write_bytes(b"no image at all" * 20)
    with pytest.raises(DataError, match=r"a\.dcm: expected a DICOM file"):
        open_image(path, ndim=2)


# Bombs, and headers that contradict the pixels


def test_a_deflated_file(tmp_path, monkeypatch):
    path = tmp_path / "a.dcm"
    write(path, VALUES[0], (0, 0, 0))
    header = pydicom.dcmread(path)
    header.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    header.save_as(path)
    assert open_image(path, ndim=2).read()[0, 0, 0] == int(VALUES[0, 0, 0]) - 1024
    header.add_new(0x00091010, "OB", bytes(9 * 2**20))
    header.save_as(path)
    monkeypatch.setattr(dicom_files, "_INFLATED_LIMIT", 8 * 2**20)
    with pytest.raises(DataError, match="in a deflated file, found more"):
        open_image(path, ndim=2)


def encapsulated(path: Path, frame: bytes, syntax: Any, **tags: Any) -> None:
    write(path, VALUES[0], (0, 0, 0))
    header = pydicom.dcmread(path)
    header.PixelData = pydicom.encaps.encapsulate([frame])
    header["PixelData"].is_undefined_length = True
    header.file_meta.TransferSyntaxUID = syntax
    for name, value in tags.items():
        setattr(header, name, value)
    header.save_as(path)


def test_a_compressed_frame_has_the_size_of_its_header(tmp_path):
    path = tmp_path / "a.dcm"
    other = np.zeros((300, 200), np.uint16)
    frame = bytes(imagecodecs.jpeg2k_encode(other, level=0, codecformat="j2k"))
    encapsulated(path, frame, JPEG2000Lossless)
    with pytest.raises(DataError, match=r"a frame of \(300, 200\)"):
        open_image(path, ndim=2).read()
    frame = bytes(imagecodecs.jpeg_encode(other.astype(np.uint8)))
    encapsulated(path, frame, JPEGBaseline8Bit, BitsAllocated=8, BitsStored=8, HighBit=7)
    with pytest.raises(DataError, match=r"a frame of \(300, 200\)"):
        open_image(path, ndim=2).read()
    encapsulated(path, bytes(200_000), RLELossless)
    with pytest.raises(DataError, match=r"a\.dcm.*bytes of pixels"):
        open_image(path, ndim=2).read()
    encapsulated(path, b"\0" * 100, RLELossless, Rows=60_000, Columns=60_000)
    with pytest.raises(DataError, match="1000 times"):
        open_image(path, ndim=2)


@pytest.mark.parametrize("tags", [{"Rows": 3}, {"Rows": 12}, {"Columns": 6}, {"Rows": 65_000}])
def test_pixels_that_do_not_fit_the_header(tmp_path, tags):
    path = tmp_path / "scan" / "a.dcm"
    write(path, VALUES[0], (0, 0, 0))
    header = pydicom.dcmread(path)
    for name, value in tags.items():
        setattr(header, name, value)
    header.save_as(path)
    refused(path.parent, "a.dcm", "bytes of pixels")
