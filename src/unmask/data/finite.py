"""Refuse what no statistic and no network can take: NaN and infinity, by their place."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from unmask.errors import DataError, message
from unmask.space.axes import describe_position
from unmask.wording import format_count


def check_finite(
    array: np.ndarray,
    source: str,
    *,
    corner: Sequence[int] | None = None,
    selected: Sequence[int] | None = None,
) -> None:
    """Refuse NaN and infinity, naming the file and the first place.

    Args:
        array: ``(C, *space)``, an image or a part of one.
        source: the file's name.
        corner: index of the part's first value in the image.
        selected: numbers of the image's channels in the file; None: it has all of them.

    Raises:
        DataError: with the place in the whole image.
    """
    # The sum is cheap and not finite where a value is not; finite values may overflow it, too.
    if array.dtype.kind != "f":
        return
    with np.errstate(over="ignore", invalid="ignore"):
        if np.isfinite(array.sum()):
            return
    bad = np.argwhere(~np.isfinite(array))
    if len(bad):
        first = [int(i) for i in bad[0] + (0 if corner is None else np.asarray(corner))]
        channel = first[0] if selected is None else selected[first[0]]
        raise DataError(
            message(
                source,
                expected="finite values",
                found=f"{format_count(len(bad), 'NaN or infinite value')}, the first in channel "
                f"{channel} at {describe_position(first[1:])}",
                do="Repair the file, for example replace them by the image's median, or remove it.",
            )
        )
