"""Where labels of a layer are saved, and how: in their file, or in place in an OME-Zarr."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from napari.layers import Labels as LabelsLayer
from napari.layers import Layer

from napari_unmask.layers import like_of
from unmask.atomic import atomic_write
from unmask.errors import DataError, UnmaskError, message
from unmask.io import Image, open_image, open_labels, save_labels, smallest_uint
from unmask.io.label_groups import is_in_place

# Key of what this plugin keeps in the metadata of a layer.
KEY = "unmask"
_ACCEPTED = ".accepted.json"


def path_of(layer: Layer) -> Path | None:
    """The file or store that a layer was read from; None if it is only in memory."""
    known = layer.metadata.get(KEY, {}).get("path") or layer.source.path
    return None if known is None else Path(known)


def own_path(layer: LabelsLayer) -> Path | None:
    """The label image of a layer: its file, or ``store.zarr/labels/<name>``; None: there is none.

    A layer of a store has the name of its label image at its end, whichever reader made it.
    """
    path = path_of(layer)
    if path is None or not path.is_dir() or is_in_place(path):
        return path
    named = path / "labels" / plain_name(layer.name.rpartition("/")[2].rpartition(" ")[2])
    return named if named.exists() else None


def proposed_path(layer: LabelsLayer, image: Layer | None) -> Path:
    """Where the labels are saved unless the user says otherwise."""
    own = own_path(layer)
    if own is not None:
        return own
    source = None if image is None else path_of(image)
    name = plain_name(layer.name)
    if source is not None and source.is_dir():
        return source / "labels" / name
    folder = Path.home() if source is None else source.parent
    return folder / f"{name}_labels.tif"


def save(layer: LabelsLayer, path: Path, *, accepted: Sequence[int] = ()) -> None:
    """Save labels and the ids of objects that were accepted.

    Args:
        layer: the labels.
        path: a new file, the file of the layer, or ``store.zarr/labels/<name>``.
        accepted: ids that a person has checked.

    Raises:
        DataError: another file is there, or the ids are not whole numbers of 0 or more.
        SaveError: it cannot be written; an older file stays whole.
    """
    mine = own_path(layer)
    if path.exists() and (mine is None or mine.absolute() != path.absolute()):
        raise DataError(
            message(
                path,
                expected="a new file, or the one that the layer was read from",
                found="another file",
                do="Choose another name.",
            )
        )
    data = layer.data[0] if layer.multiscale else layer.data
    array = open_labels(np.asarray(data), ndim=layer.ndim).read()[0]
    inside = is_in_place(path)
    like = _like(layer, path, inside=inside)
    checked = sorted(int(each) for each in accepted)
    facts = {**_provenance(layer), "accepted": checked}
    save_labels(path, smallest_uint(array), like=like, name=path.name, provenance=lambda: facts)
    if not inside and checked:
        atomic_write(_notes_of(path), json.dumps({"accepted": checked}))
    layer.metadata.setdefault(KEY, {})["path"] = str(path)


def accepted_in(layer: LabelsLayer) -> set[int]:
    """Ids that were accepted before the labels were saved the last time."""
    path = own_path(layer)
    if path is None:
        return set()
    with suppress(OSError, ValueError, KeyError, TypeError, UnmaskError):
        tree = _attributes(path) if path.is_dir() else json.loads(_notes_of(path).read_text())
        return {int(each) for each in tree["accepted"]}
    return set()


def _like(layer: LabelsLayer, path: Path, *, inside: bool) -> Image:
    """The image whose voxel size, unit and position the file gets."""
    with suppress(UnmaskError):
        if inside:
            return open_image(path.parent.parent, ndim=layer.ndim)
        if path.exists():
            return open_labels(path, ndim=layer.ndim)
    return like_of(layer)


def _provenance(layer: LabelsLayer) -> dict[str, Any]:
    known = layer.metadata.get(KEY, {}).get("provenance", {})
    return json.loads(json.dumps(dict(known), default=str)) if isinstance(known, Mapping) else {}


def _attributes(path: Path) -> dict[str, Any]:
    """What `save_labels` noted in a label image of an OME-Zarr."""
    import zarr

    return dict(zarr.open_group(path, mode="r").attrs["unmask"])  # type: ignore[arg-type]


def _notes_of(path: Path) -> Path:
    return path.with_name(path.name + _ACCEPTED)


def plain_name(name: str) -> str:
    """A name for a file or a group."""
    return re.sub(r"[^\w.-]+", "_", name).strip("._") or "labels"
