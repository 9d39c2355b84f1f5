"""The page of an evaluation, out of the files that were compared."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from unmask.api.values import Settings
from unmask.atomic import atomic_write
from unmask.data.pairing import Layout, match_files, pairing
from unmask.data.pairs import Paths
from unmask.errors import DataError, gather
from unmask.io import open_image, open_labels
from unmask.io.inputs import Input
from unmask.metrics import METRICS, Report, find_metric
from unmask.reports.evaluation import Compared, evaluation_page


def write_page(
    report: Report,
    out: Path | str,
    *,
    truth: Paths,
    predicted: Paths,
    images: Paths | None = None,
    settings: Settings = (),
) -> None:
    """Write a report as one HTML file with pictures, charts and sortable tables.

    Args:
        report: of `unmask.evaluate`, for the same files.
        out: file to write; it is complete or not there.
        truth: true labels.
        predicted: predicted labels.
        images: images under the outlines; they pair with the predicted labels by stem. None:
            outlines are drawn on black.
        settings: those of the evaluation.

    Raises:
        DataError: images that do not pair; all at once.
        SaveError: the file could not be written.
    """
    rules = pairing(settings)
    problems: list[str] = []
    matched = match_files(predicted, truth, rules, problems, by_habit=False)
    under: Mapping[str, Input] = {}
    if images is not None:
        under = _images_of(images, [name for name, _, _ in matched], rules, problems)
    if problems:
        raise DataError(gather(problems, heading=f"{len(problems)} problem(s) found:"))
    origin = {
        "truth": str(truth),
        "predicted": str(predicted),
        **({"images": str(images)} if images is not None else {}),
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
    }
    noted = replace(report, settings={**origin, **report.settings})
    kinds = {find_metric(name, METRICS).kind for name in list(report.summary)[:1]}
    compared = _compared(matched, under)
    atomic_write(out, evaluation_page(noted, compared, objects="semantic" not in kinds))


def _images_of(
    images: Paths, names: list[str], rules: Layout, problems: list[str]
) -> dict[str, Input]:
    """The image of every name; a name without one is a problem."""
    found = {name: path for name, path, _ in match_files(images, None, rules, problems)}
    missing = [name for name in names if name not in found]
    problems += [
        f"{name}: expected an image of this name for the report, found none." for name in missing
    ]
    return {name: found[name] for name in names if name in found}


def _compared(
    matched: Sequence[tuple[str, Input, Input | None]], under: Mapping[str, Input]
) -> Iterator[Compared]:
    for name, predicted, truth in matched:
        true = open_labels(truth or "").read()[0]
        other = open_labels(predicted).read()[0]
        image = open_image(under[name], ndim=true.ndim).read() if name in under else None
        yield Compared(name, true, other, image)
