"""Neighbors at given offsets: which pairs of voxels belong together, for any number of axes.

Channel ``c`` at voxel ``p`` speaks of the pair ``p`` and ``p + offsets[c]``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Integer
from scipy.ndimage import maximum_filter, minimum_filter
from torch import Tensor

from unmask.errors import DataError, RecipeError, message
from unmask.labels.affinities import SHARED, decoder, segment
from unmask.labels.dropped import Tally
from unmask.labels.edges import inside, shift_slices
from unmask.labels.relabeling import relabel
from unmask.tasks.base import Target, unique

Offset = tuple[int, ...]
# The option of each decoder that decides how much is joined, all of which are 0.5 by default, and
# values to try.
_CHOSEN = {"mutex": "join_above", "waterz": "threshold", "average": "threshold", "multicut": "beta"}
_LEVELS = (0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.95)
BACKGROUNDS = ("apart", "object")
# Steps along every axis: the nearest neighbors join, the far ones tell objects apart.
_RANGES = (1, 3, 9, 27)
# Voxels along every axis of the image on which a decoding is tried.
_TRIAL = 4


def check_offsets(
    offsets: Sequence[Sequence[int]] | None, ndim: int, *, task: str
) -> tuple[Offset, ...]:
    """Offsets as tuples; the default looks 1, 3, 9 and 27 voxels back along every axis.

    Raises:
        RecipeError: none, one of another number of axes, of no length, or one twice.
    """
    if offsets is None:
        return tuple(
            tuple(-far if axis == along else 0 for axis in range(ndim))
            for far in _RANGES
            for along in range(ndim)
        )
    found = tuple(tuple(int(step) for step in offset) for offset in offsets)
    wrong = [offset for offset in found if len(offset) != ndim or not any(offset)]
    if not found or wrong or len(set(found)) < len(found):
        raise RecipeError(
            f"task {task}: expected different offsets of {ndim} whole numbers, not all 0, found "
            f"{[list(offset) for offset in wrong or found]}. Correct task.offsets."
        )
    return found


def name_pairs(offsets: Sequence[Offset], *, foreground: bool) -> list[str]:
    """Names of the channels of a task of offsets.

    Examples:
        >>> name_pairs([(-1, 0), (0, -3)], foreground=True)
        ['affinity_-1_0', 'affinity_0_-3', 'foreground']
    """
    names = [f"affinity_{'_'.join(map(str, offset))}" for offset in offsets]
    return [*names, "foreground"] if foreground else names


def find_reach(offsets: Sequence[Offset]) -> int:
    """Voxels from a voxel to its furthest neighbor along any axis."""
    return max(abs(step) for offset in offsets for step in offset)


def inner(offsets: Sequence[Offset], space: Sequence[int], *, task: str) -> list[Offset]:
    """The offsets that have a pair inside a crop.

    Raises:
        RecipeError: there is none.
    """
    found = [offset for offset in offsets if inside(offset, space)]
    if not found:
        raise RecipeError(
            f"task {task}: expected an offset inside a crop of {tuple(space)} voxels, found none "
            f"among {[list(offset) for offset in offsets]}. Enlarge data.crop or shorten "
            "task.offsets."
        )
    return found


def pairs_of(
    values: Float[Tensor, "b 1 *space"],
    weight: Float[Tensor, "b 1 *space"],
    offset: Offset,
    *,
    apart: bool,
) -> tuple[Bool[Tensor, "b *inner"], Float[Tensor, "b *inner"]]:
    """Whether the pairs inside the crop belong together, and how well that is known.

    Args:
        values: ids.
        weight: 0 where the id is unknown; a pair has the product of its two weights.
        offset: from one voxel of the pair to the other.
        apart: voxels of id 0 belong to nothing; otherwise they are one more object.
    """
    here, there = ((slice(None), 0, *part) for part in shift_slices(values.shape[2:], offset))
    same = values[here] == values[there]
    if apart:
        same &= values[here] > 0
    return same, weight[here] * weight[there]


def encode_labels(
    labels: Integer[np.ndarray, "*space"],
    *,
    ignore_label: int | None,
    widen: Sequence[int] | None,
) -> Target:
    """Small ids ``(1, *space)`` that float32 holds exactly, and weight ``(1, *space)``."""
    known = np.ones(labels.shape, bool)
    if ignore_label is not None:
        known = labels != ignore_label
        labels = np.where(known, labels, 0)
    ids = relabel(labels)
    if widen is not None:
        ids = widen_borders(ids, widen)
    return Target(ids[None].astype(np.float32), known[None].astype(np.float32))


def widen_borders(
    labels: Integer[np.ndarray, "*space"], halo: Sequence[int]
) -> Integer[np.ndarray, "*space"]:
    """Labels with 0 wherever a window holds more than one object.

    Args:
        labels: ids, 0 is background.
        halo: voxels of the window on both sides of its center, along every axis.

    Examples:
        >>> widen_borders(np.array([1, 1, 1, 2, 2, 0, 2]), [1]).tolist()
        [1, 1, 0, 0, 2, 0, 2]
    """
    window = [2 * n + 1 for n in halo]
    largest = maximum_filter(labels, size=window, mode="nearest")
    # Background counts as more than any id, so that it is not a second object.
    beyond = np.where(labels > 0, labels, largest.max(initial=0))
    smallest = minimum_filter(beyond, size=window, mode="nearest")
    return np.where(smallest < largest, 0, labels)


def mirror_pairs(
    scores: Float[Tensor, "b s *space"], offsets: Sequence[Offset], axis: int, *, task: str
) -> Float[Tensor, "b s *space"]:
    """Scores of an image from those of the image mirrored along spatial ``axis``.

    Mirroring turns an offset round along the axis. The pair is then found in the channel of the
    turned offset, or, seen from its other end, in the channel of the opposite one. Channels behind
    those of the offsets have no direction. Voxels whose neighbor lies outside keep their place at
    the border.

    Raises:
        RecipeError: there is no such channel.
    """
    flipped = scores.flip(axis + 2)
    channels: list[Tensor] = []
    for offset in offsets:
        turned = tuple(-step if a == axis else step for a, step in enumerate(offset))
        opposite = tuple(-step for step in turned)
        if turned in offsets:
            channels.append(flipped[:, offsets.index(turned)])
        elif opposite in offsets:
            place = flipped[:, offsets.index(opposite)]
            back = [-step for step in offset]
            channels.append(torch.roll(place, back, dims=list(range(1, place.ndim))))
        else:
            raise RecipeError(
                f"task {task}: mirrored views need the offset {list(turned)} or {list(opposite)} "
                f"in addition to {list(offset)}, found neither. Add it to the offsets, or set "
                "infer.tta=false."
            )
    return torch.cat([torch.stack(channels, 1), flipped[:, len(offsets) :]], 1)


def with_border(
    inside_only: Float[Tensor, "b *inner"], offset: Offset, space: Sequence[int]
) -> Float[Tensor, "b *space"]:
    """Affinities of all voxels; those without a neighbor repeat the nearest that has one.

    Where tiles are averaged their borders count, so they are given a likely value.
    """
    here, _ = shift_slices(space, offset)
    result = inside_only
    for axis, (part, length) in enumerate(zip(here, space, strict=True), 1):
        index = torch.arange(length, device=result.device) - part.start
        result = result.index_select(axis, index.clamp(0, result.shape[axis] - 1))
    return result


def decode_scores(
    scores: Float[np.ndarray, "s *space"],
    offsets: Sequence[Offset],
    decoding: Mapping[str, Any],
    *,
    threshold: float,
    foreground: Bool[np.ndarray, "*space"] | None = None,
    tally: Tally | None = None,
) -> Integer[np.ndarray, "*space"]:
    """Label image; a channel behind those of the offsets is the foreground's probability.

    A given ``foreground`` stands in for that channel. ``tally`` gets the foreground that is
    dropped.

    Raises:
        DataError: scores that are not finite or affinities out of range.
    """
    count = len(offsets)
    if foreground is None and len(scores) > count:
        # NaN is above no threshold, so it would pass for background.
        wrong = scores[count].size - int(np.count_nonzero(np.isfinite(scores[count])))
        if wrong:
            raise DataError(
                message(
                    "scores of the foreground",
                    expected="finite numbers",
                    found=f"{wrong} that are NaN or infinite",
                    do="Look for NaN in the network's weights and output; infer.precision=32 "
                    "excludes overflow.",
                )
            )
        foreground = scores[count] > threshold
    options = {name: value for name, value in decoding.items() if name != "name"}
    return segment(
        scores[:count],
        offsets,
        method=decoding["name"],
        foreground=foreground,
        tally=tally,
        **options,
    )


def choices_of(
    decoding: Mapping[str, Any] | str, threshold: float | None
) -> dict[str, tuple[object, ...]]:
    """Values to try for the options of a decoding, see ``TaskDefaults.decoding_choices``.

    Args:
        decoding: name and options of the decoder.
        threshold: of the foreground; None: it is not predicted.
    """
    options = {"name": decoding} if isinstance(decoding, str) else dict(decoding)
    name = _CHOSEN.get(options["name"])
    found: dict[str, tuple[object, ...]] = {}
    if name is not None:
        found[f"decoding.{name}"] = unique(options.get(name, 0.5), *_LEVELS)
    size = int(options.get("min_size", 0))
    if size > 1:
        found["decoding.min_size"] = unique(size, size // 4, size // 2, size * 2, size * 4)
    if threshold is not None:
        found["threshold"] = unique(threshold, 0.3, 0.4, 0.5, 0.6, 0.7)
    return found


def drop_reasons(decoding: Mapping[str, Any]) -> dict[str, str]:
    """Why a decoding may drop foreground, see ``TaskDefaults.reasons``."""
    return {
        name: f"{text} (decoding.{name}={decoding.get(name)})"
        for name, text in {
            "min_foreground": "in pieces of the foreground that are too small",
            "min_size": "in objects that are too small and have no neighbor",
            "alone_below": "whose affinities to all neighbors are too low",
        }.items()
    }


def try_decoding(
    decoding: Mapping[str, Any] | str, offsets: Sequence[Offset], *, task: str
) -> Mapping[str, Any]:
    """A decoding as a mapping with a name that can decode: it is tried on a tiny image.

    Raises:
        RecipeError: see ``check_decoding``; an option out of range, which is named.
    """
    found = check_decoding(decoding, task=task)
    error = _failure(found, offsets)
    if error is None:
        return found
    options = [name for name in found if name != "name"]
    alone = [
        name for name in options if _failure({"name": found["name"], name: found[name]}, offsets)
    ]
    named = ", ".join(f"{name}={found[name]!r}" for name in alone or options)
    raise RecipeError(
        message(
            f"task {task}: decoding {found['name']!r}",
            expected="options and offsets that can decode",
            found=f"{named or [list(offset) for offset in offsets]} "
            f"({str(error).rstrip('.') or type(error).__name__})",
            do="Correct task.decoding.",
        )
    ) from error


def _failure(decoding: Mapping[str, Any], offsets: Sequence[Offset]) -> Exception | None:
    """What is wrong with decoding perfect affinities of two objects; None: nothing."""
    space = (_TRIAL,) * len(offsets[0])
    labels = np.indices(space)[-1] >= _TRIAL // 2
    affinities = np.ones((len(offsets), *space), np.float32)
    for channel, offset in enumerate(offsets):
        here, there = shift_slices(space, offset)
        affinities[(channel, *here)] = labels[here] == labels[there]
    try:
        decode_scores(affinities, offsets, decoding, threshold=0.5)
    except (TypeError, ValueError, ArithmeticError, LookupError, AttributeError, RuntimeError) as e:
        return e
    return None


def check_decoding(decoding: Mapping[str, Any] | str, *, task: str) -> Mapping[str, Any]:
    """A decoding as a mapping with a name.

    Raises:
        RecipeError: no name, an unknown one, or an unknown option.
    """
    found = {"name": decoding} if isinstance(decoding, str) else dict(decoding)
    if not isinstance(found.get("name"), str):
        raise RecipeError(
            f"task {task}: expected decoding with a name, such as {{name: mutex}}, found "
            f"{decoding!r}. Correct task.decoding."
        )
    shared = {"name", *SHARED}
    decoder(found["name"], {name: found[name] for name in found if name not in shared})
    return found
