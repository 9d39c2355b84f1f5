"""One map of geometry applied to image and labels: turned, linearly mapped, elastically warped.

Images are interpolated linearly, label ids are gathered from the nearest voxel and never computed
with. Beyond the border of the region read the content is mirrored. On the CPU a compiled kernel
computes positions and values row by row; elsewhere the same map is written in torch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import product

import numpy as np
import torch
from torch import Tensor

from unmask.kernels import njit


@dataclass(frozen=True)
class Warp:
    """The geometry of one sample: crop -> (turned, mirrored) -> linear map -> elastic shift.

    Attributes:
        axes: axis of the region read that each axis of the crop runs along.
        flips: which of the crop's axes run backwards.
        linear: ``(n, n)`` matrix around the center, in the crop's axes; None: identity.
        control: ``(n, *grid)`` float32 shifts in voxels at the control points, in the axes of the
            region read; None: no elastic warping.
        grid: voxels between control points.
    """

    axes: tuple[int, ...]
    flips: tuple[bool, ...]
    linear: np.ndarray | None = None
    control: np.ndarray | None = None
    grid: float = 1.0

    @property
    def exact(self) -> bool:
        """Whether voxels move to voxels, so that nothing is interpolated."""
        return self.linear is None and self.control is None

    def matrix(self) -> np.ndarray:
        """``(n, n)``: offset from the center of the crop -> offset in the region read."""
        ndim = len(self.axes)
        turn = np.zeros((ndim, ndim))
        for axis, (source, flip) in enumerate(zip(self.axes, self.flips, strict=True)):
            turn[source, axis] = -1.0 if flip else 1.0
        return turn if self.linear is None else turn @ self.linear


def center(array: Tensor, size: Sequence[int]) -> Tensor:
    """The middle of the last ``len(size)`` axes; what reaches outside is mirrored at the border."""
    for axis, length in enumerate(size, start=array.ndim - len(size)):
        here = array.shape[axis]
        start = (here - length) // 2
        if start >= 0:
            array = array.narrow(axis, start, length)
        else:
            index = _mirror(torch.arange(start, start + length, device=array.device), here)
            array = array.index_select(axis, index)
    return array


def rotate_and_flip(array: Tensor, warp: Warp, size: Sequence[int]) -> Tensor:
    """The center of ``array``, rotated and mirrored by ``warp``, of shape ``size``."""
    lead = array.ndim - len(size)
    source = [0] * len(size)
    for length, axis in zip(size, warp.axes, strict=True):
        source[axis] = length
    middle = center(array, source).permute(*range(lead), *(lead + axis for axis in warp.axes))
    return middle.flip([lead + axis for axis, flip in enumerate(warp.flips) if flip])


def resample_torch(
    image: Tensor, labels: Tensor | None, warp: Warp, *, into: tuple[Tensor, Tensor | None]
) -> None:
    """One sample ``(C, *read)`` and its labels ``(*read)`` warped, on the device of the image.

    ``into`` is filled: ``(C, *crop)`` for the image and ``(*crop)`` for the labels, if any.
    """
    warped, moved = into
    crop = warped.shape[1:]
    read, device = image.shape[1:], image.device
    exact = _find_exact(device)
    steps = [torch.arange(n, device=device, dtype=exact) - (n - 1) / 2 for n in crop]
    offsets = torch.stack(torch.meshgrid(*steps, indexing="ij"))
    matrix = torch.as_tensor(warp.matrix(), dtype=exact, device=device)
    position = torch.tensordot(matrix, offsets, dims=1)
    if warp.control is not None:
        position += _shifts(warp, crop, device)
    whole, share, nearest = [], [], []
    for axis, length in enumerate(read):
        along = _mirror(position[axis] + (length - 1) / 2, length)
        lower = along.floor().clamp(max=max(0, length - 2))
        whole.append(lower.long())
        share.append((along - lower).float())
        nearest.append((along + 0.5).long())
    warped.zero_()
    for corner in product((0, 1), repeat=len(read)):
        index = [
            (lower + step).clamp(max=length - 1)
            for lower, step, length in zip(whole, corner, read, strict=True)
        ]
        weight = torch.ones_like(share[0])
        for part, step in zip(share, corner, strict=True):
            weight = weight * (part if step else 1 - part)
        warped += weight * image[(slice(None), *index)]
    if labels is not None and moved is not None:
        moved[...] = labels[tuple(nearest)]


def _find_exact(device: torch.device) -> torch.dtype:
    """The type of positions: Apple's GPUs have no float64."""
    return torch.float32 if device.type == "mps" else torch.float64


def resample_cpu(
    image: Tensor, labels: Tensor | None, warp: Warp, *, into: tuple[Tensor, Tensor | None]
) -> None:
    """The same as ``resample_torch`` by a compiled kernel; float32 image, int64 labels.

    ``into`` must be contiguous.
    """
    warped, moved = into
    crop = warped.shape[1:]
    read, size = np.array(image.shape[1:]), np.array(crop)
    matrix = warp.matrix()
    origin = (read - 1) / 2 - matrix @ ((size - 1) / 2)
    if warp.control is None:
        shifts = np.empty(0, np.float32)
    else:
        shifts = _shifts(warp, crop, image.device).numpy().reshape(-1)
    values = image.contiguous().numpy().reshape(len(image), -1)
    ids = None if labels is None else labels.contiguous()
    channels = warped.view(len(image), -1).numpy()
    mapping = (matrix, origin, shifts)
    _resample(values, _flat(ids), read, mapping, size, channels, _flat(moved))


def _flat(labels: Tensor | None) -> np.ndarray:
    """Ids as a flat view; none are an empty array, so that the kernel has one type."""
    return np.empty(0, np.int64) if labels is None else labels.view(-1).numpy()


