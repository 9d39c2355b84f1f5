"""``select``: which images to label first, or next."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from unmask.api.values import Settings
from unmask.data.pairing import Layout, match_files
from unmask.data.pairs import Paths
from unmask.errors import DataError, gather, message
from unmask.io import open_image
from unmask.io.inputs import Input
from unmask.recipe import load
from unmask.selection.choose import choose
from unmask.selection.descriptors import describe


@dataclass(frozen=True)
class Selected:
    """An image to label.

    Attributes:
        name: of the image.
        source: its file.
        like: images that look like it, itself included.
    """

    name: str
    source: str
    like: int


def select(
    images: Paths,
    *,
    count: int,
    labels: Paths | None = None,
    seed: int = 0,
    settings: Settings = (),
) -> list[Selected]:
    """Choose the images whose labels help most: typical ones of different kinds.

    Args:
        images: file, folder, glob or OME-Zarr, or several of them.
        count: images to choose.
        labels: labels that exist already; their images are not chosen, and kinds that they cover
            come last.
        seed: of the clustering; other seeds choose other images of the same kinds.
        settings: ``data.image_suffix``, ``data.label_suffix``, ``data.axes``,
            ``data.allow_external``.

    Returns:
        The images in order, the most common kind first.

    Raises:
        DataError: images that cannot be read, or fewer than two of them.
    """
    rules = _rules(settings)
    problems: list[str] = []
    names = [(name, path) for name, path, _ in match_files(images, None, rules, problems)]
    done = set() if labels is None else _labeled(images, labels, rules)
    opened = [
        found for _, path in names if (found := _described(path, rules, problems)) is not None
    ]
    if problems:
        raise DataError(gather(problems, heading=f"{len(problems)} problem(s) found:"))
    if len(names) < 2:
        raise DataError(
            message("select", expected="two images or more to choose from", found=str(len(names)),
                    do="Give the folder of all images.")
        )  # fmt: skip
    indices = [index for index, (name, _) in enumerate(names) if name in done]
    chosen = choose(np.stack(opened), count, labeled=indices, seed=seed)
    return [Selected(names[c.index][0], str(names[c.index][1]), c.like) for c in chosen]


def _rules(settings: Settings) -> Layout:
    data = load("mae2d").with_settings(settings).data
    return Layout(
        data.ndim,
        data.axes,
        data.image_suffix,
        data.label_suffix,
        allow_external=data.allow_external,
    )


def _labeled(images: Paths, labels: Paths, rules: Layout) -> set[str]:
    """Names of the images that have labels; what does not pair is no problem here."""
    pairs: Sequence[tuple[str, object, object]] = match_files(images, labels, rules, [])
    return {name for name, _, truth in pairs if truth is not None}


def _described(path: Input, rules: Layout, problems: list[str]) -> np.ndarray | None:
    read = partial(open_image, axes=rules.axes, allow_external=rules.allow_external)
    try:
        return describe(read(path))
    except (DataError, ImportError) as error:
        problems.append(str(error))
        return None
