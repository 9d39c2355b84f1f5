"""Compiled kernels, kept on disk where there is a place for them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba


def njit(
    *, cache: bool, nogil: bool, fastmath: bool | set[str] = False
) -> Callable[[Callable[..., Any]], Any]:
    """``numba.njit``, without the cache where neither the package's folder nor HOME can be written.

    numba itself gives up with an error there, which would end every import on a read-only system;
    without the cache the kernels are compiled anew by each process.
    """

    def compiled(function: Callable[..., Any]) -> Any:
        try:
            return numba.njit(cache=cache, nogil=nogil, fastmath=fastmath)(function)
        except RuntimeError as error:
            if "no locator available" not in str(error):
                raise
            return numba.njit(nogil=nogil, fastmath=fastmath)(function)

    return compiled
