"""Open OME-Zarr images and plain Zarr arrays in a local folder; only metadata are read."""

from __future__ import annotations

import atexit
from collections.abc import Mapping
from math import ceil
from pathlib import Path
from typing import Any

import zarr
from zarr.core.buffer import default_buffer_prototype
from zarr.errors import NodeNotFoundError
from zarr.storage import MemoryStore

from unmask.errors import DataError, message
from unmask.io import limits
from unmask.io.contract import Location, Stored
from unmask.io.ome_zarr import Multiscale, axis_names, read_attributes, read_multiscale
from unmask.io.outside import check_inside
from unmask.io.plates import inner_images
from unmask.io.remote import METADATA, RemotePath
from unmask.io.voxel_attributes import Voxels, read_voxels
from unmask.io.zarr_chunks import chunk_reader
from unmask.io.zarr_exit import end_thread

atexit.register(end_thread)
# Versions of OME-Zarr before 0.4 name no axes and have these five.
_FIRST_AXES = "TCZYX"


def open_zarr(location: Location, *, level: int = 0, labels: bool = False) -> Stored:
    """Find the array of a resolution level, its axes and its voxel size.

    Raises:
        DataError: no image there, several, no such level, damaged metadata, chunks too large for
            memory, a codec that is not supported, or data outside of the store.
    """
    del labels
    folder, attributes = find_image(location)
    image = read_multiscale(location, attributes)
    if image is None:
        return _stored(location, folder, attributes, None, Voxels())
    if not 0 <= level < len(image.paths):
        raise DataError(
            message(
                location.source,
                expected=f"a level from 0 to {len(image.paths) - 1}",
                found=f"level={level}",
                do="Choose one of these.",
            )
        )
    return _stored(location, folder / image.paths[level], {}, image, image.voxels[level])


def find_image(location: Location) -> tuple[Path, dict[str, Any]]:
    """The group or array of the one image that a location means, and its attributes.

    Raises:
        DataError: no metadata, or a collection of several images.
    """
    folder = location.path / location.key
    attributes = read_attributes(location, folder)
    images = inner_images(location, folder, attributes)
    if len(images) == 1:
        folder = folder / images[0]
        attributes = read_attributes(location, folder)
    elif images:
        names = ", ".join(f"{location.source.rstrip('/')}/{name}" for name in images[:8])
        more = f" and {len(images) - 8} more" if len(images) > 8 else ""
        raise DataError(
            message(
                location.source,
                expected="one image",
                found=f"a collection of {len(images)}: {names}{more}",
                do="Give one of them, or the collection where several images are taken.",
            )
        )
    return folder, attributes


def find_array(location: Location) -> tuple[Path, Any]:
    """Folder and array of the finest level.

    Raises:
        DataError: as `open_zarr`.
    """
    folder, attributes = find_image(location)
    image = read_multiscale(location, attributes)
    folder = folder if image is None else folder / image.paths[0]
    return folder, open_array(location, folder)


def _stored(
    location: Location,
    folder: Path,
    attributes: Mapping[str, Any],
    image: Multiscale | None,
    voxels: Voxels,
) -> Stored:
    array = open_array(location, folder)
    letters = _axes(location, array, attributes, image)
    if image is None:
        voxels = read_voxels(attributes, letters)
        if set(letters) == {"?"} and len(voxels.spacing) == array.ndim:
            # A voxel size per axis says that every axis is spatial.
            letters = "ZYX"[-array.ndim :]
    meta: dict[str, Any] = {"origin": dict(voxels.origin)} if voxels.origin else {}
    if image is not None and image.channels:
        meta["channels"] = image.channels
    return Stored(
        tuple(array.shape),
        array.dtype.newbyteorder("="),
        letters,
        chunk_reader(location, folder, array),
        spacing=voxels.spacing,
        unit=voxels.unit,
        meta=meta,
    )


def open_array(location: Location, folder: Path) -> Any:
    """The array of a folder, as zarr-python has it; only its metadata are read.

    Raises:
        DataError: no array there, or one whose chunks are too large for memory.
    """
    missing = DataError(
        message(
            location.source,
            expected=f"an array at {folder}",
            found="none",
            do="Copy the store again.",
        )
    )
    check_inside(location, folder)
    if not folder.is_dir():
        raise missing
    read_attributes(location, folder)
    try:
        node = zarr.open(_metadata_of(folder), mode="r")
    except (FileNotFoundError, NodeNotFoundError) as error:
        raise missing from error
    if not isinstance(node, zarr.Array):
        here = folder.iterdir() if isinstance(folder, Path) else ()
        inside = ", ".join(sorted(entry.name for entry in here if entry.is_dir()))
        raise DataError(
            message(
                location.source,
                expected="an OME-Zarr image or a Zarr array",
                found=f"a group without image metadata; it holds: {inside or 'nothing'}",
                do="Give the path of the image inside it.",
            )
        )
    array: Any = node
    # A shard is decoded chunk by chunk, a chunk only whole.
    limits.check_unit(location.source, array.chunks, array.dtype.itemsize, name="chunk")
    # At an address every look costs a request.
    if not isinstance(folder, RemotePath):
        _check_shape(location, folder, array)
    return array


def _metadata_of(folder: Path | RemotePath) -> Any:
    """What zarr-python opens: the folder, or the metadata of one that is not on the disk."""
    if isinstance(folder, Path):
        return folder
    files = {name: folder / name for name in METADATA}
    texts = {name: file.read_text() for name, file in files.items() if file.is_file()}
    prototype = default_buffer_prototype().buffer
    content = {name: prototype.from_bytes(text.encode()) for name, text in texts.items()}
    return MemoryStore(content)


def _check_shape(location: Location, folder: Path, array: Any) -> None:
    """Refuse a shape that is smaller than what was written: metadata that changed by mistake."""
    files = getattr(array, "shards", None) or array.chunks
    counts = [ceil(n / edge) for n, edge in zip(array.shape, files, strict=True)]
    for axis, count in enumerate(counts):
        cell = tuple(count if other == axis else 0 for other in range(len(counts)))
        key = array.metadata.encode_chunk_key(cell)
        if (folder / key).is_file():
            raise DataError(
                message(
                    location.source,
                    expected=f"no chunks beyond the shape {tuple(array.shape)}",
                    found=f"the chunk {key}",
                    do="The metadata are damaged, or the array was made smaller and its old chunks "
                    "were kept. Correct the shape, or remove these chunks.",
                )
            )


def _axes(
    location: Location, array: Any, attributes: Mapping[str, Any], image: Multiscale | None
) -> str:
    ndim = array.ndim
    if image is not None and image.axes and len(image.axes) != ndim:
        raise DataError(
            message(
                location.source,
                expected=f"an array of the {len(image.axes)} axes {image.axes}",
                found=f"one of {ndim} axes",
                do="The metadata are damaged; export the image again.",
            )
        )
    if image is not None and image.axes:
        return image.axes
    names = getattr(array.metadata, "dimension_names", None) or ()
    letters = "".join(str(name).upper() for name in names)
    if len(letters) == ndim == len(set(letters)) and not set(letters) - set("TCZYX"):
        return letters
    if image is not None and ndim == len(_FIRST_AXES):
        return _FIRST_AXES
    return axis_names(attributes, ndim)
