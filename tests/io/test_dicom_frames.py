"""DICOM files of several frames, of colors, segmentations and contours."""

from __future__ import annotations

import os
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from unmask.errors import DataError
from unmask.io import (
    Image,
    dicom_files,
    dicom_labels,
    list_files,
    open_image,
    open_labels,
    save_labels,
)
from unmask.io.copying import copy_image
from unmask.memory import track_growth
from unmask.testing.changed_bytes import change_bytes

pydicom = pytest.importorskip("pydicom")

VALUES = np.random.default_rng(0).integers(0, 4000, (4, 6, 7)).astype(np.uint16)
CT = "1.2.840.10008.5.1.4.1.1.2"
ENHANCED = "1.2.840.10008.5.1.4.1.1.2.1"
RTSTRUCT = "1.2.840.10008.5.1.4.1.1.481.3"


@pytest.fixture
def study(tmp_path: Path) -> Path:
    """A folder with no neighbors that hold other series."""
    (tmp_path / "study").mkdir()
    return tmp_path / "study"


def dataset(kind: str, **tags: Any) -> Any:
    one = pydicom.Dataset()
    one.file_meta = pydicom.dataset.FileMetaDataset()
    one.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    one.file_meta.MediaStorageSOPClassUID = one.SOPClassUID = kind
    one.SOPInstanceUID = pydicom.uid.generate_uid()
    one.file_meta.MediaStorageSOPInstanceUID = one.SOPInstanceUID
    one.StudyInstanceUID, one.SeriesInstanceUID = "1.2.8", "1.2.9"
    one.FrameOfReferenceUID, one.Modality = "1.2.7", "CT"
    one.PatientID = one.PatientName = one.PatientBirthDate = one.PatientSex = ""
    one.StudyID = one.AccessionNumber = one.StudyDate = one.StudyTime = ""
    one.ReferringPhysicianName = ""
    for name, value in tags.items():
        setattr(one, name, value)
    return one


def pixels(one: Any, values: np.ndarray, samples: int = 1) -> Any:
    one.Rows, one.Columns = values.shape[-2:] if samples == 1 else values.shape[-3:-1]
    one.SamplesPerPixel = samples
    one.PhotometricInterpretation = "MONOCHROME2" if samples == 1 else "RGB"
    if samples > 1:
        one.PlanarConfiguration = 0
    bits = 8 * values.dtype.itemsize
    one.BitsAllocated, one.BitsStored, one.HighBit = bits, bits, bits - 1
    one.PixelRepresentation = 0
    one.PixelData = values.tobytes()
    return one


def sequence(**tags: Any) -> Any:
    item = pydicom.Dataset()
    for name, value in tags.items():
        setattr(item, name, value)
    return pydicom.Sequence([item])


def enhanced(path: Path, heights: list[float], **tags: Any) -> None:
    one = pixels(dataset(ENHANCED, NumberOfFrames=len(VALUES), **tags), VALUES)
    shared = pydicom.Dataset()
    shared.PixelMeasuresSequence = sequence(PixelSpacing=[0.5, 0.75], SliceThickness=2)
    shared.PlaneOrientationSequence = sequence(ImageOrientationPatient=[1, 0, 0, 0, 1, 0])
    one.SharedFunctionalGroupsSequence = pydicom.Sequence([shared])
    groups = []
    for height in heights:
        group = pydicom.Dataset()
        group.PlanePositionSequence = sequence(ImagePositionPatient=[-1.0, -2.0, height])
        groups.append(group)
    one.PerFrameFunctionalGroupsSequence = pydicom.Sequence(groups)
    one.save_as(path, enforce_file_format=True)


def series(folder: Path) -> Path:
    folder.mkdir()
    for number, values in enumerate(VALUES):
        one = pixels(dataset(CT, PixelSpacing=[0.5, 0.75], SliceThickness=2), values)
        one.ImagePositionPatient = [-1.0, -2.0, 2.0 * number]
        one.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
        one.InstanceNumber = number + 1
        one.save_as(folder / f"{number}.dcm", enforce_file_format=True)
    return folder


def test_frames_with_positions_are_a_volume(tmp_path: Path) -> None:
    enhanced(tmp_path / "a.dcm", [6.0, 0.0, 4.0, 2.0])
    image = open_image(tmp_path / "a.dcm", ndim=3)
    assert image.spacing == pytest.approx((2.0, 0.5, 0.75))
    # In the canonical order x grows to the right and y to the front.
    np.testing.assert_array_equal(image.read()[0], VALUES[[1, 3, 2, 0]][:, ::-1, ::-1])
    np.testing.assert_array_equal(image[0, 1:3, 2, 3], VALUES[[3, 2]][:, -3, -4])
    assert list_files(tmp_path) == [str(tmp_path / "a.dcm")]


