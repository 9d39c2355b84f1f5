"""OME-Zarr 0.4 (Zarr 2) and 0.5 (Zarr 3), and plain Zarr arrays, on a local disk."""

from __future__ import annotations

import json
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager, suppress
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from zarr.codecs import BytesCodec, ZstdCodec
from zarr.errors import NodeNotFoundError

from unmask.atomic import aside_name, make_folder, remove, replace_folder, saving
from unmask.errors import DataError, told
from unmask.io import limits
from unmask.io.stored import Content, Format, Location, Stored, unit_symbol
from unmask.io.zarr_chunks import chunk_reader

_UNIT_WORDS = {
    "nm": "nanometer",
    "um": "micrometer",
    "mm": "millimeter",
    "cm": "centimeter",
    "m": "meter",
    "angstrom": "angstrom",
}
# Metadata is a page; a larger one is an attack or a mistake.
_METADATA_LIMIT = 10 * 2**20


def open_zarr(location: Location, *, level: int = 0, labels: bool = False) -> Stored:
    """Find the array of a resolution level and its axes.

    Raises:
        DataError: no image there, no such level, or chunks too large for memory.
    """
    del labels
    folder = location.path / location.key
    node = _metadata(location, folder)
    if node.get("bioformats2raw.layout") and "multiscales" not in node:
        folder = folder / "0"
        node = _metadata(location, folder)
    if "multiscales" not in node:
        return _array(location, folder, axes=None, scale=None, units=())
    multiscale = node["multiscales"][0]
    datasets = multiscale["datasets"]
    if not 0 <= level < len(datasets):
        raise DataError(
            told(
                location.source,
                expected=f"a level from 0 to {len(datasets) - 1}",
                found=f"level={level}",
                do="Choose one of these.",
            )
        )
    # Version 0.3 and older gave names only.
    axes = [a if isinstance(a, Mapping) else {"name": a} for a in multiscale.get("axes", ())]
    letters = "".join(str(axis["name"]).upper() for axis in axes) or None
    return _array(
        location,
        folder / datasets[level]["path"],
        axes=letters,
        scale=_scale(multiscale, datasets[level]),
        units=[axis.get("unit") for axis in axes],
    )


def create_zarr(
    path: Path,
    shape: Sequence[int],
    dtype: np.dtype[Any] | str,
    *,
    axes: str,
    chunks: Sequence[int] | None = None,
    spacing: Sequence[float] | None = None,
    unit: str | None = None,
) -> zarr.Array[Any]:
    """Make an empty OME-Zarr 0.5 image to be written block by block; its one level is returned.

    Chunks are packed with zstd and its checksum, so that a flipped bit is noticed on reading.

    Args:
        path: folder of the image; must not exist or be empty.
        shape: of the array.
        dtype: of the array.
        axes: one letter an axis, such as "CZYX".
        chunks: shape of a chunk; chosen where not given.
        spacing: voxel size of the spatial axes.
        unit: short symbol.
    """
    sizes = dict(zip(axes.replace("C", ""), spacing or (), strict=False))
    group = zarr.create_group(store=path, zarr_format=3)
    group.attrs["ome"] = {
        "version": "0.5",
        "multiscales": [
            {
                "name": path.name,
                "axes": [_axis(letter, unit) for letter in axes],
                "datasets": [
                    {
                        "path": "0",
                        "coordinateTransformations": [
                            {"type": "scale", "scale": [sizes.get(a, 1.0) for a in axes]}
                        ],
                    }
                ],
            }
        ],
    }
    return group.create_array(
        "0",
        shape=tuple(shape),
        dtype=np.dtype(dtype),
        chunks=tuple(chunks) if chunks is not None else _chunks(shape, axes),
        serializer=BytesCodec(endian="little"),
        compressors=[ZstdCodec(level=1, checksum=True)],
        dimension_names=list(axes.lower()),
    )


def save_zarr(location: Location, content: Content) -> None:
    """Write an image of one resolution level.

    Raises:
        DataError: a path inside a store.
    """
    if location.key:
        raise DataError(
            told(
                location.source,
                expected="the folder of a new OME-Zarr",
                found=f"a path inside one ({location.key})",
                do=f"Save to {location.path}, or to another name.",
            )
        )
    with _atomic_folder(location.path) as aside:
        array = create_zarr(
            aside,
            content.array.shape,
            content.array.dtype,
            axes=content.axes,
            spacing=content.spacing,
            unit=content.unit,
        )
        array[...] = content.array


