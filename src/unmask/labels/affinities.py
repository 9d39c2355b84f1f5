"""From affinities to objects: one entry for every decoder, n axes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unmask.labels.edges import Offsets
from unmask.labels.mutex import mutex_watershed
from unmask.lookup import Choice, build

METHODS: dict[str, Callable[..., NDArray[np.int32]]] = {"mutex": mutex_watershed}


def segment(
    affinities: np.ndarray,
    offsets: Offsets,
    *,
    method: str = "mutex",
    foreground: np.ndarray | None = None,
    **options: Any,
) -> NDArray[np.int32]:
    """Label image of affinities.

    Args:
        affinities: ``(k, *space)`` float32 in [0, 1]: how likely a voxel and its neighbour at the
            channel's offset belong to one object.
        offsets: one for each channel, in voxels, slow axis first.
        method: a key of ``METHODS``.
        foreground: ``(*space)`` booleans: where objects may be; None: everywhere.
        options: keyword arguments of the method.

    Returns:
        ``(*space)`` int32: objects from 1, background 0.

    Raises:
        DataError: input that is not as said.
        RecipeError: an unknown method or option.
    """
    given = {"affinities": affinities, "offsets": offsets, "foreground": foreground}
    return build(Choice(method, options), METHODS, "decoding", **given)
