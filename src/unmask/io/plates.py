"""Collections of images in one Zarr store: plates, wells, and files of several series.

A plate of OME-Zarr (NGFF 0.4 and 0.5) holds wells, a well holds fields of view, and each field is
an image. Stores of bioformats2raw hold the series of one file as the groups 0, 1, 2, ...
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from itertools import count, takewhile
from pathlib import Path
from typing import Any

from unmask.errors import DataError, message
from unmask.io.contract import Location
from unmask.io.ome_zarr import read_attributes, read_multiscale


def inner_images(location: Location, folder: Path, attributes: Mapping[str, Any]) -> list[str]:
    """Images of a collection, relative to its folder; none if the folder is an image itself.

    Raises:
        DataError: metadata that are damaged, or name wells that are not there.
    """
    if "multiscales" in attributes:
        return []
    if "plate" in attributes:
        wells = _paths(location, attributes["plate"], "wells")
        found: list[str] = []
        for well in wells:
            inside = read_attributes(location, folder / well)
            if "well" not in inside:
                raise _damaged(location, f"{well}, which is not a well")
            found += [f"{well}/{field}" for field in _paths(location, inside["well"], "images")]
        return found
    if "well" in attributes:
        return _paths(location, attributes["well"], "images")
    if attributes.get("bioformats2raw.layout"):
        if not isinstance(folder, Path):
            # Servers list no folders, and archives are like them.
            return list(takewhile(lambda name: (folder / name).is_dir(), map(str, count())))
        numbers = (str(number) for number in range(len(list(folder.iterdir()))))
        return [name for name in numbers if (folder / name).is_dir()]
    return []


def images_in(location: Location) -> list[str]:
    """Paths of the images of a collection, or the path itself if it is a single image."""
    folder = location.path / location.key
    try:
        attributes = read_attributes(location, folder)
        images = inner_images(location, folder, attributes)
    except (DataError, OSError):
        # The error is reported when the path is opened, together with those of other paths.
        return [location.source]
    if len(images) == 1 and not attributes.keys() & {"plate", "well"}:
        return [location.source]
    return [f"{location.source.rstrip('/')}/{name}" for name in images] or [location.source]


def labels_of(location: Location) -> str:
    """Path of the label image inside the store of an image; the same path if it has no labels.

    Raises:
        DataError: the store has several label images.
    """
    folder = location.path / location.key
    if "labels" in Path(location.key).parts or not (folder / "labels").is_dir():
        return location.source
    try:
        attributes = read_attributes(location, folder)
        inside = read_attributes(location, folder / "labels")
        image = read_multiscale(location, attributes)
    except (DataError, OSError):
        # The error is reported when the path is opened, together with those of other paths.
        return location.source
    names = inside.get("labels")
    known = isinstance(names, Sequence) and not isinstance(names, str) and bool(names)
    # A store of labels alone is a label image itself, though its arrays are below.
    alone = image is None or image.paths[0].startswith("labels/")
    if alone or "image-label" in attributes or not known:
        return location.source
    paths = [f"{location.source.rstrip('/')}/labels/{name}" for name in names or ()]
    if len(paths) > 1:
        raise DataError(
            message(
                location.source,
                expected="a single label image in the store of an image",
                found=f"{', '.join(paths[:8])}",
                do="Give the path of one of them.",
            )
        )
    return paths[0]


def only_images(folders: Sequence[Path]) -> list[Path]:
    """Of folders inside a store those that are images.

    Groups are not, and neither are the levels and the labels inside of an image.
    """
    scaled = {folder for folder in folders if _has_levels(folder)}
    images = {folder for folder in folders if folder in scaled or _is_array(folder)}
    return [folder for folder in images if not scaled & set(folder.parents)]


def _has_levels(folder: Path) -> bool:
    try:
        return "multiscales" in read_attributes(Location(str(folder), folder), folder)
    except (DataError, OSError):
        return False


def _is_array(folder: Path) -> bool:
    return (folder / ".zarray").is_file() or _node_type(folder) == "array"


def _node_type(folder: Path) -> Any:
    try:
        return json.loads((folder / "zarr.json").read_text(encoding="utf-8")).get("node_type")
    except (OSError, ValueError, RecursionError, AttributeError):
        return None


def field_name(location: Location) -> str | None:
    """The name of an image inside a collection, after the key: ``A/1/0`` gives ``A_1_0``.

    Labels inside of an image, ``A/1/0/labels/nuclei``, have the name of the image.

    Returns:
        None if the store is a single image, or its metadata cannot be read.
    """
    try:
        attributes = read_attributes(location, location.path)
        series = inner_images(location, location.path, attributes)
    except (DataError, OSError):
        return None
    if len(series) <= (not attributes.keys() & {"plate", "well"}):
        # A file of one series is called as the store, whether its number is given or not.
        return None
    parts = Path(location.key).parts
    if "labels" in parts:
        parts = parts[: parts.index("labels")]
    return "_".join(parts) or None


def _paths(location: Location, holder: Any, name: str) -> list[str]:
    entries = holder.get(name) if isinstance(holder, Mapping) else None
    if not isinstance(entries, Sequence) or isinstance(entries, str):
        raise _damaged(location, f"{name} that are a {type(entries).__name__}")
    paths = [each.get("path") if isinstance(each, Mapping) else None for each in entries]
    if not paths or not all(isinstance(path, str) and path for path in paths):
        raise _damaged(location, f"{name} with the paths {paths[:8]}")
    return [str(path).strip("/") for path in paths]


def _damaged(location: Location, found: str) -> DataError:
    return DataError(
        message(
            location.source,
            expected="a plate or well as OME-Zarr defines it",
            found=found,
            do="The metadata are damaged; export the plate again.",
        )
    )
