"""Voxel sizes and descriptions in TIFF: OME, ImageJ, LSM and our own."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import tifffile

from unmask.io.contract import METERS, unit_symbol
from unmask.io.ome import OmeDocument, OmeImage

# Microns per pixel as Aperio ("MPP = 0.2520") and Ventana (ScanRes="0.25") write them.
_MICRONS = re.compile(r"(?:\bMPP\s*=\s*|ScanRes=\")(\d{1,6}(?:\.\d{1,12})?)")
_MOST_TEXT = 1 << 20
_XMP = 700


@dataclass(frozen=True)
class Facts:
    """What the metadata say of one image.

    Attributes:
        spacing: voxel size by axis.
        unit: of the spacing.
        channels: names in order, "" for a channel without one; empty if there are none.
    """

    spacing: Mapping[str, float]
    unit: str | None
    channels: tuple[str, ...] = ()


def facts_of(file: tifffile.TiffFile, series: Any, document: OmeDocument | None) -> Facts:
    """Voxel size and channels of an image; the resolution for printing is not a voxel size.

    Args:
        file: the open file.
        series: the image.
        document: OME metadata, if the file has them.
    """
    if document is not None and document.images:
        image = image_of(series, document)
        return Facts({}, None) if image is None else Facts(*_ome_spacing(image), image.channels)
    if file.is_imagej:
        return Facts(*_imagej_spacing(file), _imagej_channels(file))
    if file.is_lsm and file.lsm_metadata:
        sizes = {axis: 1e6 * float(file.lsm_metadata[f"VoxelSize{axis}"]) for axis in "ZYX"}
        colors = file.lsm_metadata.get("ChannelColors") or {}
        return Facts(sizes, "um", tuple(map(str, colors.get("ColorNames") or ())))
    if file.is_stk:
        return Facts(*_stk_spacing(file))
    if file.is_svs or file.is_ndpi or file.is_scn or file.is_qpi or file.is_bif:
        return Facts(*_slide_spacing(file, series))
    if file.is_shaped:
        return _shaped(series.keyframe.description or file.pages.first.description)
    return Facts({}, None)


def image_of(series: Any, document: OmeDocument) -> OmeImage | None:
    """The OME image of a series, None if that is not clear; images without planes have none."""
    if series.kind != "ome":
        return document.images[0] if len(document.images) == 1 else None
    count = len(series.parent.series)
    if count == len(document.images):
        return document.images[series.parent.series.index(series)]
    rows, columns = (series.shape[series.axes.index(axis)] for axis in "YX")
    alike = [
        image
        for image in document.images
        if (image.name == series.name or series.name in ("", "Baseline"))
        and (int(image.pixels["SizeY"]), int(image.pixels["SizeX"])) == (rows, columns)
    ]
    return alike[0] if len(alike) == 1 else None


def _shaped(description: str) -> Facts:
    """Metadata in one line of JSON; older versions of tifffile wrote ``shape=(2,3,10,10)``."""
    try:
        described = json.loads(description)
    except ValueError:
        return Facts({}, None)
    sizes = described.get("spacing") or ()
    letters = [axis for axis in described.get("axes", "") if axis in "ZYX"]
    unit = unit_symbol(described.get("unit"))
    return Facts(dict(zip(letters, sizes, strict=False)), unit)


def _imagej_channels(file: tifffile.TiffFile) -> tuple[str, ...]:
    """Labels of the slices, if every slice is a channel of its own."""
    described = file.imagej_metadata or {}
    labels, count = described.get("Labels"), described.get("channels", 1)
    if not isinstance(labels, list) or len(labels) != count or count < 2:
        return ()
    return tuple(str(label) for label in labels)


def _slide_spacing(file: tifffile.TiffFile, series: Any) -> tuple[dict[str, float], str | None]:
    """Pixel size of a slide in um: as text of the scanner, or as resolution of the first level."""
    page = series.levels[0].keyframe
    texts = (str(file.pages.first.description), _xmp(file))
    found = next((m for text in texts if (m := _MICRONS.search(text[:_MOST_TEXT]))), None)
    if found:
        size = float(found[1])
        return ({"Y": size, "X": size}, "um") if size > 0 else ({}, None)
    if int(page.resolutionunit) != tifffile.RESUNIT.CENTIMETER:
        # Inches are the resolution for printing.
        return {}, None
    across, down = (float(number) for number in page.get_resolution(tifffile.RESUNIT.MICROMETER))
    if min(across, down) <= 0:
        return {}, None
    return {"Y": 1 / down, "X": 1 / across}, "um"


def _xmp(file: tifffile.TiffFile) -> str:
    value = file.pages.first.tags.valueof(_XMP) if file.is_bif else ""
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value or "")


def _stk_spacing(file: tifffile.TiffFile) -> tuple[dict[str, float], str | None]:
    """Voxel size of a MetaMorph stack, if it was calibrated."""
    described = file.stk_metadata or {}
    unit = unit_symbol(str(described.get("CalibrationUnits", "")).strip("\0 "))
    if not described.get("SpatialCalibration") or unit is None:
        return {}, None
    sizes = {axis: float(described.get(f"{axis}Calibration", 0)) for axis in "YX"}
    steps = [float(step) for step in described.get("ZDistance", ())]
    if steps and len({*steps}) == 1 and steps[0] > 0:
        sizes["Z"] = steps[0]
    return {axis: size for axis, size in sizes.items() if size > 0}, unit


def _ome_spacing(image: OmeImage) -> tuple[dict[str, float], str | None]:
    pixels = image.pixels
    unit = unit_symbol(pixels.get("PhysicalSizeXUnit", "um"))
    sizes: dict[str, float] = {}
    for axis in "ZYX":
        size = pixels.get(f"PhysicalSize{axis}")
        own = unit_symbol(pixels.get(f"PhysicalSize{axis}Unit", "um"))
        if size is None or own not in METERS or unit not in METERS:
            continue
        # Axes may come in different units; those of x count.
        sizes[axis] = float(size) if own == unit else float(size) * METERS[own] / METERS[unit]
    return sizes, unit


def _imagej_spacing(file: tifffile.TiffFile) -> tuple[dict[str, float], str | None]:
    described = file.imagej_metadata or {}
    unit = unit_symbol(described.get("unit"))
    sizes: dict[str, float] = {}
    for axis, name in (("Y", "YResolution"), ("X", "XResolution")):
        tag: Any = file.pages.first.tags.get(name)
        if tag is not None and tag.value[0] > 0 and tag.value[1] > 0:
            sizes[axis] = tag.value[1] / tag.value[0]
    if "spacing" in described:
        sizes["Z"] = abs(float(described["spacing"]))
    # Without a unit, one pixel an inch is what an uncalibrated image says.
    uncalibrated = unit is None and all(size == 1 for size in sizes.values())
    return ({}, None) if uncalibrated else (sizes, unit)


def describe(
    kind: str, axes: str, spacing: tuple[float, ...] | None, unit: str | None
) -> dict[str, Any]:
    """Metadata to write.

    Args:
        kind: "ome", "imagej" or "json".
        axes: of the array as written.
        spacing: voxel size of the spatial axes, slow axis first.
        unit: short symbol.
    """
    found: dict[str, Any] = {"axes": axes}
    sizes = _by_axis(spacing)
    if kind == "json":
        return found | ({"spacing": spacing, "unit": unit} if spacing else {})
    if kind == "imagej":
        # ImageJ's unit of an uncalibrated image is the pixel.
        found |= {"unit": unit or "pixel"} if spacing else {}
        return found | ({"spacing": sizes["Z"]} if "Z" in sizes else {})
    for axis, size in sizes.items():
        found[f"PhysicalSize{axis}"] = size
        found[f"PhysicalSize{axis}Unit"] = {"um": "µm", "angstrom": "Å", None: "pixel"}.get(
            unit, unit
        )
    return found


def resolution(kind: str, spacing: tuple[float, ...] | None, unit: str | None) -> dict[str, Any]:
    """Arguments of tifffile for pixels per unit; the tags hold fractions of 32 bits."""
    sizes = _by_axis(spacing)
    if kind != "imagej" or not sizes:
        return {}
    del unit
    return {
        "resolution": (_fraction(sizes["X"]), _fraction(sizes["Y"])),
        "resolutionunit": "NONE",
    }


def _fraction(size: float) -> tuple[int, int]:
    """Pixels per unit as a fraction."""
    exact = Fraction(size).limit_denominator(2**20)
    return exact.denominator, max(1, exact.numerator)


def _by_axis(spacing: tuple[float, ...] | None) -> dict[str, float]:
    return dict(zip("ZYX"[-len(spacing) :], spacing, strict=True)) if spacing else {}
