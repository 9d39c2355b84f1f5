"""Move the view to an object, and find the voxel under a click."""

from __future__ import annotations

from collections.abc import Sequence

import napari
import numpy as np
from napari.layers import Labels as LabelsLayer


def jump(viewer: napari.Viewer, layer: LabelsLayer, center: Sequence[float], label: int) -> None:
    """Show the slice of an object, with the object in the middle and selected.

    Args:
        viewer: the viewer.
        layer: the labels.
        center: of the object, in voxels.
        label: its id.
    """
    world = np.asarray(layer.data_to_world(np.asarray(center, float)), float)
    # Layers with fewer axes than the viewer lie on its last ones.
    missing = viewer.dims.ndim - len(world)
    point = (*viewer.dims.point[:missing], *world)
    for axis, value in enumerate(point):
        viewer.dims.set_point(axis, value)
    shown = viewer.dims.displayed
    viewer.camera.center = tuple(point[axis] for axis in shown)
    layer.selected_label = label


def voxel_under(layer: LabelsLayer, position: Sequence[float]) -> tuple[int, ...] | None:
    """The voxel at a position of the world; None outside of the layer."""
    found = np.rint(np.asarray(layer.world_to_data(position), float)).astype(int)
    inside = all(0 <= at < length for at, length in zip(found, layer.data.shape, strict=True))
    return tuple(int(at) for at in found) if inside else None
