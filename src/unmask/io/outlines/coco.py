"""COCO's JSON: one file for many images, masks as run lengths, polygons are read too.

https://cocodataset.org/#format-data. Ids of annotations count over all images; the id of an object
in its label image is kept as ``label``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from unmask.atomic import atomic_write
from unmask.errors import DataError, message
from unmask.io.outlines.drawn import Drawing, Drawn
from unmask.io.outlines.fill import Filled
from unmask.io.outlines.rle import box_of, check_runs, decode, encode, from_text, to_text
from unmask.io.outlines.text import read_json, strange
from unmask.wording import format_count

_WHAT = "COCO's images, annotations and segmentations"


def write_coco(path: Path, images: Sequence[tuple[str, np.ndarray]]) -> None:
    """Write the objects of label images, each ``(file name, labels (y, x))``.

    Raises:
        DataError: a volume, which the format cannot hold.
    """
    entries, annotations = [], []
    for number, (name, labels) in enumerate(images, 1):
        entries.append(coco_image(number, name, labels.shape))
        annotations += coco_annotations(path, number, labels, first=len(annotations) + 1)
    write_entries(path, entries, annotations)


def write_entries(
    path: Path, images: Sequence[Mapping[str, Any]], annotations: Sequence[Mapping[str, Any]]
) -> None:
    """Write a file from its parts, with the one category "object"."""
    tree = {
        "images": images,
        "annotations": annotations,
        "categories": [{"id": 1, "name": "object", "supercategory": ""}],
    }
    atomic_write(path, json.dumps(tree, separators=(",", ":")))


def coco_image(number: int, name: str, shape: Sequence[int]) -> dict[str, Any]:
    """The entry of an image."""
    return {"id": number, "file_name": name, "height": int(shape[-2]), "width": int(shape[-1])}


def coco_annotations(
    path: Path, image: int, labels: np.ndarray, *, first: int
) -> list[dict[str, Any]]:
    """The annotations of an image, whose ids begin with ``first``.

    Raises:
        DataError: a volume, which the format cannot hold.
    """
    if labels.ndim > 2:
        raise DataError(
            message(
                path,
                expected="images of two axes, as COCO has no volumes",
                found=f"labels of shape {labels.shape}",
                do="Write imagej or geojson, which have planes; or measure with --planes z.",
            )
        )
    height, width = labels.shape
    found = []
    for number, (key, counts) in enumerate(zip(*encode(labels), strict=True), first):
        found.append(
            {
                "id": number,
                "image_id": image,
                "category_id": 1,
                "label": int(key),
                "area": int(counts[1::2].sum()),
                "bbox": _bbox(counts, height),
                "iscrowd": 0,
                "segmentation": {"size": [height, width], "counts": to_text(counts)},
            }
        )
    return found


def read_coco(path: Path, image: str | None = None) -> Drawing:
    """The objects of one image.

    Args:
        path: the file.
        image: name of the image, with or without suffix; may be left out if there is one image.

    Raises:
        DataError: no such image, or not COCO's format.
    """
    tree = read_json(path)
    images, annotations = tree.get("images"), tree.get("annotations")
    if not isinstance(images, list) or not isinstance(annotations, list):
        raise strange(path, "other fields", _WHAT)
    entry = _entry(path, images, image)
    own = [each for each in annotations if each.get("image_id") == entry.get("id")]
    try:
        shape = int(entry["height"]), int(entry["width"])
        keys = [each.get("label") for each in own]
        objects = [
            _drawn(path, each, key if isinstance(key, int) else None, shape)
            for each, key in zip(own, keys, strict=True)
        ]
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise strange(path, f"an entry without or with a wrong {error}", _WHAT) from error
    crowds = sum(bool(each.get("iscrowd")) for each in own)
    count = format_count(crowds, "annotation is a crowd", "annotations are crowds")
    notes = [f"{count}, read as one object each."] if crowds else []
    return Drawing(objects, shape, notes)


def _bbox(counts: np.ndarray, height: int) -> list[int]:
    """Left, top, width and height."""
    top, left, bottom, right = box_of(counts, height)
    return [left, top, right - left, bottom - top]


def _entry(path: Path, images: Sequence[Any], name: str | None) -> Mapping[str, Any]:
    entries = [each for each in images if isinstance(each, Mapping)]
    if name is None and len(entries) == 1:
        return entries[0]
    stems = {name, Path(name).stem} if name else set()
    for entry in entries:
        file = str(entry.get("file_name", ""))
        if {file, Path(file).name, Path(file).stem} & stems:
            return entry
    files = ", ".join(str(each.get("file_name")) for each in entries[:5])
    raise DataError(
        message(
            path,
            expected=f"an image named {name!r}" if name else "one image",
            found=f"{len(entries)}: {files}",
            do="Give the name of one of them.",
        )
    )


def _drawn(path: Path, each: Mapping[str, Any], key: int | None, shape: tuple[int, int]) -> Drawn:
    name = f"annotation {each.get('id')}"
    segmentation = each["segmentation"]
    if isinstance(segmentation, Mapping):
        height, width = map(int, segmentation["size"])
        if (height, width) != shape:
            raise strange(path, f"{name} of size {(height, width)} in an image of {shape}", _WHAT)
        stored = segmentation["counts"]
        counts = from_text(stored) if isinstance(stored, str) else np.array(stored, np.int64)
        check_runs(counts, height, width)
        # Decoded when it is painted: the masks of all objects do not fit into memory.
        return Drawn(name, paint=lambda _: Filled(*decode(counts, height)), key=key)
    rings = [np.array(ring, float).reshape(-1, 2)[:, ::-1] for ring in segmentation]
    # Polygons of one annotation are its pieces; the format has no holes.
    return Drawn(name, tuple([ring] for ring in rings), key=key)
