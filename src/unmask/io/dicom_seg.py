"""Label volumes as DICOM segmentations (.seg.dcm), with the extra ``dicom-seg`` (highdicom).

A segmentation refers to the slices it belongs to, so the image must be a DICOM series.
"""

from __future__ import annotations

from functools import partial
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from unmask.atomic import atomic_path
from unmask.io import limits
from unmask.io.contract import (
    Content,
    Format,
    Location,
    Stored,
    file_error,
    spacing_in_order,
)
from unmask.io.dicom import open_slice
from unmask.io.dicom_files import read_dataset
from unmask.io.dicom_series import read_series, sort_slices
from unmask.lookup import optional_import

_MOST_SEGMENTS = 255


def save_segmentation(location: Location, content: Content) -> None:
    """Write one binary segment per label.

    Raises:
        DataError: the image is not a DICOM series, or too many labels.
        MissingPackageError: highdicom is not installed.
    """
    folder, turn = content.meta.get("dicom"), content.meta.get("turn")
    if folder is None or turn is None or content.axes != "ZYX":
        raise _refused(location, "labels of a DICOM series", f"others, axes {content.axes}")
    numbers = [int(number) for number in np.unique(content.array) if number]
    if not numbers or len(numbers) > _MOST_SEGMENTS:
        raise _refused(location, f"1 to {_MOST_SEGMENTS} labels", f"{len(numbers)}")
    highdicom: Any = optional_import("highdicom", "dicom-seg")
    pydicom: Any = optional_import("pydicom", "dicom")
    slices, _ = sort_slices(folder, read_series(pydicom, Path(folder), folder)[0])
    sources = [read_dataset(pydicom, one.path) for one in slices]
    array = np.ascontiguousarray(turn.inverse.array(content.array))
    # Segments are numbered from 1 without a gap; the label is the number in the description.
    planes = np.stack([array == number for number in numbers], axis=-1)
    segment = highdicom.seg.Segmentation(
        source_images=sources,
        pixel_array=planes.astype(np.uint8),
        segmentation_type="BINARY",
        segment_descriptions=[
            _describe(highdicom, pydicom, place, number) for place, number in enumerate(numbers, 1)
        ],
        series_instance_uid=highdicom.UID(),
        series_number=1000,
        sop_instance_uid=highdicom.UID(),
        instance_number=1,
        manufacturer="unmask",
        manufacturer_model_name="unmask",
        software_versions=_version(),
        device_serial_number="0",
    )
    with atomic_path(location.path) as aside:
        segment.save_as(aside)


def copy_segmentation(location: Location, stored: Stored) -> None:
    """Write labels that were made in parts, such as plane by plane; highdicom takes them whole.

    Raises:
        DataError: as `save_segmentation`, or more labels than half of the free memory holds.
    """
    nbytes = prod(stored.shape) * stored.dtype.itemsize
    limits.check_memory(location.source, nbytes, what="labels of a DICOM segmentation")
    array = stored.read(tuple(slice(0, length) for length in stored.shape))
    spacing = spacing_in_order(stored)
    save_segmentation(location, Content(array, stored.axes, spacing, stored.unit, stored.meta))


def _describe(highdicom: Any, pydicom: Any, place: int, number: int) -> Any:
    codes = pydicom.sr.codedict.codes
    return highdicom.seg.SegmentDescription(
        segment_number=place,
        segment_label=f"label {number}",
        segmented_property_category=codes.SCT.Tissue,
        segmented_property_type=codes.SCT.Tissue,
        algorithm_type="AUTOMATIC",
        algorithm_identification=highdicom.AlgorithmIdentificationSequence(
            name="unmask", version=_version(), family=codes.DCM.ArtificialIntelligence
        ),
    )


def _version() -> str:
    from importlib.metadata import version

    return version("unmask")


_refused = partial(file_error, do="Save them as .nii.gz, which has the position of the image.")


FORMAT = Format(
    "DICOM segmentation",
    open_slice,
    save_segmentation,
    family=".nii.gz",
    copy=copy_segmentation,
)
