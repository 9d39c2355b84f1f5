"""Stacks of planes and movies: images with more axes than a network sees.

Time is divided always, and slices where a network sees planes and the caller asks for it. A stack
is an `Image` whose axes begin with those that are divided, such as ``CTYX`` or ``CTZYX``;
`plane_of` is the image at one position on them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from unmask.errors import DataError, message
from unmask.io.arrays import stored_array
from unmask.io.contract import Stored
from unmask.io.image import Image, arranged_image
from unmask.io.inputs import ArrayInput, Input, one_input
from unmask.io.layout import fit_letters, merge_samples
from unmask.io.paths import stem
from unmask.io.reading import open_stored
from unmask.space.axes import SPACE, parse

# Axes that can be divided, the slow one first, with the names of their positions.
DIVIDED = {"T": "t", "Z": "z"}
# Lengths at which a last axis without a name is taken for colors.
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
        planes: "z" or "t": what the axis is that is divided; None: only time is.
        axes: what the stored axes are; wins over the file's own metadata.
        allow_external: see `open_image`.

    Returns:
        The image, its axes ``C``, the divided ones, then space; None if there is nothing to divide.

    Raises:
        DataError: the axes of the file do not fit what was asked for.
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


def lead_axes(image: Image, ndim: int) -> str:
    """The axes of a stack that are divided for a network of ``ndim`` axes; "" if it is none.

    Examples:
        >>> import numpy as np
        >>> lead_axes(Image.from_array(np.zeros((5, 4, 4))), 2)
        'Z'
    """
    return image.axes[1 : len(image.axes) - ndim]


def letters_apart(axes: str, *, join: bool) -> str:
    """The divided axes whose positions hold objects of their own, as letters of table columns.

    Args:
        axes: see `lead_axes`.
        join: objects are joined over slices.

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
    """One letter for each stored axis, ``-`` for axes of length 1 that nobody needs."""
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
    """Name the axes about which the file says nothing: the divided one, then space, then color."""
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
    """The letters with the divided axis called as the user calls it.

    Raises:
        DataError: slices of a volume that the network sees as a whole, or slices left over.
    """
    if ndim == len(SPACE):
        if lead == "Z":
            raise DataError(
                message(
                    source,
                    expected="--planes z with a model for planes",
                    found="a model for volumes, which sees all slices at once",
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
        found=f"axes {''.join(letters)} of shape {tuple(shape)}, with slices as well",
        do="Give --planes z to segment every slice of every point in time alone, or use a model "
        "for volumes.",
    )
