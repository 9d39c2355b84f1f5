"""Groups around label images of OME-Zarr: the list of labels, the wells and fields of a plate.

An entry is added to a list after the data that it names are complete, and lists are replaced
atomically, so that an interrupted write leaves a valid store.
"""

from __future__ import annotations

import json
import os
import re
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from unmask.atomic import atomic_write, make_folder
from unmask.errors import DataError, message
from unmask.io.contract import Location
from unmask.io.ome_zarr import read_attributes, read_multiscale
from unmask.io.paths import locate
from unmask.io.remote import is_remote
from unmask.leftovers import remove_leftovers

LABELS = "labels"


def label_name(text: str) -> str:
    """Replace the characters of ``text`` that a file system or a reader may not support.

    Examples:
        >>> label_name("my cells/v2"), label_name("..")
        ('my_cells_v2', 'labels')
    """
    return re.sub(r"[^\w.+-]+", "_", text, flags=re.ASCII).strip("._")[:80] or "labels"


def labels_in_place(source: str, name: str) -> Path:
    """Path of new labels inside the store of an OME-Zarr image.

    Raises:
        DataError: the image is not an OME-Zarr on a local disk, labels of this name exist, or the
            store cannot be written.
    """
    location = locate(source)
    if is_remote(source):
        raise DataError(
            message(
                source,
                expected="an OME-Zarr on a local disk, to put labels into",
                found="an address, which is only read",
                do="Leave out --in-place and give --out.",
            )
        )
    group = location.path / location.key
    attributes = read_attributes(location, group)
    if read_multiscale(location, attributes) is None or "image-label" in attributes:
        found = "labels" if "image-label" in attributes else "an array without image metadata"
        raise DataError(
            message(
                source,
                expected="the group of an OME-Zarr image, to put labels into",
                found=found,
                do="Leave out --in-place; the labels then get a store of their own.",
            )
        )
    path = group / LABELS / name
    if path.exists():
        raise DataError(
            message(
                source,
                expected=f"no labels called {name!r}, since labels in a store are kept",
                found=f"{path}",
                do="Give the new ones another name (--label-name), or remove that folder.",
            )
        )
    below = next(folder for folder in (path.parent, group) if folder.exists())
    if not os.access(below, os.W_OK | os.X_OK):
        raise DataError(
            message(
                source,
                expected="a store that can be written, to put labels into it",
                found=f"no write permission for {below}",
                do="Change the permission, or leave out --in-place and give --out.",
            )
        )
    return path


def zarr_version(group: Path) -> int:
    """Version of Zarr of a group: 2 or 3."""
    return 3 if (group / "zarr.json").is_file() else 2


def is_in_place(path: Path) -> bool:
    """Whether a path is a label image ``.../labels/<name>`` inside the store of an image."""
    group = path.parent.parent
    marks = ("zarr.json", ".zgroup")
    return path.parent.name == LABELS and any((group / mark).is_file() for mark in marks)


def add_label(path: Path) -> None:
    """Add the label image ``.../labels/<name>`` to the list of its ``labels`` group."""
    labels, name, version = path.parent, path.name, zarr_version(path.parent.parent)
    tree = _attributes(labels, version)
    holder = tree if version == 2 else tree.setdefault("ome", {"version": "0.5"})
    listed = [str(each) for each in holder.get(LABELS) or () if each != name]
    # The names are not read from the disk: labels of other programs that are not listed stay so.
    holder[LABELS] = [*listed, name]
    _write_group(labels, tree, version)
    for group in dict.fromkeys((labels.parent, locate(path).path)):
        _consolidate(group, version)


def add_field(path: Path, source: str) -> None:
    """Add a field to the plate of results that it is in, and to its well.

    Args:
        path: path of the field, ``plate.ome.zarr/row/column/field``.
        source: the segmented field, whose metadata are copied.
    """
    location = locate(path)
    *well, field = Path(location.key).parts
    key = "/".join(well)
    given = locate(source)
    plate = dict(read_attributes(given, given.path).get("plate", {}))
    images = read_attributes(given, given.path / key).get("well", {}).get("images", ())
    folder = location.path / key
    make_folder(folder)
    # The innermost group first, so that a list never names a missing group.
    _add(folder, "well", {}, "images", _entry(images, field))
    make_folder(folder.parent)
    if not (folder.parent / "zarr.json").exists():
        _write_group(folder.parent, {}, 3)
    plate = {name: value for name, value in plate.items() if name not in ("wells", "version")}
    wells = read_attributes(given, given.path).get("plate", {}).get("wells", ())
    _add(location.path, "plate", plate, "wells", _entry(wells, key))


def plate_key(location: Location) -> str:
    """Key of a field of a plate, such as ``A/1/0``; "" if the image is not a field."""
    parts = Path(location.key).parts
    if len(parts) != len(("row", "column", "field")):
        return ""
    try:
        return location.key if "plate" in read_attributes(location, location.path) else ""
    except (DataError, OSError):
        return ""


def _entry(entries: Sequence[Mapping[str, Any]], path: str) -> dict[str, Any]:
    """Copy of the source's list entry for a path."""
    known = (dict(each) for each in entries if str(each.get("path", "")).strip("/") == path)
    return next(known, {}) | {"path": path}


def _add(
    folder: Path, kind: str, given: Mapping[str, Any], name: str, entry: Mapping[str, Any]
) -> None:
    tree = _attributes(folder, 3)
    ome = tree.setdefault("ome", {"version": "0.5"})
    holder = ome.setdefault(kind, dict(given))
    kept = [each for each in holder.get(name, ()) if each.get("path") != entry["path"]]
    holder[name] = [*kept, dict(entry)]
    _write_group(folder, tree, 3)


def _attributes(folder: Path, version: int) -> dict[str, Any]:
    """Attributes of a group from its metadata file; empty if there is no file."""
    file = folder / ("zarr.json" if version == 3 else ".zattrs")
    if not file.is_file():
        return {}
    content = json.loads(file.read_text(encoding="utf-8"))
    return content.get("attributes", {}) if version == 3 else content


def _write_group(folder: Path, attributes: Mapping[str, Any], version: int) -> None:
    # The folder stays, so what a killed run left in it would too.
    remove_leftovers(folder)
    if version == 3:
        tree = {"zarr_format": 3, "node_type": "group", "attributes": dict(attributes)}
        atomic_write(folder / "zarr.json", json.dumps(tree, indent=2))
        return
    atomic_write(folder / ".zattrs", json.dumps(dict(attributes), indent=2))
    if not (folder / ".zgroup").exists():
        atomic_write(folder / ".zgroup", json.dumps({"zarr_format": 2}, indent=2))


def _consolidate(group: Path, version: int) -> None:
    """Update consolidated metadata, without which readers would not see the new group."""
    import zarr  # Most paths have no store with consolidated metadata, and the import is slow.

    known = (group / ".zmetadata").is_file()
    if version == 3 and (group / "zarr.json").is_file():
        content = json.loads((group / "zarr.json").read_text(encoding="utf-8"))
        known = bool(content.get("consolidated_metadata"))
    if not known:
        return
    with warnings.catch_warnings():
        # zarr-python warns that they are not part of Zarr 3, but the store has them already.
        warnings.simplefilter("ignore")
        zarr.consolidate_metadata(group, zarr_format=2 if version == 2 else 3)
