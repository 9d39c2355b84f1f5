"""LIVECell: phase contrast of eight cell lines, outlines in COCO's JSON."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from unmask.datasets.dataset import DataSet, Item
from unmask.datasets.files import expect_some, list_files, match_files
from unmask.datasets.painting import coco_object, paint_objects
from unmask.datasets.samples import Sample, check_size, read_image, sample_item
from unmask.errors import DataError, describe_error, message, raise_problems

_PARTS = ("train", "val", "test")


def find(archive: Path) -> list[Item]:
    """List the images of the official parts.

    Raises:
        DataError: no JSON, JSON that is not COCO's, or images that are missing; all at once.
    """
    files = list_files(archive)
    lists = match_files(files, r"(?:livecell_coco_)?(train|val|test)\.json")
    expect_some(lists, archive, "livecell_coco_train.json, livecell_coco_val.json and so on")
    images = {path.name: path for path in match_files(files, r"[^/]+\.tiff?")}
    items: list[Item] = []
    problems: list[str] = []
    for path, match in lists.items():
        found, absent = _part(path, match[1].lower(), images)
        items += found
        if absent:
            problems.append(
                message(
                    path,
                    expected=f"its images, such as {absent[0]}",
                    found=f"{len(absent)} missing",
                    do="Give images.zip as well, or get it again.",
                )
            )
    raise_problems(problems)
    return sorted(items, key=lambda item: _PARTS.index(item.part))


def _part(path: Path, part: str, images: Mapping[str, Path]) -> tuple[list[Item], list[str]]:
    """Images of one JSON file, and the names of those that are missing."""
    tree = _read_json(path)
    outlines: dict[Any, list[Any]] = defaultdict(list)
    annotations = tree["annotations"]
    # The file of the owners has annotations by their id; COCO has a list.
    entries = annotations.values() if isinstance(annotations, Mapping) else annotations
    for each in entries:
        outlines[each["image_id"]].append(each["segmentation"])
    items, absent = [], []
    for entry in tree["images"]:
        name = Path(entry["file_name"]).name
        if name not in images:
            absent.append(name)
            continue
        shape = int(entry["height"]), int(entry["width"])
        read = partial(_read, images[name], outlines.get(entry["id"], []), shape)
        items.append(sample_item(part, Path(name).stem, read))
    return items, absent


def _read_json(path: Path) -> Mapping[str, Any]:
    try:
        tree = json.loads(path.read_bytes())
        for entry in tree["images"]:
            _ = entry["file_name"], entry["id"], int(entry["height"]), int(entry["width"])
        _ = tree["annotations"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(
            message(
                path,
                expected="COCO's images and annotations",
                found=describe_error(error)[:200],
                do="Download it again.",
            )
        ) from error
    return tree


def _read(path: Path, outlines: list[Any], shape: tuple[int, int]) -> Sample:
    image = read_image(path)
    check_size(image.shape[1:], shape, path)
    try:
        objects = [coco_object(each, shape) for each in outlines if each]
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(
            message(
                path,
                expected="polygons or run lengths of its cells",
                found=describe_error(error),
                do="Download the JSON file again.",
            )
        ) from error
    return Sample(image, paint_objects(objects, shape))


SET = DataSet(
    name="livecell",
    title="Phase contrast of eight cell lines, all cells (LIVECell)",
    license="CC BY-NC 4.0",
    citation="doi:10.1038/s41592-021-01249-6",
    source="https://sartorius-research.github.io/LIVECell/",
    archive="images.zip and livecell_coco_{train,val,test}.json",
    find=find,
    counts={"train": (3253, 3188), "val": (570, 539), "test": (1564, 1512)},
    sizes=((520, 704),),
    preset="cells",
    notes="Where two outlines overlap, the smaller cell is seen.",
)
