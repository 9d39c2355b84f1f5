"""OME-Zarr label images as readers expect them: a group ``labels/<name>`` with all its levels.

A new store (NGFF 0.5) has the label image alone. Its root is a multiscale image of the same arrays,
so that programs without support for labels open it too. In the store of an image the group is added
in the version of that store (NGFF 0.4 for Zarr 2), and existing labels are kept.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from math import prod
from pathlib import Path
from typing import Any

import numcodecs
import numpy as np
import zarr
from zarr.codecs import BytesCodec, ZstdCodec

from unmask.atomic import aside_name, make_folder, remove, replace_folder, saving
from unmask.io.image import Image
from unmask.io.label_groups import LABELS, add_field, add_label, is_in_place, zarr_version
from unmask.io.ome_zarr import read_multiscale
from unmask.io.paths import locate, suffix_of
from unmask.io.pyramid import Level, coarsen, label_chunks, pieces_of, plan_levels
from unmask.io.zarr import axis_entry
from unmask.io.zarr_open import find_image, open_array
from unmask.leftovers import remove_leftovers

# Colors of many labels slow viewers down; without colors, viewers choose their own.
_MOST_COLORS = 10_000
# Steps of the golden ratio give consecutive ids very different hues.
_GOLDEN = 0.618033988749895


@dataclass(frozen=True)
class LabelSpec:
    """Specification of a label image in OME-Zarr.

    Attributes:
        name: name of the label image, such as ``nuclei``.
        shape: number of voxels per axis.
        dtype: an unsigned integer type.
        largest: the largest label.
        axes: one letter per axis, such as "ZYX".
        like: the image of the labels, whose voxel size, position and levels are used.
        provenance: JSON values, stored as the attribute ``unmask``.
    """

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    largest: int
    axes: str
    like: Image
    provenance: Mapping[str, Any] = field(default_factory=dict)

    @property
    def still(self) -> int:
        """Number of axes of time, which come first and have no coarser levels."""
        return self.axes.count("T")


@contextmanager
def label_folder(
    path: Path, spec: LabelSpec, *, work: Path | None = None, kept: str = ""
) -> Generator[tuple[Path, list[Level]], None, None]:
    """Yield the folder of a new label image and its levels; it gets its final path on success.

    Args:
        path: a new store, a field of a plate of results, or ``store.zarr/labels/<name>``.
        spec: the label image.
        work: folder on the same disk for the unfinished store; None: next to ``path``.
        kept: sentence for the error message about kept work if the disk is full.

    Raises:
        SaveError: the store cannot be written.
    """
    path = path.absolute()
    inside = is_in_place(path)
    # A field of a plate is built outside of the plate, where no reader mistakes it for an image.
    near = path if inside else locate(path).path
    aside = (near.parent if inside or work is None else work) / aside_name(near)
    with saving(path, kept):
        try:
            make_folder(aside.parent)
            remove(aside)
            if inside:
                remove_leftovers(path.parent)
                version = zarr_version(path.parent.parent)
                yield aside, create_label_image(aside, spec, version=version, source="../../")
            else:
                yield aside / LABELS / spec.name, _create_store(aside, path, spec)
            replace_folder(aside, path)
            # An interrupted run leaves labels that no list names yet, which is a valid store.
            if inside:
                add_label(path)
            elif locate(path).key:
                add_field(path, spec.like.source)
        finally:
            # Removing fails if the name is too long for the disk; the first error reports that.
            with suppress(OSError):
                remove(aside)


def save_label_store(path: Path, spec: LabelSpec, labels: np.ndarray) -> None:
    """Write labels in memory as the label image ``path``.

    Raises:
        SaveError: the store cannot be written.
    """
    with label_folder(path, spec) as (folder, levels):
        zarr.open_array(folder / "0", mode="r+")[...] = labels
        fill_levels(folder, levels, spec)


def fill_levels(folder: Path, levels: Sequence[Level], spec: LabelSpec) -> None:
    """Fill every level but the finest from the level before."""
    for number, level in enumerate(levels[1:], 1):
        for box in pieces_of(level.shape, label_chunks(level.shape, still=spec.still)):
            fill_piece(folder, number, level, box)


def fill_piece(folder: Path, number: int, level: Level, box: Any) -> None:
    """Fill a box of whole chunks of level ``number`` from the level before."""
    fine = zarr.open_array(folder / str(number - 1), mode="r")
    coarsen(fine, zarr.open_array(folder / str(number), mode="r+"), level.step, box)


def create_label_image(
    folder: Path, spec: LabelSpec, *, version: int = 3, source: str = ""
) -> list[Level]:
    """Make the group of a label image with empty levels ``0``, ``1``, ...

    Args:
        folder: must not exist or be empty.
        spec: the label image.
        version: of Zarr; 2 gives NGFF 0.4, 3 gives NGFF 0.5.
        source: path of the image in the same store, relative to the label image; "" if the store
            has no image.
    """
    levels = plan_levels(_finest(spec), _source_levels(spec), still=spec.still)
    group = zarr.create_group(store=folder, zarr_format=2 if version == 2 else 3)
    for number, level in enumerate(levels):
        _create_level(group, str(number), level, spec)
    described = {
        "multiscales": [_multiscale(spec, levels, spec.name, "", version)],
        "image-label": _image_label(spec, version, source),
    }
    group.attrs.update({**_ome(described, version), "unmask": dict(spec.provenance)})
    return levels


def _create_store(root: Path, path: Path, spec: LabelSpec) -> list[Level]:
    """Make a store of one label image, whose root is an image of the same arrays."""
    levels = create_label_image(root / LABELS / spec.name, spec)
    zarr.open_group(root / LABELS, mode="a", zarr_format=3).attrs.update(
        _ome({"labels": [spec.name]}, 3)
    )
    location = locate(path)
    name = "/".join([location.path.name, *([location.key] if location.key else [])])
    prefix = f"{LABELS}/{spec.name}/"
    described = {"multiscales": [_multiscale(spec, levels, name, prefix, 3)]}
    zarr.open_group(root, mode="a", zarr_format=3).attrs.update(_ome(described, 3))
    return levels


def _create_level(group: Any, name: str, level: Level, spec: LabelSpec) -> None:
    shared: dict[str, Any] = {
        "shape": level.shape,
        "dtype": spec.dtype,
        "chunks": label_chunks(level.shape, still=spec.still),
    }
    if group.metadata.zarr_format == 2:
        # Readers of Zarr 2 in Java know blosc, few know zstd alone.
        blosc = numcodecs.Blosc("zstd", 1, numcodecs.Blosc.SHUFFLE)
        separator = {"name": "v2", "separator": "/"}
        group.create_array(
            name, **shared, compressors=blosc, chunk_key_encoding=separator, fill_value=0
        )
        return
    group.create_array(
        name,
        **shared,
        serializer=BytesCodec(endian="little"),
        # The checksum reports a flipped bit on reading.
        compressors=[ZstdCodec(level=1, checksum=True)],
        dimension_names=list(spec.axes.lower()),
    )


def _finest(spec: LabelSpec) -> Level:
    """The finest level; voxels have the size 1 if it is not known."""
    ones, zeros = (1.0,) * len(spec.shape), (0.0,) * len(spec.shape)
    sizes = spec.like.spacing
    known = sizes is not None and spec.still + len(sizes) == len(spec.shape)
    # The interval between time points is not known here, so it is 1.
    spacing = (*(1.0,) * spec.still, *sizes) if known and sizes is not None else ones
    origin = spec.like.meta.get("origin", {})
    first = tuple(float(origin.get(a, 0.0)) for a in spec.axes) if known else zeros
    return Level(tuple(spec.shape), (1,) * len(spec.shape), spacing, first)


def _source_levels(spec: LabelSpec) -> list[Level]:
    """Levels of the image on disk, if it is an OME-Zarr; none otherwise."""
    location = locate(spec.like.source)
    if "{" in spec.like.source or suffix_of(location) != ".zarr":
        return []
    folder, attributes = find_image(location)
    image = read_multiscale(location, attributes)
    if image is None or not set(spec.axes) <= set(image.axes):
        return []
    places = [image.axes.index(letter) for letter in spec.axes]
    first = _finest(spec)
    levels: list[Level] = []
    for path, voxels in zip(image.paths, image.voxels, strict=True):
        whole = open_array(location, folder / path).shape
        shape = tuple(whole[place] for place in places)
        ratio = [n / m for n, m in zip(first.shape, shape, strict=True)]
        size = tuple(
            voxels.spacing.get(a, s * r)
            for a, s, r in zip(spec.axes, first.spacing, ratio, strict=True)
        )
        origin = tuple(voxels.origin.get(a, 0.0) for a in spec.axes)
        levels.append(Level(shape, None, size, origin))
    return levels


def _multiscale(
    spec: LabelSpec, levels: Sequence[Level], name: str, prefix: str, version: int
) -> dict[str, Any]:
    datasets = []
    for number, level in enumerate(levels):
        steps: list[dict[str, Any]] = [{"type": "scale", "scale": list(level.spacing)}]
        if any(level.origin):
            steps.append({"type": "translation", "translation": list(level.origin)})
        datasets.append({"path": f"{prefix}{number}", "coordinateTransformations": steps})
    return {
        **({"version": "0.4"} if version == 2 else {}),
        "name": name,
        "type": "mode",
        "axes": [axis_entry(letter, spec.like.unit) for letter in spec.axes],
        "datasets": datasets,
    }


def _image_label(spec: LabelSpec, version: int, source: str) -> dict[str, Any]:
    entry: dict[str, Any] = {"version": "0.4"} if version == 2 else {}
    if 0 < spec.largest <= _MOST_COLORS:
        clear = {"label-value": 0, "rgba": [0, 0, 0, 0]}
        entry["colors"] = [clear, *map(_color, range(1, spec.largest + 1))]
    if source:
        entry["source"] = {"image": source}
    return entry


def _color(label: int) -> dict[str, Any]:
    """A bright color; the same label always has the same one."""
    hue = label * _GOLDEN % 1.0 * 6
    offsets = (5.0, 3.0, 1.0)
    levels = [1.0 - 0.75 * max(0.0, min(k, 4.0 - k, 1.0)) for k in ((o + hue) % 6 for o in offsets)]
    return {"label-value": label, "rgba": [*(round(255 * level) for level in levels), 255]}


def _ome(described: Mapping[str, Any], version: int) -> dict[str, Any]:
    """Attributes of a group; NGFF 0.5 puts them under one key."""
    return dict(described) if version == 2 else {"ome": {"version": "0.5", **described}}


def largest_label(labels: np.ndarray) -> int:
    """The largest label; 0 if there is none."""
    return int(labels.max()) if prod(labels.shape) else 0
