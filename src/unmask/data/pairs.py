"""Open pairs of images and labels, and audit a folder before training."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from unmask.data.channels import check_channels, match_channels
from unmask.data.checks import (
    Encode,
    check_origin,
    check_place,
    check_values,
    encode_labels,
    label_values,
)
from unmask.data.drawn import DrawnLabels
from unmask.data.fingerprint import Digest, check_unchanged, fingerprint
from unmask.data.finite import check_finite
from unmask.data.grid import View
from unmask.data.offset import crop_image, part_with_labels
from unmask.data.outputs import keep_inputs
from unmask.data.pairing import Layout, Pair, Paths, match_files, match_tables, pairing
from unmask.data.portions import portions, unreadable
from unmask.data.tables import ImageClass
from unmask.errors import DataError, raise_problems
from unmask.io import Image, open_image, open_labels
from unmask.io.inputs import Input
from unmask.io.listing import channel_count
from unmask.io.missing_chunks import find_unwritten
from unmask.io.stacks import open_stack
from unmask.space.axes import SPACE
from unmask.space.box import Box

__all__ = [
    "Audit",
    "Encode",
    "Layout",
    "Pair",
    "Paths",
    "apply_view",
    "audit_pairs",
    "check_finite",
    "check_place",
    "check_unchanged",
    "check_values",
    "encode_labels",
    "fingerprint",
    "keep_inputs",
    "label_values",
    "match_files",
    "match_tables",
    "open_as_seen",
    "open_pairs",
    "pairing",
]  # fmt: skip


@dataclass(frozen=True)
class Audit:
    """The contents of a folder and everything that is wrong with it.

    Attributes:
        pairs: the pairs without problems.
        problems: one line each; training refuses while there are any.
        notes: one line each; worth knowing, no reason to refuse.
        unlabeled: images without labels, where others have labels; they are not in ``pairs``.
        digests: of the pixels of every image by its source, if they were read.
        forecast: seconds and bytes that the training will take; empty: not measured.
    """

    pairs: list[Pair]
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    unlabeled: list[str] = field(default_factory=list)
    digests: dict[str, str] = field(default_factory=dict)
    forecast: dict[str, float | int | None] = field(default_factory=dict)


def open_pairs(
    images: Paths,
    labels: Paths | None,
    layout: Layout,
    *,
    channels: int | None = None,
    notes: list[str] | None = None,
    unlabeled: list[str] | None = None,
) -> list[Pair]:
    """Pair files by stem, open their headers and compare their shapes.

    Args:
        images: file, folder, glob, OME-Zarr, or several of them.
        labels: the same for labels; None if there are none.
        layout: how to read files.
        channels: channels that the network sees; None: any.
        notes: gets one line per fact about the files that is worth knowing.
        unlabeled: gets the images without labels, where others have labels.

    Raises:
        DataError: every problem of every file at once.
    """
    audit = audit_pairs(images, labels, layout, channels=channels)
    if notes is not None:
        notes += audit.notes
    if unlabeled is not None:
        unlabeled += audit.unlabeled
    raise_problems(audit.problems)
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
        labels: the same for labels; None if there are none.
        layout: how to read files.
        read: decode every file whole, as ``unmask check`` does; otherwise headers only.
        channels: channels that the network sees; None: any.
        encode: the task's targets; with ``read``, it is asked whether it knows every label value.
    """
    problems: list[str] = []
    notes: list[str] = []
    audit = Audit([], problems, notes)
    if layout.classes:
        matched = match_tables(images, labels, layout, problems, notes=notes)
    else:
        matched = match_files(
            images, labels, layout, problems, notes=notes, unlabeled=audit.unlabeled
        )
    for name, image_path, truth in matched:
        try:
            pair = _open(name, image_path, truth, layout, channels=channels, notes=notes)
            if channels is not None:
                check_channels(pair.image.shape[0], channels, source=pair.image.source)
            if read:
                _inspect(pair, channels, encode, audit)
            audit.pairs.append(pair)
        except (DataError, ImportError) as error:
            problems.append(str(error))
    if read:
        _check_unlabeled(audit, layout, channels)
    return audit


def _check_unlabeled(audit: Audit, layout: Layout, channels: int | None) -> None:
    """Images without labels that cannot be read are problems too: a prediction would meet them."""
    for path in [*audit.unlabeled]:
        try:
            problem = unreadable(open_as_seen(path, layout, channels))
        except (DataError, ImportError) as error:
            problem = str(error)
        if problem:
            audit.unlabeled.remove(path)
            audit.problems.append(problem)


