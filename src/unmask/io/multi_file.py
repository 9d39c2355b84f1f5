"""One image out of several files, one for each channel or group of them.

Such an image is written with braces, ``case_{0000,0001}.nii.gz`` or ``{a.tif,b.tif}``, wherever one
path stands; a file that is really called so comes first.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from itertools import takewhile
from pathlib import Path
from string import ascii_letters, digits
from typing import Any

import numpy as np

from unmask.errors import DataError, message
from unmask.io.image import Image

_BRACES = re.compile(r"(?P<head>[^{}]*)\{(?P<parts>[^{}]*,[^{}]*)\}(?P<tail>[^{}]*)")


def files_of(path: str | Path) -> list[str]:
    """The files behind a path, in order; mostly the path itself.

    Examples:
        >>> files_of("a_{0,1}.nii")
        ['a_0.nii', 'a_1.nii']
    """
    found = _BRACES.fullmatch(str(path))
    if found is None or Path(path).exists():
        return [str(path)]
    return [f"{found['head']}{part}{found['tail']}" for part in found["parts"].split(",")]


def join_names(files: Sequence[str]) -> str:
    """One path for several files.

    Raises:
        DataError: names with braces or commas.

    Examples:
        >>> join_names(["x/a_0000.nii.gz", "x/a_0001.nii.gz"])
        'x/a_000{0,1}.nii.gz'
        >>> join_names(["a_DAPI.tif", "a_DAB.tif"])
        'a_{DAPI,DAB}.tif'
    """
    if len(files) == 1:
        return files[0]
    if strange := [file for file in files if set(file) & set("{},")]:
        raise DataError(
            message(strange[0], expected="a name without {, } and ,", found="one", do="Rename it.")
        )
    head = _shared(files)
    if not all(file[len(head) : len(head) + 1].isdigit() for file in files):
        # Words stay whole, so that the parts are names of channels; numbers may be cut.
        head = head.rstrip(ascii_letters)
    rests = [file[len(head) :] for file in files]
    tail = _shared([rest[::-1] for rest in rests])[::-1]
    if any(rest[: len(rest) - len(tail)][-1:].isalpha() for rest in rests):
        tail = tail.lstrip(ascii_letters + digits)
    parts = [rest[: len(rest) - len(tail)] for rest in rests]
    return f"{head}{{{','.join(parts)}}}{tail}"


def _shared(texts: Sequence[str]) -> str:
    """What all texts begin with."""
    alike = (len(set(letters)) == 1 for letters in zip(*texts, strict=False))
    return texts[0][: sum(takewhile(bool, alike))]


def without_parts(path: str | Path) -> str:
    """The path without what its files differ in: what the image is called.

    Examples:
        >>> without_parts("x/a_000{0,1}.nii.gz")
        'x/a.nii.gz'
    """
    found = _BRACES.fullmatch(str(path))
    if found is None or Path(path).exists():
        return str(path)
    head = re.sub(r"[_\-. ]0*$", "", found["head"])
    return f"{head}{found['tail']}" if Path(head).name and head == head.rstrip("/") else \
        files_of(path)[0]  # fmt: skip


def stack_files(images: Sequence[Image], source: str, name: str) -> Image:
    """The channels of all images one after another, read when they are asked for.

    Raises:
        DataError: images of unlike size or position.
    """
    first = images[0]
    meta = _meta_of_all(images, source)
    for other in images[1:]:
        place, there = first.meta.get("position"), other.meta.get("position")
        alike = (place is None) == (there is None) and (
            place is None or there is None or np.allclose(place, there, atol=1e-3)
        )
        if other.shape[1:] != first.shape[1:] or other.spacing != first.spacing or not alike:
            raise DataError(
                message(
                    other.source,
                    expected=f"the grid of {first.source}, {first.shape[1:]} voxels of "
                    f"{first.spacing}",
                    found=f"{other.shape[1:]} of {other.spacing}" + ("" if alike else " elsewhere"),
                    do="Resample all channels to one grid.",
                )
            )
    edges = np.cumsum([0, *(image.shape[0] for image in images)])
    dtype = np.result_type(*(image.dtype for image in images))

    def fetch(index: tuple[slice, ...]) -> np.ndarray:
        parts = []
        for image, start in zip(images, edges[:-1], strict=True):
            low = max(index[0].start - int(start), 0)
            high = min(index[0].stop - int(start), image.shape[0])
            if low < high:
                parts.append(image.fetch((slice(low, high), *index[1:])).astype(dtype, copy=False))
        return np.concatenate(parts)

    axes = "C" + first.axes.removeprefix("C")
    return replace(
        first, shape=(int(edges[-1]), *first.shape[1:]), dtype=dtype, axes=axes, source=source,
        name=name, fetch=fetch, whole=any(image.whole for image in images), meta=meta,
    )  # fmt: skip


def _part_names(source: str) -> list[str]:
    """The differing parts of the file names; empty if these are numbers and not names."""
    found = _BRACES.fullmatch(source)
    parts = [part.strip("_-. ") for part in found["parts"].split(",")] if found else []
    named = all(part and not part.isdecimal() and "/" not in part for part in parts)
    return parts if named and len(set(parts)) == len(parts) else []


def _meta_of_all(images: Sequence[Image], source: str) -> dict[str, Any]:
    """What the first image knows, with the channel names and files of all.

    Raises:
        DataError: the files are one image already.
    """
    meta = {key: value for key, value in images[0].meta.items() if key != "channels"}
    files = [path for image in images for path in image.meta.get("files", (image.source,))]
    in_sets = [path for image in images for path in image.meta.get("files", ())]
    if len(set(in_sets)) < len(in_sets):
        raise DataError(
            message(
                source,
                expected="files that are one channel or group of channels each",
                found="files of one OME-TIFF set, each of which stands for the whole set",
                do=f"Give one of them, for example {images[0].source}.",
            )
        )
    names = [image.meta.get("channels", ("",) * image.shape[0]) for image in images]
    parts = _part_names(source)
    if len(parts) == sum(map(len, names)) and not all(map(all, names)):
        names = [(part,) for part in parts]
    if any(map(any, names)):
        meta["channels"] = tuple(name for each in names for name in each)
    if in_sets:
        meta["files"] = tuple(files)
    return meta
