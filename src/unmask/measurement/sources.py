"""Label images and their images, from paths and arrays: opened, paired and divided into planes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from unmask.errors import DataError, gather, message
from unmask.io import Image, open_image, open_labels
from unmask.io.paths import named_files, stem
from unmask.measurement.outlined import colored_labels, drawn_labels, outline_files
from unmask.space.axes import SPACE

Given = str | Path | np.ndarray | Image
Several = Given | Sequence[str | Path]
# Orders in which a stack with channels may be stored; Z stands for the axis that is divided.
_STACKS = ("ZYX", "ZCYX", "CZYX", "ZYXC")


@dataclass(frozen=True)
class Source:
    """A label image and its image, if there is one; nothing is read yet."""

    name: str
    labels: Image
    image: Image | None = None


def open_sources(
    labels: Several,
    images: Several | None,
    *,
    planes: str | None,
    say: Callable[[str], None],
) -> list[Source]:
    """Open and pair label images and images.

    Args:
        labels: paths (files, folders, globs), outlines, an array ``(*space)`` or an opened label
            image.
        images: the same; arrays ``(*space)``, ``(C, *space)`` or ``(*space, C)``.
        planes: "z" or "t": the first axis of space is that one, and is divided later.
        say: gets a line on what is doubtful in outlines.

    Raises:
        DataError: files that do not pair, cannot be read or differ in shape; all at once.
    """
    if planes not in (None, "z", "t"):
        raise DataError(
            message("planes", expected="z or t", found=repr(planes), do="Leave it out for volumes.")
        )
    problems: list[str] = []
    sources: list[Source] = []
    for name, label, image in _paired(labels, images, problems):
        try:
            sources.append(_open(name, label, image, planes, say))
        except DataError as error:
            problems.append(str(error))
    if problems:
        raise DataError(gather(problems, heading=f"{len(problems)} problem(s) found:"))
    return sources


def as_ids(array: np.ndarray, source: str = "labels") -> np.ndarray:
    """Ids of an array as an unsigned type: bool, integers and whole floats are taken.

    Raises:
        DataError: negative, fractional or undefined ids; names the first one.

    Examples:
        >>> as_ids(np.array([0.0, 3.0])).dtype
        dtype('uint64')
    """
    kind, size = array.dtype.kind, array.dtype.itemsize
    if kind == "u":
        return array
    if kind == "b":
        return array.astype(np.uint8)
    if kind not in "if":
        raise DataError(
            message(
                source, expected="whole numbers", found=f"{array.dtype}", do="Give integer ids."
            )
        )
    wrong = ~((array >= 0) & (array < 2.0 ** (8 * max(size, 4))) & (array == np.floor(array)))
    if wrong.any():
        raise DataError(
            message(
                source,
                expected="ids: whole numbers from 0",
                found=f"{array[wrong][0]} ({int(wrong.sum())} such voxels)",
                do="Give labels as unsigned integers, with 0 for background.",
            )
        )
    return array.astype(f"u{size}" if kind == "i" else np.uint64 if size == 8 else np.uint32)


def plane(image: Image, position: int) -> Image:
    """One position on the first axis of space, as an image with one axis less."""

    def fetch(index: tuple[slice, ...]) -> np.ndarray:
        return image.fetch((index[0], slice(position, position + 1), *index[1:]))[:, 0]

    return replace(
        image,
        shape=(image.shape[0], *image.shape[2:]),
        axes="C" + image.axes.removeprefix("C")[1:],
        spacing=image.spacing[1:] if image.spacing else None,
        fetch=fetch,
    )


def _paired(
    labels: Several, images: Several | None, problems: list[str]
) -> list[tuple[str, Given, Given | None]]:
    """Names with labels and images; a path for what is a file."""
    if isinstance(labels, (np.ndarray, Image)):
        if images is not None and isinstance(images, Sequence) and not isinstance(images, str):
            images = images[0] if len(images) == 1 else None
            if images is None:
                raise DataError(
                    message("images", expected="one image for one label array",
                         found="several", do="Give the image of these labels.")
                )  # fmt: skip
        known = isinstance(images, (str, Path))
        name = stem(images) if known else labels.name if isinstance(labels, Image) else "array"
        return [(name, labels, images)]
    drawn = outline_files(labels)
    by_name = drawn or _by_name(labels, problems, labels=True)
    if images is None:
        return [(name, path, None) for name, path in by_name.items()]
    if isinstance(images, (np.ndarray, Image)):
        if len(by_name) != 1:
            raise DataError(
                message("images", expected=f"a path for {len(by_name)} label files",
                     found="one array", do="Give a folder of images.")
            )  # fmt: skip
        return [(name, path, images) for name, path in by_name.items()]
    others = _by_name(images, problems)
    if len(drawn) == 1 and len(others) > 1:
        # One file for all images, as COCO has it.
        (path,) = drawn.values()
        return [(name, path, other) for name, other in others.items()]
    partners = pair_names(list(by_name), list(others))
    hint = "Pair by equal stems; the labels may carry an ending, as in a_label.tif for a.tif."
    problems += [
        message(path, expected=f"an image named {name!r}", found="none", do=hint)
        for name, path in by_name.items()
        if name not in partners
    ]
    return [(other, by_name[name], others[other]) for name, other in partners.items()]


def pair_names(names: Sequence[str], others: Sequence[str]) -> dict[str, str]:
    """The partner of each name: the same, or the longest one that differs by an ending of either.

    One name and one other always belong together.

    Examples:
        >>> pair_names(["a_label", "b"], ["a", "b_0000", "c"])
        {'a_label': 'a', 'b': 'b_0000'}
    """
    if len(names) == len(others) == 1:
        return {names[0]: others[0]}
    partners: dict[str, str] = {}
    for name in names:
        fitting = [other for other in others if _differ_by_ending(name, other)]
        if fitting:
            # Of a shorter image name the longest, of longer ones the shortest.
            partners[name] = min(fitting, key=lambda other: abs(len(other) - len(name)))
    taken = list(partners.values())
    return {name: other for name, other in partners.items() if taken.count(other) == 1}


def _differ_by_ending(name: str, other: str) -> bool:
    short, long = sorted((name, other), key=len)
    return long.startswith(short) and not long[len(short) : len(short) + 1].isalnum()


def _by_name(
    paths: str | Path | Sequence[str | Path], problems: list[str], *, labels: bool = False
) -> Mapping[str, str]:
    found: dict[str, str] = {}
    for name, path in named_files(paths, labels=labels):
        if name in found:
            problems.append(
                message(path, expected=f"one file named {name!r}", found=f"{found[name]} as well",
                     do="Rename one of them, or give one at a time.")
            )  # fmt: skip
        found[name] = str(path)
    return found


def _open(
    name: str, label: Given, image: Given | None, planes: str | None, say: Callable[[str], None]
) -> Source:
    source = None
    if isinstance(label, (str, Path)):
        source = _drawn(name, str(label), image, planes, say)
    if source is None:
        opened = _open_labels(label, planes)
        source = Source(name, opened, None if image is None else _open_image(image, opened))
    _check_planes(source.labels, planes)
    _check_shapes(source)
    return source


def _drawn(
    name: str, path: str, image: Given | None, planes: str | None, say: Callable[[str], None]
) -> Source | None:
    """The source of outlines or of ids in colors; None for a plain label image."""
    if outline_files(path):
        opened = image
        if isinstance(image, np.ndarray):
            opened = Image.from_array(image, ndim=3 if planes else None, name="images")
        elif isinstance(image, (str, Path)):
            opened = open_image(image, ndim=3 if planes else None)
        return Source(name, drawn_labels(path, opened, name, say), opened)  # pyright: ignore
    labels = None if planes else colored_labels(path, name, say)
    return (
        None
        if labels is None
        else Source(name, labels, None if image is None else _open_image(image, labels))
    )


def _open_labels(label: Given, planes: str | None) -> Image:
    if isinstance(label, Image):
        return label
    if isinstance(label, np.ndarray):
        # Labels have no channels, so every axis is space.
        array = as_ids(label)
        axes = SPACE[-array.ndim :] if 1 < array.ndim <= len(SPACE) else None
        return Image.from_array(array, axes=axes, name="labels")
    return open_labels(label, axes="ZYX" if planes == "t" else None, ndim=3 if planes else None)


def _check_planes(opened: Image, planes: str | None) -> None:
    if planes and opened.ndim < 3:
        raise DataError(
            message(
                opened.source,
                expected=f"a stack to be divided along {planes}",
                found=f"{opened.ndim} axes of shape {opened.shape[1:]}",
                do="Leave out planes.",
            )
        )


def _open_image(image: Given, labels: Image) -> Image:
    """The image of labels; the one order of axes that gives their shape."""
    if isinstance(image, Image):
        return image
    if isinstance(image, np.ndarray):
        # The labels tell apart what the shape alone leaves open, such as (2, 1, 1).
        first = image.ndim == labels.ndim + 1 and image.shape[1:] == labels.shape[1:]
        axes = f"C{labels.axes.removeprefix('C')}" if first else None
        return Image.from_array(image, axes=axes, ndim=labels.ndim, name="images")
    try:
        opened = open_image(image, ndim=labels.ndim)
    except DataError:
        # A movie has a time axis, which has to be named before it can be taken for space.
        for axes in _STACKS:
            try:
                opened = open_image(image, axes=axes)
            except DataError:
                continue
            if opened.shape[1:] == labels.shape[1:]:
                return opened
        raise
    return opened


def _check_shapes(source: Source) -> None:
    image, labels = source.image, source.labels
    if image is not None and image.shape[1:] != labels.shape[1:]:
        raise DataError(
            message(
                labels.source,
                expected=f"the shape of its image {image.source}, {image.shape[1:]}",
                found=f"{labels.shape[1:]}",
                do="Give the labels and the image that they were made from.",
            )
        )
