"""Stacks of planes and movies: images with more axes than a network sees.

Time points are always separated; slices are separated on request, for networks that see planes. A
stack is an `Image` whose axes begin with the divided ones, such as ``CTYX`` or ``CTZYX``;
`plane_of` is the image at one position on these axes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from unmask.errors import DataError, message
from unmask.io.arrays import stored_array
from unmask.io.contract import Stored
from unmask.io.image import Image, arranged_image
from unmask.io.inputs import ArrayInput, Input, one_input
from unmask.io.layout import fit_letters, list_axes, merge_samples
from unmask.io.paths import stem
from unmask.io.reading import as_labels, open_stored
from unmask.space.axes import SPACE, parse

# Axes that can be divided, the slowest first, with their names in messages.
DIVIDED = {"T": "t", "Z": "z"}
# Lengths of a last axis without a name that is read as color channels.
_COLORS = (3, 4)


def open_stack(
    path: Input,
    *,
    ndim: int,
    planes: str | None = None,
    axes: str | None = None,
    allow_external: bool = False,
) -> Image | None:
    """Open a stack or movie that a network of ``ndim`` axes sees position by position.

    Args:
        path: file or array.
        ndim: spatial axes of the network.
        planes: axis that is divided: "z" for slices, "t" for time points; None: time points alone.
        axes: letters of the stored axes; they replace the metadata of the file.
        allow_external: see `open_image`.

    Returns:
        The image with the axes ``C``, the divided ones, then space; None if no axis is divided.

    Raises:
        DataError: the axes of the file do not fit the request.
    """
    given = one_input(path)
    source = str(given)
    if isinstance(given, ArrayInput):
        if isinstance(given.data, Image):
            return None
        stored, name = stored_array(given.data, name=source), source
    else:
        stored, name = open_stored(given, allow_external=allow_external), stem(given)
    letters = _name_axes(source, stored, axes, ndim, planes)
    lead = "".join(letter for letter in DIVIDED if letter in letters)
    lead = lead if ndim == len("YX") else lead.replace("Z", "")
    if not lead or set(letters) - set("-CTZYX"):
        return None
    if missing := set(SPACE[-ndim:]) - set(letters):
        raise DataError(
            message(
                source,
                expected=f"the axes {', '.join(SPACE[-ndim:].lower())} at each point in time",
                found=f"axes {''.join(letters)} of shape {stored.shape}",
                do=f"Use a model for {ndim - len(missing)} spatial axes, or say what the axes are "
                f"(--set data.axes={SPACE[-ndim:]}).",
            )
        )
    found = "C" + lead + SPACE[-ndim:]
    return arranged_image(stored, "".join(letters), found, source=source, name=name)


def open_movie_labels(
    path: Input, *, axes: str | None = None, allow_external: bool = False
) -> Image | None:
    """Open labels with a time axis: of planes, ``CTYX``, or of volumes, ``CTZYX``.

    ``axes`` are the letters of the stored axes; they replace the metadata of the file. None if the
    file is not a movie; it is opened as `open_labels` then.

    Raises:
        DataError: as `open_labels`.
    """
    given = one_input(path)
    if isinstance(given, ArrayInput):
        return None
    stored = open_stored(given, labels=True, allow_external=allow_external)
    named = [letter.upper() for letter in stored.axes]
    if axes is not None:
        named = fit_letters(str(given), stored.shape, parse(axes))
    letters = merge_samples(str(given), stored.shape, named)
    lengths = zip(letters, stored.shape, strict=True)
    letters = ["-" if n == 1 and letter not in "YX" else letter for letter, n in lengths]
    space = "".join(letter for letter in SPACE if letter in letters)
    if "T" not in letters or len(space) < len("YX") or set(letters) - set("-CTZYX"):
        return None
    name = stem(given)
    image = arranged_image(stored, "".join(letters), f"CT{space}", source=str(given), name=name)
    return as_labels(image)


def lead_axes(image: Image, ndim: int) -> str:
    """The divided axes of a stack for a network of ``ndim`` axes; "" for a single image.

    Examples:
        >>> import numpy as np
        >>> lead_axes(Image.from_array(np.zeros((5, 8, 8)), axes="ZYX"), 2)
        'Z'
    """
    return image.axes[1 : len(image.axes) - ndim]


def letters_apart(axes: str, *, join: bool) -> str:
    """The divided axes along which objects are separate, as letters of table columns.

    Args:
        axes: see `lead_axes`.
        join: whether objects are joined over slices.

    Examples:
        >>> letters_apart("TZ", join=True)
        't'
    """
    return axes.replace("Z", "").lower() if join else axes.lower()


def plane_of(image: Image, position: Sequence[int]) -> Image:
    """The image at one position on the divided axes of a stack."""
    count = len(position)
    ndim = image.ndim - count
    names = (DIVIDED[letter] for letter in image.axes[1 : 1 + count])
    where = ", ".join(f"{name} = {at}" for name, at in zip(names, position, strict=True))
    lead = tuple(slice(at, at + 1) for at in position)

    def fetch(index: tuple[slice, ...]):
        part = image.fetch((index[0], *lead, *index[1:]))
        return part.reshape(part.shape[0], *part.shape[1 + count :])

    return replace(
        image,
        shape=(image.shape[0], *image.shape[1 + count :]),
        axes="C" + image.axes[1 + count :],
        source=f"{image.source} ({where})",
        spacing=None if image.spacing is None else image.spacing[-ndim:],
        fetch=fetch,
    )


def _name_axes(
    source: str, stored: Stored, given: str | None, ndim: int, planes: str | None
) -> list[str]:
    """One letter per stored axis, ``-`` for axes of length 1 that are dropped."""
    shape = stored.shape
    letters = list(stored.axes) if given is None else fit_letters(source, shape, parse(given))
    letters = merge_samples(source, shape, [letter.upper() for letter in letters])
    for axis, (letter, length) in enumerate(zip(letters, shape, strict=True)):
        flat = letter == "Z" and ndim == len("YX")
        if length == 1 and (letter in "TC" or flat or (letter == "?" and len(shape) > ndim + 1)):
            letters[axis] = "-"
    if planes is None:
        if ndim == len("YX") and {*DIVIDED} <= {*letters}:
            raise DataError(_both_axes(source, shape, letters))
        # Slices may be meant for a model of volumes; the user has to ask for planes.
        return letters if "T" in letters else []
    letters = _name_unknown(shape, letters, ndim, planes.upper())
    return _choose_lead(source, shape, letters, ndim, planes.upper())


def _name_unknown(shape: Sequence[int], letters: list[str], ndim: int, lead: str) -> list[str]:
    """Name the axes without a name in the file: the divided axis, then space, then color."""
    unknown = [axis for axis, letter in enumerate(letters) if letter == "?"]
    wanted = [lead] if not set(DIVIDED) & set(letters) or ndim == len(SPACE) else []
    wanted += [letter for letter in SPACE[-ndim:] if letter not in letters]
    if len(unknown) == len(wanted) + 1 and "C" not in letters and shape[unknown[-1]] in _COLORS:
        wanted.append("C")
    elif unknown and shape[unknown[-1]] in _COLORS and shape[unknown[0]] > max(_COLORS):
        # A single image in color, next to stacks.
        return letters
    if len(unknown) == len(wanted):
        for axis, letter in zip(unknown, wanted, strict=True):
            letters[axis] = letter
    return letters


def _choose_lead(
    source: str, shape: Sequence[int], letters: list[str], ndim: int, lead: str
) -> list[str]:
    """Rename the divided axis as the user has named it.

    Raises:
        DataError: the network sees whole volumes, or slices remain in addition to time points.
    """
    if ndim == len(SPACE):
        if lead == "Z":
            raise DataError(
                message(
                    source,
                    expected="--planes z with a 2D model",
                    found="a model for volumes, which segments all slices together",
                    do="Leave out --planes.",
                )
            )
        return letters
    there = [letter for letter in DIVIDED if letter in letters]
    if len(there) == 1 and there != [lead]:
        # Programs often save slices as points in time, and the other way around.
        return [lead if letter == there[0] else letter for letter in letters]
    if len(there) == len(DIVIDED) and lead == "T":
        raise DataError(_both_axes(source, shape, letters))
    return letters


def _both_axes(source: str, shape: Sequence[int], letters: Sequence[str]) -> str:
    return message(
        source,
        expected="points in time of one plane each",
        found=f"{list_axes(shape, letters)}, with slices as well",
        do="Give --planes z to segment every slice of every point in time alone, or use a model "
        "for volumes.",
    )
