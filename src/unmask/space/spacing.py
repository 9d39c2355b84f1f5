"""Voxel sizes."""

from __future__ import annotations

from collections.abc import Sequence

from unmask.errors import DataError


def check_spacing(
    spacing: Sequence[float] | None, ndim: int, *, source: str
) -> tuple[float, ...] | None:
    """Spacing as a tuple of ``ndim`` positive numbers, slow axis first; None stays None.

    Raises:
        DataError: another number of axes, or a size that is not positive.
    """
    if spacing is None:
        return None
    sizes = tuple(float(size) for size in spacing)
    if len(sizes) != ndim or any(not size > 0 for size in sizes):
        raise DataError(
            f"{source}: expected {ndim} positive voxel sizes (slow axis first), found {sizes}. "
            "Give one for each spatial axis."
        )
    return sizes
