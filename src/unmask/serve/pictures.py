"""Images as the page needs them: facts, tiles of a plane as PNG, thumbnails.

Only the visible tiles are read. Coarser levels come from the file if it has them; without them a
tile is thinned out, up to a limit, so that no request reads a whole slide.
"""

from __future__ import annotations

import io
import threading
from collections import OrderedDict
from collections.abc import Generator, Hashable, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from unmask.errors import DataError, message
from unmask.io import Image, open_image
from unmask.serve.refusal import RefusedError
from unmask.serve.workspace import Entry, Workspace
from unmask.space.box import Box

TILE = 512
THUMBNAIL = 96
# Voxels that are read for one tile at most.
_MOST_READ = 2**25
# Bytes of images that can only be decoded whole, kept between requests.
_CACHE = 2**28
_HANDLES = 64
# Edge of the square that contrast and thumbnails of large planes are taken from.
_SAMPLE = 1024
# Added up where an image has several channels: magenta, green, cyan, yellow, red, blue.
_COLORS = ("ff00ff", "00ff00", "00ffff", "ffff00", "ff4040", "4060ff")
# Of thumbnails on the disk; raised when colors or contrast are chosen differently.
_LOOK = 2
_RGB = ("ff0000", "00ff00", "0000ff")


@dataclass(frozen=True)
class Plane:
    """A plane of an image.

    Attributes:
        axis: the axis that it is cut across; the last two axes of a 2D image are its plane.
        index: position on that axis.
    """

    axis: int = 0
    index: int = 0

    def rows_columns(self, image: Image) -> tuple[int, int]:
        """The spatial axes that lie in the plane."""
        kept = [axis for axis in range(image.ndim) if axis != self.axis][-2:]
        return (image.ndim - 2, image.ndim - 1) if image.ndim < 3 else (kept[0], kept[1])

    def box(self, image: Image, rows: slice, columns: slice) -> Box:
        """The voxels of a window of the plane.

        Raises:
            RefusedError: there is no such plane.
        """
        spans = [slice(self.index, self.index + 1)] * image.ndim
        in_rows, in_columns = self.rows_columns(image)
        spans[in_rows], spans[in_columns] = rows, columns
        box = Box(tuple(s.start for s in spans), tuple(s.stop for s in spans))
        known = 0 <= self.axis < image.ndim
        if not known or box.clip(Box.of(image.shape[1:])) != box or box.size <= 0:
            raise RefusedError(
                404,
                message(image.name, expected=f"a window inside {image.shape[1:]}", found=f"{box}",
                        do="Reload the page."),
            )  # fmt: skip
        return box


@dataclass(frozen=True)
class Channel:
    """How a channel is shown: values from ``low`` to ``high``, in a color ``rrggbb``."""

    number: int
    low: float
    high: float
    color: str = "ffffff"


