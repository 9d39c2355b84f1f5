"""Which image of a TIFF is meant: ``file.tif:1`` is the second one.

A file may hold several images (positions, scenes) and pictures that only belong to one: coarser
levels, thumbnails, the label of a slide. The latter are left out; of several images the user
chooses one.
"""

from __future__ import annotations

import re
from typing import Any

import tifffile

from unmask.errors import DataError, message
from unmask.io.contract import Location

# How scanners name what is not the specimen ("label image", "Macro", "slide 3 - thumbnail").
_BESIDE = re.compile(
    r"(^|.*[\W_])(label|macro|thumb(nail)?|overview|preview|barcode|slide ?map)( ?image)?[\W_\d]*",
    re.IGNORECASE,
)
_REDUCED, _MASK = 1, 4
_SHOWN = 10


def choose_series(location: Location, file: tifffile.TiffFile) -> int:
    """Number of the image that is meant.

    Raises:
        DataError: there is none, there is no such one, or there are several to choose from.
    """
    series = file.series
    if not series:
        raise DataError(
            message(location.source, expected="an image", found="no pages", do="Export it again.")
        )
    if location.key:
        number = int(location.key)
        if number >= len(series):
            raise DataError(
                message(
                    location.source,
                    expected=f"a number from 0 to {len(series) - 1} after the colon",
                    found=f"{number}; the images are {_listed(series)}",
                    do="Choose one of these.",
                )
            )
        return number
    images = [number for number, one in enumerate(series) if not _is_secondary(one)] or [0]
    several = len(images) > 1
    if not several and not _may_be_images(series[images[0]].levels):
        return images[0]
    listed = _listed(series) if several else _listed(series[images[0]].levels)
    raise DataError(
        message(
            location.source,
            expected="one image in the file",
            found=f"{len(series) if several else len(series[images[0]].levels)}: {listed}",
            do=f"Choose one by its number, for example {location.source}:{images[0]}, or save each "
            "as a file.",
        )
    )


def _may_be_images(levels: list[Any]) -> bool:
    """Whether the coarser levels of an image may be other images instead.

    The library takes pages of half the size for a coarser level. Without a word in the file that
    they are, one such page is no proof.
    """
    coarser = [one.keyframe for one in levels[1:]]
    stated = any(
        page.is_subifd or int(page.subfiletype or 0) & _REDUCED or page.is_tiled for page in coarser
    )
    return len(coarser) == 1 and not stated and levels[0].kind in ("generic", "uniform")


def _is_secondary(series: Any) -> bool:
    """Whether a series is a picture that belongs to another one."""
    kinds = int(getattr(series.keyframe, "subfiletype", 0) or 0)
    name = _BESIDE.fullmatch(series.name or "")
    return bool(kinds & (_REDUCED | _MASK)) or name is not None


def _listed(series: list[Any]) -> str:
    names = [
        f":{number}{f' {one.name!r}' if one.name else ''} {tuple(one.shape)}"
        for number, one in enumerate(series[:_SHOWN])
    ]
    rest = f" and {len(series) - _SHOWN} more" if len(series) > _SHOWN else ""
    return ", ".join(names) + rest