@contextmanager
def _atomic_folder(path: Path) -> Generator[Path, None, None]:
    """Give a folder beside ``path``; on success it takes its place, on failure it goes."""
    aside = path.with_name(aside_name(path))
    with saving(path):
        try:
            make_folder(path.parent)
            remove(aside)
            yield aside
            replace_folder(aside, path)
        finally:
            # A name too long for the disk cannot even be asked for; the first error reports it.
            with suppress(OSError):
                remove(aside)


def _metadata(location: Location, folder: Path) -> dict[str, Any]:
    """Attributes of a group or array, those of OME at the top."""
    for name in ("zarr.json", ".zattrs", ".zarray", ".zgroup"):
        file = folder / name
        if not file.is_file():
            continue
        if file.stat().st_size > _METADATA_LIMIT:
            raise DataError(
                told(
                    location.source,
                    expected="metadata of at most 10 MiB",
                    found=f"{name} of {file.stat().st_size} bytes",
                    do="The store is damaged; export it again.",
                )
            )
        content = json.loads(file.read_text(encoding="utf-8"))
        attributes = content.get("attributes", {}) if name == "zarr.json" else content
        return {**attributes, **attributes.get("ome", {})}
    raise DataError(
        told(
            location.source,
            expected="an OME-Zarr image or a Zarr array",
            found=f"no Zarr metadata in {folder}",
            do="Give the folder that holds zarr.json, .zattrs or .zarray.",
        )
    )


def _array(
    location: Location,
    folder: Path,
    *,
    axes: str | None,
    scale: Sequence[float] | None,
    units: Sequence[str | None],
) -> Stored:
    try:
        node = zarr.open(folder, mode="r")
    except (FileNotFoundError, NodeNotFoundError) as error:
        raise DataError(
            told(
                location.source,
                expected=f"an array at {folder}",
                found="none",
                do="Copy the store again.",
            )
        ) from error
    if not isinstance(node, zarr.Array):
        inside = ", ".join(sorted(entry.name for entry in folder.iterdir() if entry.is_dir()))
        raise DataError(
            told(
                location.source,
                expected="an OME-Zarr image or a Zarr array",
                found=f"a group without image metadata; it holds: {inside or 'nothing'}",
                do="Give the path of the image inside it.",
            )
        )
    array: Any = node
    # A shard is decoded piece by piece, a chunk only whole.
    limits.check_unit(location.source, array.chunks, array.dtype.itemsize, name="chunk")
    letters = axes if axes and len(axes) == array.ndim else _named(array)
    symbols = {unit_symbol(unit) for a, unit in zip(letters, units, strict=False) if a in "ZYX"}
    known = len(symbols) == 1 and symbols != {None}
    sizes = dict(zip(letters, scale or (), strict=False))
    placeholder = not known and all(size == 1 for size in sizes.values())
    dtype = array.dtype.newbyteorder("=")
    return Stored(
        tuple(array.shape),
        dtype,
        letters,
        chunk_reader(folder, array),
        spacing={} if placeholder else sizes,
        unit=symbols.pop() if known else None,
    )


def _named(array: Any) -> str:
    names = getattr(array.metadata, "dimension_names", None) or ()
    letters = "".join(str(name).upper() for name in names)
    fits = len(letters) == array.ndim == len(set(letters)) and not set(letters) - set("TCZYX")
    return letters if fits else "?" * array.ndim


def _scale(multiscale: Mapping[str, Any], dataset: Mapping[str, Any]) -> list[float] | None:
    """Voxel size: the level's scale times the one common to all levels."""
    found: list[float] | None = None
    for holder in (dataset, multiscale):
        for step in holder.get("coordinateTransformations", ()):
            if step.get("type") == "scale":
                scale = [float(size) for size in step["scale"]]
                found = (
                    scale if found is None else [a * b for a, b in zip(found, scale, strict=True)]
                )
    return found


def _axis(letter: str, unit: str | None) -> dict[str, str]:
    if letter == "C":
        return {"name": "c", "type": "channel"}
    axis = {"name": letter.lower(), "type": "space"}
    return axis | {"unit": _UNIT_WORDS[unit]} if unit in _UNIT_WORDS else axis


def _chunks(shape: Sequence[int], axes: str) -> tuple[int, ...]:
    spatial = len(axes.replace("C", ""))
    edge = 512 if spatial == 2 else 64
    chunks = tuple(1 if a == "C" else min(edge, n) for a, n in zip(axes, shape, strict=True))
    return chunks if prod(chunks) else tuple(max(1, n) for n in chunks)


FORMAT = Format("OME-Zarr", open_zarr, save_zarr, family=".ome.zarr", folder=True)
