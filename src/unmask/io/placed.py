"""Volumes with a position in space, brought to the canonical order as NIfTI files are.

Results of such images are written as NIfTI files at the position of the image, whatever its format.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from nibabel import Nifti1Header

from unmask.io.contract import Index, Stored
from unmask.io.nifti import position_fields
from unmask.io.orientation import Turn, turn_of, turned_affine

_SPACE = 3
# From left, back, head (DICOM, ITK) to right, front, head (NIfTI).
LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


def placed_volume(
    source: str,
    shape: tuple[int, ...],
    dtype: np.dtype[Any],
    read: Callable[[Index], np.ndarray],
    affine: np.ndarray,
    *,
    lead: str = "",
    whole: bool = False,
    meta: Mapping[str, Any] | None = None,
) -> Stored:
    """A stored volume with a known position, turned to RAS+.

    Args:
        source: name of the file.
        shape: of the array, whose last three axes are (k, j, i).
        dtype: of the values.
        read: reader of the array.
        affine: from voxel (i, j, k) to mm to the right, front and head.
        lead: letters of the axes in front of space.
        whole: see `Stored`.
        meta: more metadata.

    Raises:
        DataError: the affine is singular.
    """
    space = shape[-_SPACE:]
    still = Turn(tuple(range(_SPACE)), (False,) * _SPACE)
    # One slice may lie in any plane of the body; turned, it would be a line of an image.
    turn = still if min(space) == 1 else turn_of(affine, source)
    position = turned_affine(affine, turn, space)
    sizes = np.linalg.norm(position[:3, :3], axis=0)[::-1]
    single = shape[-_SPACE] == 1
    return Stored(
        turn.shape(shape),
        dtype,
        lead + ("zYX" if single else "ZYX"),
        turn.reader(read, shape),
        spacing=dict(zip("ZYX", map(float, sizes), strict=True)),
        unit="mm",
        whole=whole,
        meta={
            "nifti": nifti_fields(affine),
            "turn": turn,
            "position": position,
            **(meta or {}),
        },
    )


def nifti_fields(affine: np.ndarray) -> dict[str, Any]:
    """What a NIfTI header of the same grid says."""
    header: Any = Nifti1Header()
    header.set_data_shape((1, 1, 1))
    header.set_zooms(np.linalg.norm(affine[:3, :3], axis=0))
    header.set_sform(affine, code=1)
    header.set_qform(affine, code=1)
    return position_fields(header)


def make_affine(directions: np.ndarray, origin: np.ndarray) -> np.ndarray:
    """An affine from the steps along each axis (rows of ``directions``) and the first voxel."""
    affine = np.eye(_SPACE + 1)
    affine[:3, :3] = np.asarray(directions, float).T
    affine[:3, 3] = origin
    return affine