def test_several_frames_at_each_position_are_time(tmp_path: Path) -> None:
    enhanced(tmp_path / "a.dcm", [0.0, 0.0, 2.0, 2.0])
    with pytest.raises(DataError, match="2 of them"):
        open_image(tmp_path / "a.dcm", ndim=3)


@pytest.mark.parametrize("heights", [[0.0, 1.0, 2.0, 3.4], [0.0, 0.0, 2.0, 4.0]])
def test_frames_on_no_grid_are_refused(tmp_path: Path, heights: list[float]) -> None:
    enhanced(tmp_path / "a.dcm", heights)
    with pytest.raises(DataError, match=r"a\.dcm: expected"):
        open_image(tmp_path / "a.dcm", ndim=3)


def test_colors(tmp_path: Path) -> None:
    values = VALUES[:, :, :6].reshape(4, 6, 2, 3).astype(np.uint8)
    pixels(dataset(CT), values[0], 3).save_as(tmp_path / "c.dcm", enforce_file_format=True)
    image = open_image(tmp_path / "c.dcm", ndim=2)
    np.testing.assert_array_equal(image.read(), np.moveaxis(values[0], -1, 0))
    movie = pixels(dataset(CT, NumberOfFrames=4, FrameTime=40.0), values, 3)
    movie.save_as(tmp_path / "m.dcm", enforce_file_format=True)
    with pytest.raises(DataError, match="4 of them"):
        open_image(tmp_path / "m.dcm", ndim=2)


def test_labels_become_a_segmentation_and_come_back(study: Path) -> None:
    pytest.importorskip("highdicom")
    folder = series(study / "scan")
    image = open_image(folder, ndim=3)
    labels = np.zeros(image.shape[1:], np.uint8)
    labels[1, 2:4, 3:5], labels[2, 0, 0] = 1, 2
    save_labels(study / "a.seg.dcm", labels, like=image)
    back = open_labels(study / "a.seg.dcm", ndim=3)
    np.testing.assert_array_equal(back.read()[0], labels)
    np.testing.assert_allclose(back.meta["position"], image.meta["position"])
    copy_image(Image.from_array(labels, ndim=3), study / "b.seg.dcm", like=image)
    np.testing.assert_array_equal(open_labels(study / "b.seg.dcm", ndim=3).read()[0], labels)
    # Without its series the slices from the first segment to the last one are left.
    shutil.rmtree(folder)
    alone = open_labels(study / "a.seg.dcm", ndim=3)
    np.testing.assert_array_equal(alone.read()[0], labels[1:3])
    assert "series is not" in " ".join(alone.meta["notes"])


def test_only_labels_of_a_series_become_a_segmentation(study: Path) -> None:
    enhanced(study / "a.dcm", [6.0, 0.0, 4.0, 2.0])
    image = open_image(study / "a.dcm", ndim=3)
    with pytest.raises(DataError, match="labels of a DICOM series"):
        save_labels(study / "a.seg.dcm", np.ones(image.shape[1:], np.uint8), like=image)


def contours(path: Path, corners: list[list[float]]) -> None:
    one = dataset(RTSTRUCT, Modality="RTSTRUCT")
    one.SeriesInstanceUID = "1.2.10"
    inner = sequence(SeriesInstanceUID="1.2.9")
    study = sequence(RTReferencedSeriesSequence=inner)
    one.ReferencedFrameOfReferenceSequence = sequence(RTReferencedStudySequence=study)
    drawn = [
        sequence(ContourGeometricType="CLOSED_PLANAR", ContourData=points)[0] for points in corners
    ]
    one.ROIContourSequence = sequence(
        ReferencedROINumber=3, ContourSequence=pydicom.Sequence(drawn)
    )
    one.save_as(path, enforce_file_format=True)


def test_contours_are_filled_on_the_grid_of_their_series(study: Path) -> None:
    series(study / "scan")
    x, y = -1.0, -2.0
    corners = [x + 0.75, y + 0.5, 2, x + 3.75, y + 0.5, 2, x + 3.75, y + 2, 2, x + 0.75, y + 2, 2]
    contours(study / "rt.dcm", [corners])
    labels = open_labels(study / "rt.dcm", ndim=3).read()[0][:, ::-1, ::-1]
    assert sorted(np.unique(labels)) == [0, 3]
    assert (labels[1, 2:4, 2:5] == 3).all()
    assert labels[[0, 2, 3]].sum() == 0
    contours(study / "rt.dcm", [[0, 0, 3, 1, 0, 3, 1, 1, 3.4]])
    with pytest.raises(DataError, match="contours on the slices"):
        open_labels(study / "rt.dcm", ndim=3)


