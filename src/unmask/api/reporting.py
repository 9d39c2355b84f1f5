"""The page of an evaluation, out of the files that were compared."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from unmask.api.evaluation import Opened, open_compared
from unmask.api.values import Settings
from unmask.atomic import atomic_write
from unmask.data.offset import offset_in_files, part_with_labels
from unmask.data.pairs import Layout, Paths, match_files, pairing
from unmask.data.tables import is_table
from unmask.errors import DataError, message, raise_problems
from unmask.io import Image, open_image
from unmask.io.inputs import Input
from unmask.io.stacks import open_stack, plane_of
from unmask.metrics import METRICS, Report, find_metric
from unmask.reports.classes import PICTURES, classes_page, wrong_first
from unmask.reports.evaluation import Compared, evaluation_page
from unmask.reports.overlay import jpeg, render_rgb
from unmask.reports.page import Section
from unmask.space.box import Box


def write_page(
    report: Report,
    out: Path | str,
    *,
    truth: Paths,
    predicted: Paths,
    images: Paths | None = None,
    settings: Settings = (),
    more: Sequence[Section] = (),
) -> None:
    """Write a report as one HTML file with pictures, charts and sortable tables.

    Args:
        report: of `unmask.evaluate`, for the same files.
        out: file to write; it is complete or not there.
        truth: true labels, or tables of classes.
        predicted: predicted labels, or tables.
        images: images under the outlines; they pair with the predicted labels by stem. None:
            outlines are drawn on black, and tables of classes get no pictures.
        settings: those of the evaluation.
        more: further sections, behind the tables.

    Raises:
        DataError: images that do not pair; all at once.
        SaveError: the file could not be written.
    """
    rules = pairing(settings)
    origin = {
        "truth": str(truth),
        "predicted": str(predicted),
        **({"images": str(images)} if images is not None else {}),
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
    }
    noted = replace(report, settings={**origin, **report.settings})
    if is_table(truth) and is_table(predicted):
        shown = [str(row["name"]) for row in wrong_first(report)]
        under = {} if images is None else _images_of(images, shown, rules)
        pictures = {name: _picture(under[name]) for name in shown[:PICTURES] if name in under}
        atomic_write(out, classes_page(noted, pictures))
        return
    opened, _ = open_compared(truth, predicted, rules)
    under = dict[str, Input]()
    if images is not None:
        under = _images_of(images, [each.stem for each in opened], rules)
    kinds = {find_metric(name, METRICS).kind for name in list(report.summary)[:1]}
    compared = _compare(opened, under, rules)
    page = evaluation_page(noted, compared, objects="semantic" not in kinds, more=more)
    atomic_write(out, page)


def _images_of(images: Paths, names: Sequence[str], rules: Layout) -> dict[str, Input]:
    """The image of every name; all names without one at once."""
    problems: list[str] = []
    found = {name: path for name, path, _ in match_files(images, None, rules, problems)}
    problems += [
        f"{name}: expected an image of this name for the report, found none."
        for name in dict.fromkeys(names)
        if name not in found
    ]
    raise_problems(problems)
    return {name: found[name] for name in names}


def _picture(path: Input) -> bytes:
    """The image, or the middle plane of a volume, as a JPEG file."""
    image = open_image(path)
    *depth, height, width = image.shape[1:]
    start = [n // 2 for n in depth]
    box = Box((*start, 0, 0), (*(n + 1 for n in start), height, width))
    return jpeg(render_rgb(image.read(box).reshape(-1, height, width)))


def _compare(
    opened: Sequence[Opened], under: Mapping[str, Input], rules: Layout
) -> Iterator[Compared]:
    folders = {Path(each.truth.source).parent for each in opened}
    for each in opened:
        truth, image = each.truth, None
        if each.stem in under:
            whole = _open_image(under[each.stem], each)
            image = _as_compared(whole, truth, rules).read()
        # Images in folders of their own, or of other channels, are other kinds of images.
        kind = Path(truth.source).parent.name if len(folders) > 1 else _channels(image)
        yield Compared(each.name, truth.read()[0], each.predicted.read()[0], image, kind)


def _open_image(path: Input, opened: Opened) -> Image:
    """The image; of a movie, at the point in time that was compared."""
    ndim = opened.truth.ndim
    movie = None if opened.time is None else open_stack(path, ndim=ndim, planes="t")
    if movie is None or opened.time is None:
        return open_image(path, ndim=ndim)
    return plane_of(movie, [opened.time])


def _channels(image: np.ndarray | None) -> str:
    if image is None:
        return ""
    return f"{len(image)} channel{'s' if len(image) > 1 else ''}, {image.dtype}"


def _as_compared(image: Image, truth: Image, rules: Layout) -> Image:
    """The image, or the part of it that the truth covers."""
    if image.shape[1:] == truth.shape[1:]:
        return image
    offset = rules.label_offset or offset_in_files(image, truth)
    if offset is None:
        raise DataError(
            message(
                image.source,
                expected=f"the size of the truth {truth.source}, {truth.shape[1:]}",
                found=f"{image.shape[1:]}",
                do="Give the images that were predicted.",
            )
        )
    return part_with_labels(image, truth, offset, [])