def _open(
    name: str,
    image_path: Input,
    truth: Input | ImageClass | DrawnLabels | None,
    layout: Layout,
    *,
    channels: int | None,
    notes: list[str],
) -> Pair:
    image = open_as_seen(image_path, layout, channels, notes)
    layout.view.check(image)
    if truth is None:
        return Pair(name, image)
    if isinstance(truth, ImageClass):
        # An unknown class is reported once for its table; labels of 0 would be reported again.
        return Pair(name, image, truth.labels(image) if truth.value else None)
    if isinstance(truth, DrawnLabels):
        return Pair(name, image, truth.labels(image, notes))
    labels = open_labels(truth, ndim=layout.ndim, allow_external=layout.allow_external)
    if layout.label_offset is not None or labels.shape[1:] != image.shape[1:]:
        part = part_with_labels(image, labels, layout.label_offset, notes)
        return Pair(name, part, labels)
    check_place(labels, image)
    check_origin(labels, image)
    return Pair(name, image, labels)


def open_as_seen(
    path: Input, layout: Layout, channels: int | None, notes: list[str] | None = None
) -> Image:
    """Open an image as a layout says.

    NIfTI calls its fourth axis time, and programs store channels there. It is read as channels if
    a ``dataset.json`` near the file names as many, the network sees as many, or channels were asked
    for.

    Raises:
        DataError: as `open_image`.
    """
    return layout.channels.choose(_open_whole(path, layout, channels, notes), notes)


def _open_whole(
    path: Input, layout: Layout, channels: int | None, notes: list[str] | None
) -> Image:
    """The image with all its channels."""
    ndim, chosen = layout.ndim or None, layout.channels.wanted is not None
    if layout.planes in ("z", "t") and (stack := _open_as_stack(path, layout)) is not None:
        # Few planes without a name would be taken for channels.
        return stack
    try:
        image = open_image(path, axes=layout.axes, ndim=ndim, allow_external=layout.allow_external)
    except DataError:
        many = str(path).lower().endswith((".nii", ".nii.gz")) and layout.axes is None
        expected = (channel_count(str(path)) or channels or 1) if many else 1
        image = None
        if expected > 1 or (many and chosen):
            image = _open_as_channels(path, layout, None if chosen else expected, notes)
        if image is None and layout.planes is not None:
            image = _open_as_stack(path, layout)
        if image is None:
            raise
        return image
    if notes is not None and layout.axes is None:
        notes += image.meta.get("doubts", ())
    return image


def _open_as_channels(
    path: Input, layout: Layout, expected: int | None, notes: list[str] | None
) -> Image | None:
    """The image with its fourth axis as channels, if there are as many as expected (None: any)."""
    ndim = layout.ndim or None
    try:
        axes = f"C{SPACE[-(ndim or 3) :]}"
        image = open_image(path, axes=axes, ndim=ndim, allow_external=layout.allow_external)
    except DataError:
        return None
    if expected not in (None, image.shape[0]):
        return None
    if notes is not None:
        notes.append(f"{path}: its fourth axis ({image.shape[0]}) is read as channels.")
    return image


def _open_as_stack(path: Input, layout: Layout) -> Image | None:
    """Open a stack or movie; None if the file is a single image."""
    return open_stack(
        path,
        ndim=layout.ndim,
        planes=None if layout.planes == "auto" else layout.planes,
        axes=layout.axes,
        allow_external=layout.allow_external,
    )


def apply_view(pairs: Sequence[Pair], view: View) -> list[Pair]:
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
    raise_problems(problems)
    return found


def cut_middle(pair: Pair, size: Sequence[int]) -> Pair:
    """The middle of an image and its labels, at most as large as ``size``."""
    shape = pair.image.shape[1:]
    lengths = [min(n, length) for n, length in zip(shape, size, strict=True)]
    start = [(n - length) // 2 for n, length in zip(shape, lengths, strict=True)]
    box = Box(tuple(start), tuple(a + length for a, length in zip(start, lengths, strict=True)))
    labels = None if pair.labels is None else crop_image(pair.labels, box)
    return replace(pair, image=crop_image(pair.image, box), labels=labels)


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
        selected = pair.image.meta.get("selected")
        check_finite(image, source, corner=(0, *box.start), selected=selected)
        if channels is not None:
            match_channels(image, channels, source)
        ends += [image.min(), image.max()]
        whole.add(image)
    notes = [*pair.image.meta.get("notes", ()), parts.note, find_unwritten(source)]
    if min(ends) == max(ends):
        notes.append(f"{source}: all values are equal ({ends[0]}).")
    if pair.labels is not None:
        parts = portions(pair.labels)
        values = np.unique(np.concatenate([label_values(labels) for _, labels in parts.read()]))
        notes += [
            parts.note,
            find_unwritten(pair.labels.source),
            *pair.labels.meta.get("notes", ()),
        ]
        if not values.any():
            notes.append(f"{pair.labels.source}: no object, all labels are 0.")
        if encode is not None:
            check_values(values, pair, encode)
    audit.notes.extend(filter(None, notes))
    audit.digests[source] = whole.value()