def test_bombs_of_contours(study: Path) -> None:
    """Corners without end, values beyond the image, and a data set that inflates to a lot."""
    series(study / "scan")
    path = study / "rt.dcm"
    corners = [float(value) for k in range(4_000) for value in (k % 3, k % 2, 2)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dicom_labels, "_MOST_TESTS", 10**4)
        contours(path, [corners])
        with pytest.raises(DataError, match=r"4000 corners on slice 1\. Simplify the contours"):
            open_labels(path, ndim=3)
    contours(path, [[-1e9, -1e9, 2, 1e9, -1e9, 2, 1e9, 1e9, 2, -1e9, 1e9, 2]])
    assert (open_labels(path, ndim=3).read()[0][1] == 3).all()
    one = pydicom.dcmread(path)
    one.file_meta.TransferSyntaxUID = pydicom.uid.DeflatedExplicitVRLittleEndian
    one.add_new(0x00091010, "OB", bytes(2**25))
    grown = track_growth()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dicom_files, "_INFLATED_LIMIT", 2**20)
        one.save_as(path, enforce_file_format=True)
        with pytest.raises(DataError, match=r"rt\.dcm"):
            open_labels(path, ndim=3)
    assert grown() < 2**27


def test_damaged_slices_of_the_series_of_contours(study: Path) -> None:
    path, grown = write_contours(study), track_growth()
    for number in (3, 2, 1, 0):
        file = study / "scan" / f"{number}.dcm"
        one = pydicom.dcmread(file)
        one.Rows = one.Columns = 30_000
        one.save_as(file, enforce_file_format=True)
        # A slice that is left out would change the size of the labels.
        expected = r"[0-3]\.dcm: expected 1800000000 bytes" if number else "next to it"
        with pytest.raises(DataError, match=expected):
            open_labels(path, ndim=3)
    assert grown() < 2**30


def test_contours_need_their_series(study: Path) -> None:
    contours(study / "rt.dcm", [[0, 0, 2, 1, 0, 2, 1, 1, 2]])
    with pytest.raises(DataError, match="Copy the folder of the series next to the file"):
        open_labels(study / "rt.dcm", ndim=3)


def write_frames(study: Path) -> Path:
    enhanced(study / "a.dcm", [6.0, 0.0, 4.0, 2.0])
    return study / "a.dcm"


def write_segmentation(study: Path) -> Path:
    image = open_image(series(study / "scan"), ndim=3)
    labels = np.zeros(image.shape[1:], np.uint8)
    labels[1, 2:4, 3:5], labels[2, 0, 0] = 1, 2
    save_labels(study / "a.seg.dcm", labels, like=image)
    return study / "a.seg.dcm"


def write_contours(study: Path) -> Path:
    series(study / "scan")
    contours(study / "rt.dcm", [[-0.25, -1.5, 2, 2.75, -1.5, 2, 2.75, 0, 2, -0.25, 0, 2]])
    return study / "rt.dcm"


KINDS: dict[Callable[[Path], Path], Callable[..., Any]] = {
    write_frames: open_image,
    write_segmentation: open_labels,
    write_contours: open_labels,
}


def read_shape(path: Path, open_as: Callable[..., Any]) -> tuple[int, ...] | None:
    """Shape of what is read; None if it is refused, or another size is reported.

    A segmentation that no longer names its series has the slices of its segments.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            image = open_as(path, ndim=3)
            shape = image.read().shape
        except DataError:
            return None
        return None if image.meta.get("notes") else shape


@pytest.mark.parametrize("write", KINDS)
def test_changed_bytes(study: Path, write: Callable[[Path], Path]) -> None:
    if write is write_segmentation:
        pytest.importorskip("highdicom")
    path, rng = write(study), np.random.default_rng(1)
    content = path.read_bytes()
    grown, count, shape = (
        track_growth(),
        int(os.environ.get("UNMASK_FUZZ", "12")),
        (1, *VALUES.shape),
    )
    found = []
    for _ in range(count):
        path.write_bytes(change_bytes(content, rng))
        found.append(read_shape(path, KINDS[write]))
    if os.environ.get("UNMASK_FUZZ"):
        print(write.__name__, len(found) - found.count(None), "read", found.count(None), "refused")
    assert None in found
    assert set(found) <= {None, shape}
    assert grown() < 2**30


@pytest.mark.parametrize("write", [write_frames, write_segmentation])
def test_gigantic_sizes_in_a_small_file(study: Path, write: Callable[[Path], Path]) -> None:
    if write is write_segmentation:
        pytest.importorskip("highdicom")
    path, grown = write(study), track_growth()
    whole = pydicom.dcmread(path)
    for name, size in {"Rows": 65_000, "Columns": 65_000, "NumberOfFrames": 1_000_000}.items():
        one = pydicom.dcmread(path)
        setattr(one, name, size)
        one.save_as(path, enforce_file_format=True)
        assert read_shape(path, KINDS[write]) is None, name
        whole.save_as(path, enforce_file_format=True)
    assert grown() < 2**30
