"""Axis names: which axes of a file are space, which are channels.

Spatial axes are ``z y x`` (any number of them, slow to fast), ``c`` is channel, ``t`` is time.
"""

from __future__ import annotations

from collections.abc import Sequence

from unmask.errors import DataError

SPACE = "ZYX"


def describe_position(index: Sequence[int]) -> str:
    """An index along the spatial axes, for people; axes in front of space are time.

    Examples:
        >>> describe_position((3, 0)), describe_position((2, 7, 3, 0))
        ('y 3, x 0', 't 2, z 7, y 3, x 0')
    """
    names = SPACE.lower().rjust(len(index), "t")[-len(index) :]
    return ", ".join(f"{name} {n}" for name, n in zip(names, index, strict=True))


def parse(axes: str, *, ndim: int | None = None) -> str:
    """Upper-case axis string, checked.

    Args:
        axes: letters out of ``T C Z Y X`` (``S`` for RGB samples), any order, no repeats.
        ndim: number of axes the array has, where known.

    Raises:
        DataError: an unknown or repeated letter, or another number of axes.
    """
    clean = axes.upper()
    unknown = sorted(set(clean) - set("TCZYXS"))
    if unknown or len(set(clean)) != len(clean):
        raise DataError(
            f"axes={axes!r}: expected different letters out of T, C, Z, Y, X, found "
            f"{unknown or 'a repeated letter'}. Write for example axes=ZYX or axes=YXC."
        )
    if ndim is not None and len(clean) != ndim:
        raise DataError(
            f"axes={axes!r}: names {len(clean)} axes, but the array has {ndim}. "
            "Give one letter for each axis."
        )
    return clean


def spatial(axes: str) -> str:
    """The spatial letters of ``axes`` in canonical order.

    Examples:
        >>> spatial("YXC")
        'YX'
    """
    return "".join(letter for letter in SPACE if letter in axes)
