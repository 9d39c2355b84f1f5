"""Open pairs of images and labels, and audit a folder before training."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from unmask.data.channels import check_channels, match_channels
from unmask.data.checks import (
    Encode,
    check_origin,
    check_place,
    check_values,
    encoded,
    label_values,
)
from unmask.data.fingerprint import Digest, check_unchanged, fingerprint
from unmask.data.finite import check_finite
from unmask.data.grid import View
from unmask.data.outputs import keep_inputs
from unmask.data.pairing import Layout, Pair, Paths, match_files, match_tables, pairing
from unmask.data.portions import portions
from unmask.data.tables import ImageClass
from unmask.errors import DataError, gather
from unmask.io import open_image, open_labels
from unmask.io.inputs import Input
from unmask.io.missing_chunks import unwritten

__all__ = [
    "Audit", "Encode", "Layout", "Pair", "Paths", "audit_pairs", "check_finite", "check_place",
    "check_unchanged", "check_values", "encoded", "fingerprint", "keep_inputs", "label_values",
    "match_files", "match_tables", "open_pairs", "pairing", "viewed",
]  # fmt: skip


@dataclass(frozen=True)
class Audit:
    """What a folder holds and everything that is wrong with it.

    Attributes:
        pairs: the pairs without problems.
        problems: one line each; training refuses while there are any.
        notes: one line each; worth knowing, no reason to refuse.
        digests: of the pixels of every image by its source, if they were read.
    """

    pairs: list[Pair]
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    digests: dict[str, str] = field(default_factory=dict)


def open_pairs(
    images: Paths,
    labels: Paths | None,
    layout: Layout,
    *,
    channels: int | None = None,
    notes: list[str] | None = None,
) -> list[Pair]:
    """Pair files by stem, open their headers and compare their shapes.

    Args:
        images: file, folder, glob, OME-Zarr, or several of them.
        labels: the same for labels; None where there are none.
        layout: how files are to be understood.
        channels: channels that the network sees; None: any.
        notes: gets what is worth knowing of the files, one line each.

    Raises:
        DataError: every problem of every file at once.
    """
    audit = audit_pairs(images, labels, layout, channels=channels)
    if notes is not None:
        notes += audit.notes
    if audit.problems:
        raise DataError(gather(audit.problems, heading=f"{len(audit.problems)} problem(s) found:"))
    return audit.pairs


def audit_pairs(
    images: Paths,
    labels: Paths | None,
    layout: Layout,
    *,
    read: bool = False,
    channels: int | None = None,
    encode: Encode | None = None,
) -> Audit:
    """Pair files by stem and collect all problems instead of stopping at the first.

    Args:
        images: file, folder, glob, OME-Zarr, or several of them.
        labels: the same for labels; None where there are none.
        layout: how files are to be understood.
        read: decode every file whole, as ``unmask check`` does; otherwise headers only.
        channels: channels that the network sees; None: any.
        encode: the task's targets; with ``read``, it is asked whether it knows every label value.
    """
    problems: list[str] = []
    notes: list[str] = []
    match = match_tables if layout.classes else match_files
    audit = Audit([], problems, notes)
    for name, image_path, truth in match(images, labels, layout, problems, notes=notes):
        try:
            pair = _open(name, image_path, truth, layout)
            if channels is not None:
                check_channels(pair.image.shape[0], channels, source=pair.image.source)
            if read:
                _inspect(pair, channels, encode, audit)
            audit.pairs.append(pair)
        except (DataError, ImportError) as error:
            problems.append(str(error))
    return audit


def _open(name: str, image_path: Input, truth: Input | ImageClass | None, layout: Layout) -> Pair:
    allowed = layout.allow_external
    image = open_image(image_path, axes=layout.axes, ndim=layout.ndim, allow_external=allowed)
    layout.view.check(image)
    if truth is None:
        return Pair(name, image)
    if isinstance(truth, ImageClass):
        return Pair(name, image, truth.labels(image))
    labels = open_labels(truth, ndim=layout.ndim, allow_external=allowed)
    if labels.shape[1:] != image.shape[1:]:
        raise DataError(
            f"{truth}: expected the size of its image {image_path}, {image.shape[1:]}, "
            f"found {labels.shape[1:]}. Give labels of the same size and axis order."
        )
    check_place(labels, image)
    check_origin(labels, image)
    return Pair(name, image, labels)


def viewed(pairs: Sequence[Pair], view: View) -> list[Pair]:
    """Pairs as the network sees them, on the grid of ``view``; nothing is read but its box.

    Raises:
        DataError: images of unknown voxel size, or that cannot be read; all at once.
    """
    found: list[Pair] = []
    problems: list[str] = []
    for pair in pairs:
        try:
            place = view.place(pair.image)
        except DataError as error:
            problems.append(str(error))
            continue
        labels = None if pair.labels is None else place.seen_labels(pair.labels)
        found.append(Pair(pair.name, place.seen(pair.image), labels))
    if problems:
        raise DataError(gather(problems, heading=f"{len(problems)} problem(s) found:"))
    return found


def _inspect(pair: Pair, channels: int | None, encode: Encode | None, audit: Audit) -> None:
    """Read a pair whole; content that is allowed but odd becomes a note.

    Raises:
        DataError: content that nothing can be trained on.
    """
    source = pair.image.source
    parts = portions(pair.image)
    ends: list[float] = []
    whole = Digest(pair.image)
    for box, image in parts.read():
        check_finite(image, source, corner=(0, *box.start))
        if channels is not None:
            match_channels(image, channels, source)
        ends += [image.min(), image.max()]
        whole.add(image)
    notes = [*pair.image.meta.get("notes", ()), parts.note, unwritten(source)]
    if min(ends) == max(ends):
        notes.append(f"{source}: all values are equal ({ends[0]}).")
    if pair.labels is not None:
        parts = portions(pair.labels)
        values = np.unique(np.concatenate([label_values(labels) for _, labels in parts.read()]))
        notes += [parts.note, unwritten(pair.labels.source)]
        if not values.any():
            notes.append(f"{pair.labels.source}: no object, all labels are 0.")
        if encode is not None:
            check_values(values, pair, encode)
    audit.notes.extend(filter(None, notes))
    audit.digests[source] = whole.value()
