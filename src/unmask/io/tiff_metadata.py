"""Voxel sizes and descriptions in TIFF: OME, ImageJ, LSM and our own."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import tifffile

from unmask.io.contract import METERS, unit_symbol
from unmask.io.ome import OmeDocument, OmeImage


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