def _shifts(warp: Warp, crop: Sequence[int], device: torch.device) -> Tensor:
    """Elastic shift ``(n, *crop)`` float32 of every voxel: cubic B-spline of the control points.

    The spline stays inside the hull of its control points, so their bound is the shift's bound.
    """
    field = torch.as_tensor(warp.control, device=device)
    for length, points in zip(crop, field.shape[1:], strict=True):
        basis = _spline(length, points, warp.grid).to(device)
        # The first grid axis goes and the crop's comes last, so n rounds restore the order.
        field = torch.einsum("ag...,xg->a...x", field, basis)
    return field.contiguous()


@lru_cache(maxsize=64)
def _spline(length: int, points: int, grid: float) -> Tensor:
    """``(length, points)`` float32 weights of uniform cubic B-splines ``grid`` voxels apart."""
    position = np.arange(length) / grid
    first = np.floor(position).astype(np.int64)
    t = position - first
    weights = ((1 - t) ** 3, 3 * t**3 - 6 * t**2 + 4, 3 * t * (t * (1 - t) + 1) + 1, t**3)
    basis = np.zeros((length, points), np.float32)
    for step, weight in enumerate(weights):
        basis[np.arange(length), first + step] = weight / 6
    return torch.from_numpy(basis)


def _mirror(position: Tensor, length: int) -> Tensor:
    """Positions folded into ``[0, length - 1]`` by reflection at the outermost voxels' centers."""
    if length == 1:
        return torch.zeros_like(position)
    period = 2 * (length - 1)
    folded = position.abs() % period
    return torch.minimum(folded, period - folded)


@njit(cache=True, nogil=True)
def _resample(
    values: np.ndarray,
    ids: np.ndarray,
    read: np.ndarray,
    mapping: tuple[np.ndarray, np.ndarray, np.ndarray],
    size: np.ndarray,
    warped: np.ndarray,
    moved: np.ndarray,
) -> None:
    """Row by row along the last axis: positions, then the 2^n neighbors, then their mean.

    Values are ``(C, voxels)``, ids ``(voxels)`` or empty, shifts flat ``n * voxels of the crop``
    or empty. Buffers hold one row, so they stay in the first-level cache.
    """
    matrix, origin, shifts = mapping
    ndim, width = len(read), size[-1]
    stride = np.ones(ndim, np.int64)
    for axis in range(ndim - 2, -1, -1):
        stride[axis] = stride[axis + 1] * read[axis + 1]
    jump = _jumps(read, stride)
    lower, nearest = np.empty(width, np.uint64), np.empty(width, np.uint64)
    share = np.empty((ndim, width), np.float32)
    corners = np.empty((1 << ndim, width), np.float32)
    index = np.zeros(ndim, np.int64)
    for row in range(warped.shape[1] // width):
        rest = row
        for axis in range(ndim - 2, -1, -1):
            index[axis] = rest % size[axis]
            rest //= size[axis]
        here = slice(row * width, (row + 1) * width)
        lower[:] = 0
        nearest[:] = 0
        for axis in range(ndim):
            start = origin[axis]
            for other in range(ndim - 1):
                start += matrix[axis, other] * index[other]
            first = axis * warped.shape[1] + row * width
            shift = shifts[first : first + width]
            line = (start, matrix[axis, ndim - 1], read[axis], stride[axis])
            _locate(line, shift, lower, nearest, share[axis])
        for channel in range(len(values)):
            _interpolate(values[channel], lower, jump, share, corners)
            warped[channel, here] = corners[0]
        if len(ids):
            for x in range(width):
                moved[row * width + x] = ids[nearest[x]]


@njit(cache=True, nogil=True)
def _jumps(read: np.ndarray, stride: np.ndarray) -> np.ndarray:
    """Distance in memory from the lowest neighbor to each of the 2^n; axis a is bit a."""
    jump = np.zeros(1 << len(read), np.uint64)
    for corner in range(len(jump)):
        for axis in range(len(read)):
            if (corner >> axis) & 1 and read[axis] > 1:
                jump[corner] += np.uint64(stride[axis])
    return jump


@njit(cache=True, nogil=True)
def _locate(
    line: tuple[float, float, int, int],
    shift: np.ndarray,
    lower: np.ndarray,
    nearest: np.ndarray,
    share: np.ndarray,
) -> None:
    """Add one axis' part to the addresses of a row; ``share`` is the weight of the upper voxel."""
    start, slope, length, stride = line
    if length == 1:
        share[:] = 0
        return
    period = 2.0 * (length - 1)
    for x in range(len(lower)):
        along = start + slope * x
        if len(shift):
            along += shift[x]
        along = abs(along)
        along -= period * np.floor(along / period)
        along = min(along, period - along)
        whole = min(np.floor(along), length - 2.0)
        share[x] = along - whole
        lower[x] += np.uint64(np.int64(whole) * stride)
        nearest[x] += np.uint64(np.int64(along + 0.5) * stride)


@njit(cache=True, nogil=True)
def _interpolate(
    source: np.ndarray,
    lower: np.ndarray,
    jump: np.ndarray,
    share: np.ndarray,
    corners: np.ndarray,
) -> None:
    """Gather a row's 2^n neighbors, then halve them axis by axis down to ``corners[0]``."""
    for corner in range(len(jump)):
        step, gathered = jump[corner], corners[corner]
        for x in range(len(lower)):
            gathered[x] = source[lower[x] + step]
    left = len(jump)
    for axis in range(len(share) - 1, -1, -1):
        left //= 2
        for corner in range(left):
            near, far, part = corners[corner], corners[corner + left], share[axis]
            for x in range(len(lower)):
                near[x] += part[x] * (far[x] - near[x])
