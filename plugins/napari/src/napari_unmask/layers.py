"""Layers of napari as images of unmask, and results as layers at the place of their image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from napari.layers import Labels as LabelsLayer
from napari.layers import Layer
from napari.layers import Shapes as ShapesLayer

from unmask.errors import DataError, message
from unmask.io import Image, open_labels
from unmask.io.contract import unit_symbol
from unmask.space.box import Box

# Letters of the axes of a layer, by what its first axis is.
AXES = {
    "volume": ("YX", "ZYX", "TZYX"),
    "slices": ("YX", "ZYX", "TZYX"),
    "time": ("YX", "TYX", "TZYX"),
    "channels": ("YX", "CYX", "CZYX"),
}
_PIXEL = "pixel"


@dataclass(frozen=True)
class Source:
    """Voxels of layers, and where they are.

    Attributes:
        data: ``(*space)``, or with channels as ``axes`` says.
        axes: one letter per axis of ``data``.
        box: the part of the layer, along its axes without channels.
        spacing: voxel size of the spatial axes, slow axis first; None: not known.
        unit: of ``spacing``; None: not known.
        name: name of the first layer.
        placement: arguments of a new layer at the same place.
    """

    data: Any
    axes: str
    box: Box
    spacing: tuple[float, ...] | None
    unit: str | None
    name: str
    placement: Mapping[str, Any] = field(default_factory=dict)

    def as_image(self) -> Image:
        """The source as an image of unmask, with channels first.

        Raises:
            DataError: values that are not numbers.
        """
        image = Image.from_array(self.data, axes=self.axes, spacing=self.spacing, name=self.name)
        return replace(image, unit=self.unit)


def read_source(
    layers: Sequence[Layer], *, first: str = "volume", region: ShapesLayer | None = None
) -> Source:
    """Read one image from layers; several layers are its channels.

    Args:
        layers: image or labels layers of one shape.
        first: what the first of three axes is, a key of `AXES`.
        region: only the box around its (selected) shapes.

    Raises:
        DataError: no layer, layers of different shapes, or a region outside of them.
    """
    if not layers:
        raise DataError(
            message("napari", expected="a layer", found="none", do="Open or choose an image.")
        )
    shapes = {_data_of(layer).shape for layer in layers}
    if len(shapes) > 1:
        raise DataError(
            message(
                ", ".join(layer.name for layer in layers),
                expected="layers of one shape, which are the channels of one image",
                found=" and ".join(map(str, sorted(shapes))),
                do="Choose layers that belong together.",
            )
        )
    layer, rgb = layers[0], bool(getattr(layers[0], "rgb", False))
    letters = letters_of(layer, first)
    space = letters.replace("C", "")
    lead = letters.startswith("C")
    shape = shapes.pop()
    shape = shape[:-1] if rgb else shape[1:] if lead else shape
    box = Box.of(shape) if region is None else region_box(layer, region, shape, lead=lead)
    index = ((slice(None),) if lead else ()) + box.slices
    parts = [_data_of(each)[index] for each in layers]
    data = parts[0] if len(parts) == 1 else _stack(parts)
    axes = f"C{space}" if lead or len(parts) > 1 else f"{space}C" if rgb else space
    spacing, unit = spacing_of(layer, space, lead=lead)
    placed = placement(layer, box, lead=lead)
    return Source(data, axes, box, spacing, unit, layer.name, placed)


def read_labels(layer: LabelsLayer, source: Source) -> Source:
    """Labels of the voxels of ``source``.

    Raises:
        DataError: labels of another shape.
    """
    data, whole = _data_of(layer), source.placement["whole"]
    if tuple(data.shape) != whole:
        raise DataError(
            message(
                layer.name,
                expected=f"labels of the shape of {source.name}, {whole}",
                found=str(tuple(data.shape)),
                do="Choose the labels of this image, or make a new labels layer for it.",
            )
        )
    part = np.asarray(data[source.box.slices])
    return replace(source, data=part, axes=source.axes.replace("C", ""))


def letters_of(layer: Layer, first: str) -> str:
    """One letter per axis of the layer without those of colors.

    Raises:
        DataError: too many axes.
    """
    ndim = layer.ndim
    if not 2 <= ndim <= 4:
        raise DataError(
            message(
                layer.name,
                expected="two to four axes",
                found=f"{ndim}",
                do="Choose a part of it: Layers > Convert, or slice it into a layer of its own.",
            )
        )
    return AXES[first][ndim - 2]


def spacing_of(
    layer: Layer, space: str, *, lead: bool = False
) -> tuple[tuple[float, ...] | None, str | None]:
    """Voxel size and unit of the axes "Z", "Y" and "X" of a layer; None if it was never set."""
    start = 1 if lead else 0
    scale = [float(abs(each)) for each in layer.scale][start:]
    units = [str(each) for each in layer.units][start:]
    kept = [
        (size, unit) for size, unit, axis in zip(scale, units, space, strict=True) if axis in "ZYX"
    ]
    names = {unit for _, unit in kept}
    unit = names.pop() if len(names) == 1 else _PIXEL
    if unit == _PIXEL and all(size == 1 for size, _ in kept):
        return None, None
    symbol = None if unit == _PIXEL else unit_symbol(unit) or unit
    return tuple(size for size, _ in kept), symbol


def placement(layer: Layer, box: Box, *, lead: bool = False) -> dict[str, Any]:
    """Arguments of a layer that shows ``box`` of a layer at its place.

    Args:
        layer: the layer.
        box: part of its axes.
        lead: whether its first axis, which the new layer lacks, are channels.
    """
    start = 1 if lead else 0
    offset = np.concatenate([np.zeros(start), np.asarray(box.start, float)])
    # A position in the world is affine(translate + linear part x position).
    world = np.asarray(layer.data_to_world(offset))
    linear = np.asarray(layer.affine.linear_matrix)
    inner = np.linalg.solve(linear, world - np.asarray(layer.affine.translate))
    whole = _data_of(layer).shape[start:]
    whole = whole[:-1] if getattr(layer, "rgb", False) else whole
    return {
        "scale": tuple(layer.scale)[start:],
        "translate": tuple(inner)[start:],
        "units": tuple(layer.units)[start:],
        "rotate": np.asarray(layer.rotate)[start:, start:],
        "shear": _shear_of(layer, start),
        "affine": _affine_of(layer, start),
        "whole": tuple(whole),
    }


def _affine_of(layer: Layer, start: int) -> np.ndarray:
    keep = [*range(start, layer.ndim), layer.ndim]
    return np.asarray(layer.affine.affine_matrix)[np.ix_(keep, keep)]


def _shear_of(layer: Layer, start: int) -> np.ndarray:
    """The matrix of the shear, of the axes from ``start`` on."""
    shear = np.asarray(layer.shear)
    full = np.eye(layer.ndim)
    if shear.shape == full.shape:
        full = shear
    else:
        full[np.triu_indices(layer.ndim, 1)] = shear
    return full[start:, start:]


def place(data: Any, placed: Mapping[str, Any], **more: Any) -> dict[str, Any]:
    """Keyword arguments of a new layer."""
    kept = {name: value for name, value in placed.items() if name != "whole"}
    return {"data": data, **kept, **more}


def region_box(
    layer: Layer, region: ShapesLayer, shape: Sequence[int], *, lead: bool = False
) -> Box:
    """The box around the selected shapes, or around all if none is selected, in voxels of a layer.

    An axis along which the shapes have no extent, such as that of the slice they were drawn in, is
    kept whole.

    Raises:
        DataError: no shapes, or shapes outside of the layer.
    """
    chosen = sorted(region.selected_data) or range(len(region.data))
    corners = [corner for number in chosen for corner in np.asarray(region.data[number])]
    if not corners:
        raise DataError(
            message(region.name, expected="a rectangle", found="no shape", do="Draw one.")
        )
    points = np.array([_between(region, layer, corner) for corner in corners])
    points = points[:, 1:] if lead else points
    low, high = points.min(axis=0), points.max(axis=0)
    thin = high - low < 0.5
    # The center of a voxel has a whole number, so voxel 0 reaches from -0.5 to 0.5.
    start = np.where(thin, 0, np.clip(np.rint(low), 0, None)).astype(int)
    stop = np.where(thin, shape, np.minimum(np.rint(high) + 1, shape)).astype(int)
    if (start >= stop).any():
        raise DataError(
            message(
                region.name,
                expected=f"shapes on {layer.name}",
                found="shapes outside of it",
                do="Move them onto the image, or choose the whole image.",
            )
        )
    return Box(tuple(map(int, start)), tuple(map(int, stop)))


def _between(layer: Layer, other: Layer, position: np.ndarray) -> np.ndarray:
    """A position of one layer in voxels of another; leading axes that one lacks are 0."""
    world = np.asarray(layer.data_to_world(position), float)
    missing = max(0, other.ndim - len(world))
    world = np.concatenate([np.zeros(missing), world])[-other.ndim :]
    found = np.asarray(other.world_to_data(world), float)
    if missing:
        found[:missing] = 0
    return found


def like_of(layer: LabelsLayer) -> Image:
    """An image without values that says where a labels layer is: its voxel size and unit."""
    letters = letters_of(layer, "volume")
    spacing, unit = spacing_of(layer, letters)
    data = _data_of(layer)
    image = Image.from_array(data, axes=letters, spacing=spacing, name=layer.name)
    return replace(image, unit=unit)


def labels_image(source: Source) -> Image:
    """Labels as `open_labels` gives them.

    Raises:
        DataError: ids that are not whole numbers of 0 or more.
    """
    return open_labels(source.as_image())


def _data_of(layer: Layer) -> Any:
    """The voxels of a layer, those of the finest level of a pyramid."""
    data = layer.data
    return data[0] if getattr(layer, "multiscale", False) else data


def _stack(parts: Sequence[Any]) -> Any:
    if all(isinstance(part, np.ndarray) for part in parts):
        return np.stack(parts)
    import dask.array as da

    return da.stack([da.asarray(part) for part in parts])
