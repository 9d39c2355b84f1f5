"""Pictures of labels on their images: outlines with a color per object.

Large images are reduced while they are read. Volumes are shown as the slices along all axes that
hold most foreground, and as a maximum projection; movies as their first, middle and last image.
"""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
from PIL import Image as Pillow
from scipy import ndimage
from skimage.segmentation import find_boundaries

from unmask.io import Image
from unmask.io.stacks import plane_of
from unmask.reports.overlay import Rgb, render_rgb

# Neighboring ids get different colors, which stand out from gray and differ for color-blind people
# too (Okabe and Ito 2008, without black and the two dark ones).
_COLORS = np.array(
    [(230, 159, 0), (86, 180, 233), (0, 190, 130), (240, 228, 66), (235, 110, 50), (225, 130, 190)],
    np.uint8,
)
# Longest edge of a picture in pixels; images that are shorter than a part of it are enlarged.
_EDGE, _ENLARGED = 1600, 800
# Pixels of an image that are read at once, and between the parts of a picture.
_STRIP_PIXELS, _GAP = 1 << 24, 6


def draw_objects(image: Image, labels: Image, *, edge: int = _EDGE) -> Rgb:
    """Outlines of labels on their image, ``(y, x, 3)``.

    Args:
        image: ``(C, *space)``; a stack of time is known by its axes.
        labels: of the same space.
        edge: longest edge of the picture, in pixels.
    """
    if image.axes.startswith("CT"):
        count = image.shape[1]
        chosen = sorted({0, count // 2, count - 1})
        parts = [
            draw_objects(plane_of(image, (at,)), plane_of(labels, (at,)), edge=edge // len(chosen))
            for at in chosen
        ]
        return _put_together(parts, 1)
    if "Z" in image.axes:
        return _draw_volume(image, labels, edge // 2)
    factor = max(1, -(-max(image.shape[1:]) // edge))
    return _outlined(*_read_plane(image, labels, (), factor), edge=edge)


def png(picture: Rgb) -> bytes:
    """The picture as a PNG file."""
    buffer = io.BytesIO()
    Pillow.fromarray(picture).save(buffer, "PNG")
    return buffer.getvalue()


def _draw_volume(image: Image, labels: Image, edge: int) -> Rgb:
    """Slices along z, y and x, and the maximum projection."""
    factor = max(1, -(-max(image.shape[1:]) // edge))
    counts = [np.zeros(length, np.int64) for length in labels.shape[1:]]
    bright: np.ndarray | None = None
    flat: np.ndarray | None = None
    for z in range(image.shape[1]):
        values, ids = _read_plane(image, labels, (z,), factor)
        bright = values if bright is None else np.maximum(bright, values)
        flat = ids if flat is None else np.where(flat == 0, ids, flat)
        counts[0][z] = np.count_nonzero(ids)
        for axis in (0, 1):
            filled = np.count_nonzero(ids, axis=1 - axis)
            counts[1 + axis][factor // 2 :: factor][: len(filled)] += filled
    z, y, x = (int(each.argmax()) if each.any() else len(each) // 2 for each in counts)
    stretch = _stretch(image, factor)
    across = [
        _outlined(*_across(image, labels, index, factor), edge=edge, stretch=stretch)
        for index in ((slice(None), y), (slice(None), slice(None), x))
    ]
    first = _outlined(*_read_plane(image, labels, (z,), factor), edge=edge)
    empty = np.zeros((0, 0), np.uint8)
    whole = first if bright is None else _outlined(bright, empty if flat is None else flat,
                                                   edge=edge)  # fmt: skip
    below, right = across[0], across[1].transpose(1, 0, 2)
    return _put_together([_put_together([first, below], 0), right, whole], 1)


def _read_plane(
    image: Image, labels: Image, place: tuple[int, ...], factor: int
) -> tuple[np.ndarray, np.ndarray]:
    """A plane reduced by a factor: means of the image, every so many labels."""
    height, width = image.shape[-2:]
    lines = max(1, _STRIP_PIXELS // max(1, width * factor)) * factor
    values: list[np.ndarray] = []
    ids: list[np.ndarray] = []
    for start in range(0, height, lines):
        rows = slice(start, min(start + lines, height))
        values.append(_mean(image[(slice(None), *place, rows)], factor))
        ids.append(
            labels[(0, *place, rows)][_middle(rows, factor) :: factor, factor // 2 :: factor]
        )
    read, found = np.concatenate(values, axis=1), np.concatenate(ids)
    return read[:, : found.shape[0], : found.shape[1]], found


def _middle(rows: slice, factor: int) -> int:
    return min(factor // 2, rows.stop - rows.start - 1)


def _mean(values: np.ndarray, factor: int) -> np.ndarray:
    """Means of squares; what is left at the far edges counts alone."""
    if factor == 1:
        return values.astype(np.float32)
    pad = [(0, 0), *((0, -length % factor) for length in values.shape[1:])]
    padded = np.pad(values.astype(np.float32), pad, mode="edge")
    channels, height, width = padded.shape
    shape = channels, height // factor, factor, width // factor, factor
    return padded.reshape(shape).mean(axis=(2, 4))


def _across(
    image: Image, labels: Image, index: tuple[int | slice, ...], factor: int
) -> tuple[np.ndarray, np.ndarray]:
    """A slice along another axis than z; z keeps its lines."""
    values = image[(slice(None), *index)].astype(np.float32)
    ids = labels[(0, *index)]
    return values[..., ::factor], ids[..., ::factor]


def _stretch(image: Image, factor: int) -> float:
    """How much longer a voxel is along z than along x, on the reduced grid."""
    if image.spacing is None:
        return 1 / factor
    return image.spacing[0] / (image.spacing[-1] * factor)


def _outlined(values: np.ndarray, ids: np.ndarray, *, edge: int, stretch: float = 1.0) -> Rgb:
    """Outlines on one plane; small ones are enlarged, so that outlines do not hide the objects."""
    background = render_rgb(values)
    height, width = ids.shape
    enlarged = max(
        1, min(4, _ENLARGED // max(1, max(height, width)), edge // max(height, width, 1))
    )
    lines = max(1, round(height * stretch * enlarged))
    rows = (np.arange(lines) * height // lines).clip(max=height - 1)
    columns = np.repeat(np.arange(width), enlarged)
    picture = background[rows][:, columns]
    large = ids[rows][:, columns]
    border = find_boundaries(large, mode="inner")
    if enlarged > 1:
        border = np.asarray(ndimage.binary_dilation(border), bool) & (large > 0)
    picture[border] = _COLORS[large[border].astype(np.int64) % len(_COLORS)]
    return picture


def _put_together(parts: Sequence[Rgb], axis: int) -> Rgb:
    """Pictures below (0) or next to each other (1), on white."""
    sizes = np.array([part.shape[:2] for part in parts])
    shape = sizes.max(axis=0)
    shape[axis] = sizes[:, axis].sum() + _GAP * (len(parts) - 1)
    whole = np.full((*shape, 3), 255, np.uint8)
    start = 0
    for part in parts:
        place = [slice(0, part.shape[0]), slice(0, part.shape[1])]
        place[axis] = slice(start, start + part.shape[axis])
        whole[place[0], place[1]] = part
        start += part.shape[axis] + _GAP
    return whole
