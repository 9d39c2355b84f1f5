"""Images in which nothing was found, or whose objects are unlike those of the others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

# Images are compared with each other from this number on.
_COMPARED = 4
# An image is unlike the others if its count or its median size differs by this factor.
_MANY, _UNLIKE = 4.0, 3.0


def find_suspicious(results: Sequence[Mapping[str, Any]]) -> list[str]:
    """A remark for each image that is unlike the others, "" for all others.

    Args:
        results: ``objects`` and ``median_size`` of each image, as far as they are known.

    Examples:
        >>> find_suspicious([{"objects": 0}, {"objects": 12}])
        ['nothing found', '']
    """
    counts = [each["objects"] for each in results if each.get("objects")]
    sizes = [each["median_size"] for each in results if "median_size" in each]
    usual = float(np.median(counts)) if len(counts) >= _COMPARED else None
    size = float(np.median(sizes)) if len(sizes) >= _COMPARED else None
    return [", ".join(_remarks(each, usual, size)) for each in results]


def _remarks(result: Mapping[str, Any], usual: float | None, size: float | None) -> list[str]:
    count = result.get("objects", result.get("classes"))
    if count == 0:
        return ["nothing found"]
    found: list[str] = []
    if usual is not None and "objects" in result:
        if result["objects"] > _MANY * usual:
            found.append(f"very many objects (usually {usual:.0f})")
        elif result["objects"] < usual / _MANY:
            found.append(f"very few objects (usually {usual:.0f})")
    if size is not None and "median_size" in result:
        ratio = result["median_size"] / size
        if not 1 / _UNLIKE <= ratio <= _UNLIKE:
            found.append(f"objects {'larger' if ratio > 1 else 'smaller'} than usual")
    return found
