"""Open what napari lacks: NIfTI, HDF5, DICOM, OME-Zarr and the other formats of ``unmask.io``."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from unmask.errors import UnmaskError
from unmask.io import Image, open_image, open_labels
from unmask.io.formats import match_suffix
from unmask.io.label_groups import is_in_place

Layers = list[tuple[Any, dict[str, Any], str]]
# Images up to this size are read at once; larger ones when their voxels are shown.
_AT_ONCE = 1 << 28
_LABELS = ("label", "labels", "mask", "masks", "seg")
_KEY = "unmask"


def get_reader(path: str | Sequence[str]) -> Callable[[Any], Layers] | None:
    """The reader of a path; None if no format of unmask has its suffix."""
    paths = [path] if isinstance(path, str) else list(path)
    known = all(match_suffix(_plain(each)) is not None or _is_series(each) for each in paths)
    return read if known else None


def read(path: str | Sequence[str]) -> Layers:
    """Layers of one path or several, with scale, units and names of channels.

    Raises:
        DataError: a file cannot be read; the message names it.
    """
    paths = [path] if isinstance(path, str) else list(path)
    return [layer for each in paths for layer in _layers(each)]


def _layers(path: str) -> Layers:
    if is_in_place(Path(path)) or _is_named_as_labels(path):
        return [_labels_layer(open_labels(path), path)]
    image = open_image(path)
    layers: Layers = [_image_layer(image)]
    groups = Path(path) / "labels"
    if groups.is_dir():
        inside = sorted(each for each in groups.iterdir() if each.is_dir())
        for each in inside:
            try:
                layers.append(_labels_layer(open_labels(each, ndim=image.ndim), str(each)))
            except UnmaskError as error:
                # A group that another program left half written must not hide the image.
                warnings.warn(f"{error} The image is opened without them.", stacklevel=2)
    return layers


def _image_layer(image: Image) -> tuple[Any, dict[str, Any], str]:
    facts = _facts(image, image.source)
    if image.shape[0] == 1:
        return _values(image)[0], {**facts, "name": image.name}, "image"
    if image.shape[0] in (3, 4) and image.dtype == np.uint8 and not image.meta.get("channels"):
        colors = np.moveaxis(np.asarray(_values(image)), 0, -1)
        return colors, {**facts, "name": image.name, "rgb": True}, "image"
    names = list(image.meta.get("channels", ())) or list(map(str, range(image.shape[0])))
    shown = [f"{image.name} {name}" for name in names]
    return _values(image), {**facts, "name": shown, "channel_axis": 0}, "image"


def _labels_layer(labels: Image, path: str) -> tuple[Any, dict[str, Any], str]:
    data = labels.read()[0]
    signed = data.astype(np.uint32) if data.itemsize < 4 else data
    return signed, {**_facts(labels, path), "name": labels.name}, "labels"


def _facts(image: Image, path: str) -> dict[str, Any]:
    lead = image.ndim - len(image.spacing or ())
    facts: dict[str, Any] = {"metadata": {_KEY: {"path": path}}}
    if image.spacing is not None:
        facts["scale"] = (*(1.0 for _ in range(lead)), *image.spacing)
        facts["units"] = (
            *("pixel" for _ in range(lead)),
            *(image.unit or "pixel" for _ in image.spacing),
        )
    return facts


def _values(image: Image) -> Any:
    """The voxels ``(C, *space)``; those of a large image when they are shown."""
    if prod(image.shape) * image.dtype.itemsize <= _AT_ONCE or image.whole:
        return image.read()
    import dask.array as da

    return da.from_array(_Lazy(image), chunks="auto", asarray=False, name=False)


class _Lazy:
    """An image as dask expects an array: ``ndim`` counts channels too."""

    def __init__(self, image: Image) -> None:
        self._image = image
        self.shape, self.dtype, self.ndim = image.shape, image.dtype, len(image.shape)

    def __getitem__(self, index: Any) -> np.ndarray:
        return self._image[index]


def _plain(path: str) -> str:
    """The path without a trailing separator and without the key of an HDF5 file."""
    name = path.rstrip("/\\")
    head, _, key = name.rpartition(":")
    return head if head and match_suffix(head) and "/" not in key.strip("/") else name


def _is_series(path: str) -> bool:
    """Whether a folder holds DICOM slices."""
    folder = Path(path)
    return folder.is_dir() and any(
        each.suffix.lower() in (".dcm", ".dicom", ".ima") for each in folder.iterdir()
    )


def _is_named_as_labels(path: str) -> bool:
    """Whether the name of a file, or of its folder, says that it holds labels."""
    place = Path(path)
    word = place.name.split(".")[0].lower().replace("-", "_").rpartition("_")[2]
    return word in _LABELS or place.parent.name.lower() in _LABELS
