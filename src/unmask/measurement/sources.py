"""Label images and their images, from paths and arrays: opened, paired and divided into planes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from unmask.data.drawn import DrawnLabels, label_files
from unmask.data.naming import files_by_name
from unmask.data.pairing import Layout, match_files
from unmask.data.portions import middle_box
from unmask.errors import DataError, group_problems, message, raise_problems
from unmask.io import Image, open_image, open_labels
from unmask.io.inputs import ArrayInput
from unmask.io.paths import stem
from unmask.io.pictures import looks_like_picture
from unmask.io.remote import is_remote
from unmask.io.stacks import open_movie_labels, open_stack
from unmask.measurement.outlined import colored_labels
from unmask.space.axes import SPACE
from unmask.wording import format_count, format_number

Given = str | Path | np.ndarray | Image | ArrayInput
Several = Given | Sequence[str | Path]
Labels = Given | DrawnLabels
# Label images that are checked for being pictures, and side of the part that is looked at.
_LOOKED, _SIDE = 8, 256
# Orders in which a stack with channels may be stored; Z stands for the axis that is divided.
_STACKS = ("ZYX", "ZCYX", "CZYX", "ZYXC")


@dataclass(frozen=True)
class SourceFiles:
    """The files of a source; call it to open them again, in another process as well.

    Attributes:
        name: of the source.
        labels: path of the label image, or its outlines.
        image: path of the image, if there is one.
        planes: as for `open_sources`.
    """

    name: str
    labels: str | DrawnLabels
    image: str | None
    planes: str | None

    def __call__(self) -> Source:
        """The source.

        Raises:
            DataError: files that cannot be read.
        """
        return _open(self.name, self.labels, self.image, self.planes, _ignore)


@dataclass(frozen=True)
class Source:
    """A label image and its image, if there is one; nothing is read yet.

    Attributes:
        name: of the image, or of the labels.
        labels: the label image.
        image: its image; None: no intensities.
        files: where they come from; None: something is in memory.
    """

    name: str
    labels: Image
    image: Image | None = None
    files: SourceFiles | None = None


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
        planes: "z" or "t": the first axis of space is that one, and is divided later. Movies keep
            their time axis (``CTYX``, ``CTZYX``) in any case.
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
    doubts: list[str] = []
    for name, label, image in _paired(labels, images, problems, say):
        try:
            source = _open(name, label, image, planes, say)
            source = replace(source, files=_files_of(name, label, image, planes))
            if isinstance(label, str) and len(sources) < _LOOKED:
                for note in _picture_notes(source.labels):
                    say(note)
            doubts += source.labels.meta.get("doubts", ())
            sources.append(source)
        except DataError as error:
            problems.append(str(error))
    raise_problems(problems)
    for doubt in group_problems(doubts):
        say(doubt)
    return sources


def _files_of(
    name: str, label: Labels, image: Given | None, planes: str | None
) -> SourceFiles | None:
    """The files of a source, by paths that do not depend on the working folder."""
    if isinstance(label, DrawnLabels):
        known: str | DrawnLabels = replace(label, path=_absolute(label.path))
    elif isinstance(label, str | Path):
        known = _absolute(label)
    else:
        return None
    if image is not None and not isinstance(image, str | Path):
        return None
    return SourceFiles(name, known, None if image is None else _absolute(image), planes)


def _absolute(path: str | Path) -> str:
    return str(path) if is_remote(str(path)) else str(Path(path).absolute())


def _ignore(_: str) -> None:
    """Say nothing: what is doubtful was said when the files were opened first."""


def _picture_notes(labels: Image) -> list[str]:
    """A note if ids look like the gray values of a picture, by a part of the image.

    Raises:
        DataError: it cannot be read.
    """
    part = labels.read(middle_box(labels, _SIDE**2))[0]
    plane = part.reshape(-1, *part.shape[-2:])[len(part) // 2 if part.ndim > 2 else 0]
    middles = (n // 2 for n in plane.shape)
    window = tuple(slice(max(0, m - _SIDE // 2), m + _SIDE // 2) for m in middles)
    if not looks_like_picture(plane[window]):
        return []
    return [
        f"{labels.source}: its values change from pixel to pixel, as in a picture, and every value "
        "counts as one object. Give label images as --labels, and pictures as --images."
    ]


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
                found=f"{format_number(float(array[wrong][0]))} "
                f"({format_count(int(wrong.sum()), 'such voxel')})",
                do="Give labels as unsigned integers, with 0 for background.",
            )
        )
    return array.astype(f"u{size}" if kind == "i" else np.uint64 if size == 8 else np.uint32)


def _paired(
    labels: Several, images: Several | None, problems: list[str], say: Callable[[str], None]
) -> list[tuple[str, Labels, Given | None]]:
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
    if images is None:
        by_name = files_by_name(label_files(labels), "", problems)
        return [(name, path, None) for name, path in by_name.items()]
    if isinstance(images, (np.ndarray, Image)):
        by_name = files_by_name(label_files(labels), "", problems)
        if len(by_name) != 1:
            raise DataError(
                message("images", expected=f"a path for {len(by_name)} label files",
                     found="one array", do="Give a folder of images.")
            )  # fmt: skip
        return [(name, path, images) for name, path in by_name.items()]
    notes: list[str] = []
    matched = match_files(images, labels, Layout(0, settable=False), problems, notes=notes)
    for note in notes:
        say(note)
    return [(name, path, image) for name, image, path in matched if path is not None]


def _open(
    name: str, label: Labels, image: Given | None, planes: str | None, say: Callable[[str], None]
) -> Source:
    if isinstance(label, DrawnLabels):
        source = _drawn(label, image, planes, say)
    else:
        colors = colored_labels(label, name, say) if isinstance(label, str) and not planes else None
        opened = colors or _open_labels(label, planes)
        source = Source(name, opened, None if image is None else _open_image(image, opened))
    _check_planes(source.labels, planes)
    _check_shapes(source)
    return source


def _drawn(
    label: DrawnLabels, image: Given | None, planes: str | None, say: Callable[[str], None]
) -> Source:
    """The source of outlines, in the shape of their image."""
    opened = None if image is None else open_image(image, ndim=3 if planes else None)
    notes: list[str] = []
    source = Source(label.image, label.labels(opened, notes), opened)
    for note in notes:
        say(note)
    return source


def _open_labels(label: Given, planes: str | None) -> Image:
    if isinstance(label, Image):
        return label
    if isinstance(label, np.ndarray):
        # Labels have no channels, so every axis is space.
        array = as_ids(label)
        axes = SPACE[-array.ndim :] if 1 < array.ndim <= len(SPACE) else None
        return Image.from_array(array, axes=axes, name="labels")
    if (movie := open_movie_labels(label)) is not None and (movie.ndim > len(SPACE) or not planes):
        return movie
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
    if "T" in labels.axes:
        stack = open_stack(image, ndim=labels.ndim - 1, planes="t")
        if stack is not None:
            return stack
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
