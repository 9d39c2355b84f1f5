"""Open images and label images by path."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from unmask.errors import DataError, UnmaskError, describe_error, message, near_path
from unmask.io.contract import Format, Location, Stored
from unmask.io.formats import FORMATS
from unmask.io.image import Image, from_stored, unreadable
from unmask.io.inputs import ArrayInput, Input, one_input
from unmask.io.listing import channel_names
from unmask.io.multi_file import files_of, stack_files
from unmask.io.paths import format_of, locate, stem, suffix_of, unknown_suffix
from unmask.io.remote import is_remote, only_zarr
from unmask.wording import format_count, format_number


def open_image(
    path: Input,
    *,
    axes: str | None = None,
    level: int = 0,
    ndim: int | None = None,
    allow_external: bool = False,
) -> Image:
    """Open an image; only its header is read.

    Args:
        path: file, OME-Zarr folder, ``store.zarr/inner/array`` or ``file.h5:key``; with braces,
            ``case_{0000,0001}.nii.gz``, files that are channels of one image. Or an array.
        axes: what the stored axes are ("ZYX", "YXC"); wins over the file's own metadata.
        level: resolution level, 0 the finest.
        ndim: spatial axes the caller needs; settles what a plain stack is.
        allow_external: read HDF5 and Zarr files whose values are in other files. Use this only for
            files from a source that you trust: they can name any file on this machine.

    Raises:
        DataError: nothing there, damaged, a bomb, values in another file, or axes that are
            ambiguous.

    Examples:
        >>> open_image("cells.tif", ndim=2).shape  # doctest: +SKIP
        (1, 512, 512)
    """
    path = one_input(path)
    if isinstance(path, ArrayInput):
        return path.open(axes=axes, ndim=ndim)
    if len(files := files_of(path)) > 1:
        images = [
            open_image(each, axes=axes, level=level, ndim=ndim, allow_external=allow_external)
            for each in files
        ]
        image = stack_files(images, str(path), stem(path))
        names = channel_names(files[0])
        if "channels" in image.meta or len(names) != image.shape[0]:
            return image
        return replace(image, meta={**image.meta, "channels": names})
    stored = open_stored(path, level=level, allow_external=allow_external)
    return from_stored(stored, source=str(path), name=stem(path), axes=axes, ndim=ndim)


def open_labels(
    path: Input,
    *,
    axes: str | None = None,
    ndim: int | None = None,
    allow_external: bool = False,
) -> Image:
    """Open a label image: one channel of ids, 0 background, always an unsigned type.

    Ids are kept exactly: bool becomes uint8, signed types their unsigned ones, float files pass
    where every value is a whole number; palettes keep their indices and equal channels become
    one. Values are checked when they are read. Labels have no channels, so a third axis without
    a name is z unless the caller says more; ``meta["doubts"]`` has a note on it.

    Raises:
        DataError: as `open_image`; negative, broken or color-coded ids, or a lossy format.
    """
    path = one_input(path)
    if isinstance(path, ArrayInput):
        return as_labels(path.open(axes=axes, ndim=ndim, labels=True))
    form = format_of(locate(path))
    if form is not None and form.lossy:
        raise DataError(
            message(
                path,
                expected="labels in a format that keeps every value",
                found=f"{form.name}, which changes ids when it is saved",
                do="Export the labels again as PNG or TIFF. If these are the images, exchange "
                "--images and --labels.",
            )
        )
    stored = open_stored(path, labels=True, allow_external=allow_external)
    assumed = axes is None and ndim is None and _is_unnamed_volume(stored)
    space = 3 if assumed else ndim
    image = from_stored(stored, source=str(path), name=stem(path), axes=axes, ndim=space)
    if assumed:
        note = (
            f"{path}: its first axis has no name in the file and is read as z, so the labels are "
            "those of a volume. If it is time, save them as OME-TIFF with axes TYX."
        )
        image = replace(image, meta={**image.meta, "doubts": (note,)})
    return as_labels(image)


def _is_unnamed_volume(stored: Stored) -> bool:
    """Whether the file leaves open what the first of three axes is."""
    lengths = zip(stored.axes, stored.shape, strict=True)
    return stored.axes == "???" or [axis for axis, n in lengths if n > 1] == ["?", "Y", "X"]


def open_stored(
    path: str | Path, *, level: int = 0, labels: bool = False, allow_external: bool = False
) -> Stored:
    """Open a file with its own axes; no voxel is read.

    Raises:
        DataError: as `open_image`, except for errors about axes.
    """
    location = replace(locate(path), allow_external=allow_external)
    form = _checked_format(location)
    try:
        stored = form.open(location, level=level, labels=labels)
        # Another process that opens the image again needs the same permission.
        meta = {**stored.meta, "allow_external": True} if allow_external else stored.meta
        if form.origin:
            meta = {**meta, "format": form.origin}
        return replace(stored, meta=meta)
    except UnmaskError:
        raise
    except Exception as error:
        # Parsers raise anything on damaged headers; the user needs the file's name with it.
        raise DataError(unreadable(location.source, error)) from error


def _checked_format(location: Location) -> Format:
    """The format of an existing, non-empty file or folder."""
    source, path = location.source, location.path
    if is_remote(source) and (suffix_of(location) != ".zarr" or not path.is_dir()):
        raise only_zarr(source)
    try:
        folder, size = path.is_dir(), path.stat().st_size
    except (OSError, ValueError) as error:
        raise DataError(
            message(
                source,
                expected="a file",
                found=describe_error(error),
                do=f"{near_path(source)}Check the path.",
            )
        ) from error
    form = format_of(location)
    if form is None and not folder:
        raise DataError(unknown_suffix(source))
    if form is None or form.folder != folder:
        raise DataError(
            message(
                source,
                expected=f"an image file ({' '.join(FORMATS)})",
                found="a folder" if folder else f"the suffix {path.suffix!r}",
                do="Give the files inside it, one by one or as a list."
                if folder
                else "Convert it, or give it the suffix of its format.",
            )
        )
    if size == 0 and not folder:
        raise DataError(
            message(source, expected=f"a {form.name} file", found="0 bytes", do="Copy it again.")
        )
    return form


def as_labels(image: Image) -> Image:
    """An opened image as one channel of ids of an unsigned type; see `open_labels`.

    Raises:
        DataError: channels or a type that ids never have.
    """
    dtype = _label_dtype(image.source, image.dtype)
    fetch = image.fetch
    channels = image.shape[0]
    if channels not in (1, 2, 3, 4):
        raise DataError(
            message(
                image.source,
                expected="labels in one channel",
                found=f"{channels} channels (axes {image.axes}, shape {image.shape})",
                do="Save one label image, say axes=ZYX if it is a volume, or give several arrays "
                "as a list.",
            )
        )
    if channels > 1:
        fetch = _gray(image.source, fetch, channels)

    def read(index: tuple[slice, ...]) -> np.ndarray:
        return _ids(image.source, fetch(index), dtype)

    return replace(image, shape=(1, *image.shape[1:]), dtype=dtype, fetch=read)


def _label_dtype(source: str, dtype: np.dtype[Any]) -> np.dtype[Any]:
    """The unsigned type that holds every id the stored type can hold exactly."""
    if dtype.kind == "b":
        return np.dtype(np.uint8)
    if dtype.kind == "f":
        return np.dtype(np.uint64 if dtype.itemsize == 8 else np.uint32)
    if dtype.kind in "ui":
        return np.dtype(f"u{dtype.itemsize}")
    raise DataError(
        message(source, expected="integer ids", found=f"dtype {dtype}", do="Save integers.")
    )


def _gray(
    source: str, fetch: Callable[[tuple[slice, ...]], np.ndarray], channels: int
) -> Callable[[tuple[slice, ...]], np.ndarray]:
    """One channel out of equal ones; alpha (the second or fourth channel) must be constant."""

    def read(index: tuple[slice, ...]) -> np.ndarray:
        every = fetch((slice(0, channels), *index[1:]))
        colors = every[:-1] if channels in (2, 4) else every
        alpha = every[-1:] if channels in (2, 4) else every[:0]
        if (colors != colors[:1]).any() or (alpha.size and (alpha != alpha.flat[0]).any()):
            raise DataError(
                message(
                    source,
                    expected="ids in one channel, or equal channels",
                    found=f"{channels} channels that differ (colors instead of ids, or images "
                    "given as labels?)",
                    do="If these are the images, exchange --images and --labels. If colors stand "
                    "for objects, convert each color to a number and save one channel as PNG or "
                    "TIFF.",
                )
            )
        return colors[:1]

    return read


def _ids(source: str, values: np.ndarray, dtype: np.dtype[Any]) -> np.ndarray:
    """Values as ids, or a message that shows the first one that is none."""
    if values.dtype.kind == "f":
        top = float(2 ** (8 * dtype.itemsize))
        wrong = ~((values >= 0) & (values < top) & (values == np.floor(values)))
    elif values.dtype.kind == "i":
        wrong = values < 0
    else:
        return values.astype(dtype, copy=False)
    if wrong.any():
        raise DataError(
            message(
                source,
                expected=f"ids: whole numbers from 0 to {2 ** (8 * dtype.itemsize) - 1}",
                found=f"{format_number(float(values[wrong][0]))} "
                f"({format_count(int(wrong.sum()), 'such voxel')})",
                do="Save labels as unsigned integers, with 0 for background.",
            )
        )
    return values.astype(dtype)
