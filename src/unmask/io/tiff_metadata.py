"""Voxel sizes and descriptions in TIFF: OME, ImageJ, LSM and our own."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from fractions import Fraction
from typing import Any

import tifffile

from unmask.io.stored import METRES, unit_symbol


def pixels_of(text: str) -> list[dict[str, str]]:
    """Attributes of every image in OME-XML."""
    root = ET.fromstring(text)
    return [dict(node.attrib) for node in root.iter() if node.tag.rpartition("}")[2] == "Pixels"]


def spacing_of(file: tifffile.TiffFile) -> tuple[dict[str, float], str | None]:
    """Voxel size from OME, ImageJ, LSM or our own metadata; printing resolution is none."""
    if file.is_ome and file.ome_metadata:
        return _ome_spacing(pixels_of(file.ome_metadata)[0])
    if file.is_imagej:
        return _imagej_spacing(file)
    if file.is_lsm and file.lsm_metadata:
        sizes = {axis: 1e6 * float(file.lsm_metadata[f"VoxelSize{axis}"]) for axis in "ZYX"}
        return sizes, "um"
    if file.is_shaped:
        described = json.loads(file.pages.first.description)
        sizes = described.get("spacing") or ()
        letters = [axis for axis in described.get("axes", "") if axis in "ZYX"]
        return dict(zip(letters, sizes, strict=False)), unit_symbol(described.get("unit"))
    return {}, None


def _ome_spacing(pixels: dict[str, str]) -> tuple[dict[str, float], str | None]:
    unit = unit_symbol(pixels.get("PhysicalSizeXUnit", "um"))
    sizes: dict[str, float] = {}
    for axis in "ZYX":
        size = pixels.get(f"PhysicalSize{axis}")
        own = unit_symbol(pixels.get(f"PhysicalSize{axis}Unit", "um"))
        if size is None or own not in METRES or unit not in METRES:
            continue
        # Axes may come in different units; those of x count.
        sizes[axis] = float(size) if own == unit else float(size) * METRES[own] / METRES[unit]
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


def described(
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
