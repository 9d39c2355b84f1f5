"""Images and labels that were given in place of each other, and errors that say so.

Labels that are pictures with colors or fractions cannot be read as labels, so reading ends before
`unmask.data.checks.check_content` compares their pixels.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import contextmanager

from unmask.data.drawn import DrawnLabels, label_files
from unmask.data.pairing import Pair, Paths, image_files
from unmask.data.portions import middle_box, unreadable
from unmask.errors import DataError, message, raise_problems
from unmask.io import open_image, open_labels
from unmask.io.inputs import Input
from unmask.io.pictures import looks_like_labels

# Files of each side that are looked at.
_LOOKED = 4


@contextmanager
def explain_unreadable(
    images: Paths, labels: Paths | None, pairs: Sequence[Pair] = ()
) -> Generator[None]:
    """Say of an error of a file in the ``with`` block what is wrong with all files together.

    Args:
        images: images that were given.
        labels: labels that were given.
        pairs: the opened files; if several of them cannot be read, the error names all.

    Raises:
        DataError: the error, or one about all files.
    """
    try:
        yield
    except DataError as error:
        if text := describe_exchange(images, labels):
            raise DataError(text) from error
        files = (file for pair in pairs for file in (pair.image, pair.labels) if file is not None)
        problems = list(filter(None, map(unreadable, files)))
        raise_problems(problems if len(problems) > 1 and str(error) in problems else [])
        raise


def describe_exchange(images: Paths, labels: Paths | None) -> str:
    """The message if labels are unreadable pictures and images look like labels; else ""."""
    try:
        first = [path for _, path in image_files(images, [])]
        second = [] if labels is None else [path for _, path in label_files(labels)]
    except DataError:
        return ""
    pictures = [path for path in second[:_LOOKED] if not isinstance(path, DrawnLabels)]
    if not pictures or not all(map(_is_unreadable_picture, pictures)):
        return ""
    if not all(map(_holds_labels, first[:_LOOKED])):
        return ""
    return exchange_message(str(pictures[0]), len(second))


def exchange_message(source: str, count: int) -> str:
    """What to do about ``count`` label files that are pictures, such as ``source``."""
    return message(
        f"{source} and {count - 1} more" if count > 1 else source,
        expected="labels: areas of one number each",
        found="what looks like pictures, and images that look like labels",
        do="Exchange --images and --labels.",
    )


def _holds_labels(path: Input) -> bool:
    try:
        labels = open_labels(path)
        return looks_like_labels(labels.read(middle_box(labels))[0])
    except (DataError, ImportError):
        return False


def _is_unreadable_picture(path: Input) -> bool:
    try:
        image = open_image(path)
        image.read(middle_box(image))
        return bool(unreadable(open_labels(path)))
    except (DataError, ImportError):
        return False