class Pictures:
    """Opened images of a workspace; safe for threads.

    Args:
        workspace: whose images.
    """

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self._lock = threading.Lock()
        self._handles: OrderedDict[Hashable, Image | None] = OrderedDict()
        self._arrays: OrderedDict[Hashable, np.ndarray] = OrderedDict()
        self._broken: dict[Path, tuple[tuple[int, int], str]] = {}

    def open(self, entry: Entry, level: int = 0) -> Image:
        """The image, or one of its coarser levels.

        Raises:
            DataError: it cannot be read, or has no such level.
        """
        path = entry.path
        state = path.stat() if path.exists() else None
        key = (path, level, *((state.st_mtime_ns, state.st_size) if state else ()))
        with self._lock:
            known = self._handles.get(key)
            if known is not None:
                self._handles.move_to_end(key)
                return known
        image = self._open(path, level)
        image = replace(image, name=entry.name)
        if image.whole:
            plain = image.fetch
            image = replace(image, fetch=lambda index: self._decoded(key, image, plain)[index])
        with self._lock:
            self._handles[key] = image
            while len(self._handles) > _HANDLES:
                self._handles.popitem(last=False)
        return image

    def describe(self, entry: Entry) -> dict[str, Any]:
        """What the page must know before it asks for tiles."""
        with self._noting(entry):
            image = self.open(entry)
            channels = self._channels(entry, image)
        return {
            "id": entry.id,
            "name": entry.name,
            "shape": list(image.shape[1:]),
            "axes": image.axes[1:],
            "dtype": str(image.dtype),
            "spacing": image.spacing,
            "unit": image.unit,
            "tile": TILE,
            "levels": [self._levels(entry, image, axis) for axis in range(image.ndim)],
            "channels": channels,
        }

    def tile(
        self, entry: Entry, plane: Plane, level: int, place: tuple[int, int],
        channels: Sequence[Channel],
    ) -> bytes:  # fmt: skip
        """A tile as PNG, at most 512 by 512 pixels.

        Args:
            entry: the image.
            plane: which plane of it.
            level: 0 for all pixels, 1 for every second one ...
            place: row and column of the tile.
            channels: what is shown.

        Raises:
            RefusedError: outside of the image, or too coarse for a file without coarser levels.
        """
        image = self.open(entry)
        stored, step = self._source(entry, image, plane.axis, level)
        rows, columns = plane.rows_columns(stored)
        spans = []
        for axis, number in zip((rows, columns), place, strict=True):
            begin = number * TILE * step
            spans.append(slice(begin, min(begin + TILE * step, stored.shape[1 + axis])))
        values = _plane_values(stored, plane, spans[0], spans[1])[:, ::step, ::step]
        return _png(_composed(values, _checked(channels, image)))

    def thumbnail(self, entry: Entry) -> bytes:
        """A small picture of the middle plane as PNG, kept on disk."""
        from PIL import Image as Picture

        state = entry.path.stat()
        name = f"{entry.id}-{state.st_mtime_ns:x}-{_LOOK}.png"
        path = self._workspace.notes / "thumbnails" / name
        if path.is_file():
            return path.read_bytes()
        with self._noting(entry):
            sample = self._sample(entry, self.open(entry))
        picture = Picture.fromarray(_composed(sample, _auto(sample, self.open(entry))))
        picture.thumbnail((THUMBNAIL, THUMBNAIL))
        content = _png(np.asarray(picture))
        # A picture that is lost with the power is made again: no reason to wait for the disk.
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        except OSError:
            path.unlink(missing_ok=True)
        return content

    def problem(self, entry: Entry) -> str:
        """Why the image could not be read when it was last tried; empty if it could, or is new."""
        known = self._broken.get(entry.path)
        return known[1] if known and known[0] == _state(entry.path) else ""

    @contextmanager
    def _noting(self, entry: Entry) -> Generator[None, None, None]:
        """Remember why a file cannot be read, so that the list says it."""
        try:
            yield
        except DataError as error:
            self._broken[entry.path] = (_state(entry.path), str(error))
            raise

    def _open(self, path: Path, level: int) -> Image:
        try:
            return open_image(path, axes=self._workspace.axes, level=level)
        except DataError:
            if level or self._workspace.axes is None:
                raise
            # The axes that were given are those of the files that need them.
            return open_image(path, level=level)

    def _decoded(self, key: Hashable, image: Image, fetch: Any) -> np.ndarray:
        with self._lock:
            known = self._arrays.get(key)
        if known is None:
            known = fetch(tuple(slice(0, n) for n in image.shape))
            with self._lock:
                self._arrays[key] = known
                while sum(a.nbytes for a in self._arrays.values()) > _CACHE:
                    if len(self._arrays) < 2:
                        break
                    self._arrays.popitem(last=False)
        return known

    def _source(self, entry: Entry, image: Image, axis: int, level: int) -> tuple[Image, int]:
        """The coarsest stored level that has the pixels of ``level``, and the step in it."""
        rows, columns = Plane(axis).rows_columns(image)
        best = (image, 2**level)
        for number in range(1, level + 1):
            coarser = self._coarser(entry, number)
            if coarser is None:
                break
            ratio = image.shape[1 + columns] / coarser.shape[1 + columns]
            other = image.shape[1 + rows] / coarser.shape[1 + rows]
            cut = any(
                coarser.shape[1 + a] != image.shape[1 + a]
                for a in range(image.ndim) if a not in (rows, columns)
            )  # fmt: skip
            factor = round(ratio)
            if cut or abs(ratio - other) > 0.1 * ratio or 2**level % factor:
                continue
            best = (coarser, 2**level // factor)
        if (TILE * best[1]) ** 2 * image.shape[0] > _MOST_READ and best[1] > 1:
            raise RefusedError(
                404,
                message(entry.name, expected="a file with coarser levels (pyramidal TIFF or "
                        "OME-Zarr)", found="none", do="Zoom in."),
            )  # fmt: skip
        return best

    def _coarser(self, entry: Entry, level: int) -> Image | None:
        """A stored level; None if the file has none, which is remembered."""
        key = (entry.path, level, "missing", entry.path.stat().st_mtime_ns)
        with self._lock:
            if key in self._handles:
                return None
        try:
            return self.open(entry, level)
        except DataError:
            with self._lock:
                self._handles[key] = None
            return None

    def _levels(self, entry: Entry, image: Image, axis: int) -> int:
        """Number of levels of which tiles can be asked for."""
        rows, columns = Plane(axis).rows_columns(image)
        longest, count = max(image.shape[1 + rows], image.shape[1 + columns]), 1
        while longest > TILE * 2 ** (count - 1):
            try:
                self._source(entry, image, axis, count)
            except RefusedError:
                break
            count += 1
        return count

    def _sample(self, entry: Entry, image: Image) -> np.ndarray:
        """Values of the middle plane: thinned out, or its middle if it is too large for that."""
        plane = Plane(0, image.shape[1] // 2 if image.ndim > 2 else 0)
        rows, columns = plane.rows_columns(image)
        level = self._levels(entry, image, 0) - 1
        source, step = self._source(entry, image, 0, level)
        if image.ndim > 2:
            plane = Plane(0, source.shape[1] // 2)
        spans = []
        for axis in (rows, columns):
            size = source.shape[1 + axis]
            most = min(size, _SAMPLE * max(1, step))
            spans.append(slice((size - most) // 2, (size - most) // 2 + most))
        return _plane_values(source, plane, spans[0], spans[1])[:, ::step, ::step]

    def _channels(self, entry: Entry, image: Image) -> list[dict[str, Any]]:
        names = image.meta.get("channels") or [f"channel {n + 1}" for n in range(image.shape[0])]
        shown = _auto(self._sample(entry, image), image)
        top = float(np.iinfo(image.dtype).max) if image.dtype.kind in "ui" else None
        return [
            {"name": str(name), "low": one.low, "high": one.high, "color": one.color, "top": top}
            for name, one in zip(names, shown, strict=True)
        ]


def _state(path: Path) -> tuple[int, int]:
    """Changes whenever the file does."""
    with suppress(OSError):
        state = path.stat()
        return state.st_mtime_ns, state.st_size
    return 0, 0


def _plane_values(image: Image, plane: Plane, rows: slice, columns: slice) -> np.ndarray:
    """``(C, rows, columns)``, also where the rows are the slower axis of a cut volume."""
    values = image.read(plane.box(image, rows, columns))
    return values.reshape(image.shape[0], rows.stop - rows.start, columns.stop - columns.start)


def _auto(sample: np.ndarray, image: Image) -> list[Channel]:
    """Channels as a person would set them: the middle 99.8 % of values, photographs in RGB."""
    count = sample.shape[0]
    photograph = image.meta.get("color", image.dtype == np.uint8 and count == len(_RGB))
    photograph = photograph and count in (len(_RGB), len(_RGB) + 1)
    if photograph and image.dtype == np.uint8:
        return [Channel(n, 0.0, 255.0, color) for n, color in enumerate(_colors(count))]
    if photograph:
        # One range for all three: their balance is the color.
        low, high = np.percentile(sample[: len(_RGB)], (0.1, 99.9))
        ends = float(low), float(high if high > low else low + 1)
        return [Channel(n, *ends, color) for n, color in enumerate(_colors(count))]
    found = []
    for number, values in enumerate(sample):
        known = values[np.isfinite(values)] if values.dtype.kind == "f" else values
        low, high = np.percentile(known, (0.1, 99.9)) if known.size else (0.0, 1.0)
        color = "ffffff" if count == 1 else _COLORS[number % len(_COLORS)]
        found.append(Channel(number, float(low), float(high if high > low else low + 1), color))
    return found


def _colors(count: int) -> list[str]:
    """Colors of the channels of a photograph; what follows red, green and blue is no color."""
    return [*_RGB, *["000000"] * (count - len(_RGB))]


def _checked(channels: Sequence[Channel], image: Image) -> list[Channel]:
    if not all(0 <= channel.number < image.shape[0] for channel in channels):
        raise RefusedError(
            404,
            message(image.name, expected=f"channels below {image.shape[0]}", found="others",
                    do="Reload the page."),
        )  # fmt: skip
    return list(channels)


def _composed(values: np.ndarray, channels: Sequence[Channel]) -> np.ndarray:
    """RGB of channels that are added up, or gray levels of a single white one."""
    gray = len(channels) == 1 and channels[0].color == "ffffff"
    total = np.zeros((*values.shape[1:], 1 if gray else 3), np.float32)
    for channel in channels:
        span = max(channel.high - channel.low, 1e-12)
        shown = (values[channel.number].astype(np.float32) - channel.low) / span
        shown = np.nan_to_num(np.clip(shown, 0, 1))[..., None]
        color = [int(channel.color[i : i + 2], 16) for i in (0, 2, 4)]
        total += shown * (np.array([255] if gray else color, np.float32))
    picture = np.clip(total + 0.5, 0, 255).astype(np.uint8)
    return picture[..., 0] if gray else picture


def _png(pixels: np.ndarray) -> bytes:
    from PIL import Image as Picture

    content = io.BytesIO()
    # Fast to encode: most pages are on the same machine.
    Picture.fromarray(pixels).save(content, "PNG", compress_level=1)
    return content.getvalue()
