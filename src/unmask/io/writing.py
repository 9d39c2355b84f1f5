"""Save images and label images by path."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from unmask.errors import DataError, message
from unmask.io.contract import Content, Format, Location
from unmask.io.formats import FORMATS
from unmask.io.image import Image, check_dtype
from unmask.io.label_groups import is_in_place, plate_key
from unmask.io.paths import format_of, locate, stem, suffix_of
from unmask.space.axes import SPACE, parse
from unmask.space.spacing import check_spacing


def save_image(
    path: str | Path,
    array: np.ndarray,
    *,
    spacing: Sequence[float] | None = None,
    unit: str | None = None,
    axes: str | None = None,
    like: Image | None = None,
) -> None:
    """Write an image; the format follows from the suffix, an older file stays whole until the end.

    Every format but raw NIfTI and NPY carries checksums, so that a flipped bit is noticed on
    reading.

    Args:
        path: where to; folders are made.
        array: ``(C, *space)`` or ``(*space)``. Without ``axes``, ``like`` or ``spacing`` to tell,
            two or three axes are space and four are ``CZYX``.
        spacing: voxel size, slow axis first; taken from ``like`` where not given.
        unit: of ``spacing``, such as "um".
        axes: what the axes are ("CYX"); wins over all else.
        like: the image this one belongs to: same spacing, unit and (NIfTI) affine.

    Raises:
        DataError: unknown suffix, or an array that the format cannot hold.
        SaveError: the file could not be written.
    """
    source = str(path)
    location = locate(path)
    form = format_of(location)
    if form is None:
        raise DataError(
            message(
                source,
                expected=f"one of the suffixes {' '.join(FORMATS)}",
                found=f"{location.path.suffix!r}",
                do="Choose a name with one of them, for example .tif.",
            )
        )
    array = np.asarray(array)
    check_dtype(source, array.dtype)
    if like is not None and spacing is None:
        spacing, unit = like.spacing, unit or like.unit
    array, letters = _canonical(source, array, _axes(source, array, axes, spacing, like))
    content = Content(
        array=np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("=")),
        axes=letters,
        spacing=check_spacing(spacing, len(letters.strip("C")), source=source),
        unit=unit,
        meta={} if like is None else like.meta,
    )
    _save_of(form, source)(location, content)


def save_labels(
    path: str | Path,
    labels: np.ndarray,
    *,
    like: Image,
    name: str = "labels",
    provenance: Callable[[], Mapping[str, Any]] | None = None,
) -> None:
    """Write the labels of an image; the format follows from the suffix.

    OME-Zarr gets a group ``labels/<name>`` with coarser levels; see `unmask.io.label_store`.

    Args:
        path: output file, or ``store.zarr/labels/<name>`` for labels in the store of their image.
        labels: ``(*space)`` of an unsigned integer type.
        like: the image of the labels.
        name: name of the label image inside an OME-Zarr.
        provenance: returns JSON values that an OME-Zarr stores as the attribute ``unmask``.

    Raises:
        DataError: unknown suffix, or an array that the format cannot hold.
        SaveError: the file could not be written.
    """
    if suffix_of(locate(path)) != ".zarr" and not is_in_place(Path(path)):
        save_image(path, labels, like=like)
        return
    # Zarr takes 0.3 s to import, which other formats must not pay for.
    from unmask.io.label_store import LabelSpec, largest_label, save_label_store

    axes = _axes(str(path), labels, None, None, like).replace("C", "")
    largest = largest_label(labels)
    kept = {} if provenance is None else provenance()
    spec = LabelSpec(name, labels.shape, labels.dtype, largest, axes, like, kept)
    save_label_store(Path(path), spec, labels)


def _save_of(form: Format, source: str) -> Callable[[Location, Content], None]:
    if form.save is None:
        raise DataError(
            message(
                source,
                expected="a format that can be written",
                found=f"{form.name}, which is only read",
                do=f"Choose another suffix, for example {form.family}.",
            )
        )
    return form.save


def smallest_uint(labels: np.ndarray) -> np.ndarray:
    """Labels in the smallest unsigned type that holds them; the same array where it is that.

    Raises:
        DataError: a negative id.

    Examples:
        >>> smallest_uint(np.array([0, 256])).dtype
        dtype('uint16')
    """
    if labels.dtype == bool or labels.size == 0:
        return labels.astype(np.uint8)
    low, high = int(labels.min()), int(labels.max())
    if low < 0 or labels.dtype.kind not in "ui":
        raise DataError(
            message(
                "labels",
                expected="integer ids from 0",
                found=f"{labels.dtype} from {low} to {high}",
                do="Give unsigned integers.",
            )
        )
    return labels.astype(np.min_scalar_type(high), copy=False)


def output_name(image: Image, folder: str | Path, ending: str | None = None) -> Path:
    """Where a prediction for ``image`` goes: same stem, same format family.

    TIFF, OME-Zarr, NIfTI and HDF5 stay; PNG, JPEG, BMP, NPY and arrays give ``.tif``. Fields of a
    plate go to their place in a plate of results, ``plate.ome.zarr/A/1/0``.

    Args:
        image: the input.
        folder: of the outputs.
        ending: what follows the stem instead, such as ``_label.tiff``; its suffix is the format.
    """
    location = locate(image.source)
    form = format_of(location)
    if form is not None and form.folder and (key := plate_key(location)):
        return Path(folder) / f"{stem(location.path)}{form.family}" / key
    if ending is not None:
        return Path(folder) / f"{image.name}{ending}"
    return Path(folder) / f"{image.name}{'.tif' if form is None else form.family}"


def _axes(
    source: str,
    array: np.ndarray,
    axes: str | None,
    spacing: Sequence[float] | None,
    like: Image | None,
) -> str:
    if axes is not None:
        return parse(axes, ndim=array.ndim).replace("S", "C")
    if like is not None:
        ndim = like.ndim
    elif spacing is not None:
        ndim = len(spacing)
    else:
        ndim = min(array.ndim, 3)
    if array.ndim not in (ndim, ndim + 1) or ndim not in (2, 3):
        raise DataError(
            message(
                source,
                expected=f"{ndim} spatial axes (2 or 3), or one more for channels",
                found=f"an array of shape {array.shape}",
                do="Give axes=, for example axes='CYX'.",
            )
        )
    return "C" * (array.ndim - ndim) + SPACE[-ndim:]


def _canonical(source: str, array: np.ndarray, letters: str) -> tuple[np.ndarray, str]:
    """Axes in the order C Z Y X, without a single channel."""
    order = [letters.index(letter) for letter in "CZYX" if letter in letters]
    if len(order) != len(letters) or not letters.replace("C", "").endswith(("YX", "XY")):
        raise DataError(
            message(source, expected="axes C, Z, Y, X", found=letters, do="Leave out other axes.")
        )
    array, letters = array.transpose(order), "".join(a for a in "CZYX" if a in letters)
    if letters.startswith("C") and array.shape[0] == 1:
        return array[0], letters[1:]
    return array, letters
