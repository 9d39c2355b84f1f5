"""Facts about the result of each file: counts, sizes and output path."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from unmask.api.destinations import Destination
from unmask.api.prediction_options import SUMMARY
from unmask.api.values import Say
from unmask.atomic import atomic_write
from unmask.blocks.base import Output
from unmask.errors import RecipeError, SkippedError
from unmask.infer.fitting import describe_fit, fit_to_stack
from unmask.infer.notes import name_image
from unmask.infer.predictor import Predictor
from unmask.io import Image, open_labels
from unmask.io.stacks import lead_axes, letters_apart, open_stack
from unmask.profiling import format_profile, profiled
from unmask.progress import Progress
from unmask.reports.suspicious import find_suspicious
from unmask.wording import format_count

# Subfolders of the output folder for tracks and pictures.
TRACKS, OVERLAY = "tracks", "overlay"
# Voxels up to which an image has a picture on the page, and edge of the picture in pixels.
_PICTURED, _THUMBNAIL = 1 << 26, 420
# Key of the mean uncertainty per object in a result.
UNCERTAINTY = "uncertainty"
# JSON values that are kept with the output of a file.
Result = dict[str, Any]
# An image, its label file, and facts about the labels.
Done = tuple[Image, Path, Result]


def check_planes(planes: str | None) -> str | None:
    """Check the option ``planes`` and return it.

    Raises:
        RecipeError: ``planes`` is neither None, "z" nor "t".
    """
    if planes not in (None, "z", "t"):
        raise RecipeError(
            f"--planes {planes}: expected z (slices) or t (points in time), found something else. "
            "Leave it out for single images."
        )
    return planes


def check_stack(image: Image, *, refused: bool) -> None:
    """Refuse options that stacks do not support.

    Raises:
        RecipeError: ``refused`` is true: ``--workers`` or ``--scores`` was given.
    """
    if refused:
        raise RecipeError(
            f"{image.source}: expected neither --workers nor --scores with a stack that is "
            "predicted plane by plane, found one of them. Leave them out."
        )


def unused_planes(images: Sequence[Image], planes: str | None, ndim: int) -> list[str]:
    """A note if ``planes`` was given and means nothing for some of the images."""
    single = [image for image in images if not lead_axes(image, ndim)]
    if planes is None or not single:
        return []
    # Programs save three or four planes as one image in color.
    axes = f"{planes.upper()}YX"
    hint = (
        f" If their channels are planes, name the axes: --set data.axes={axes}."
        if ndim == len("YX") and any(image.shape[0] > 1 for image in single)
        else ""
    )
    return [
        f"--planes {planes} is not used for {len(single)} of {format_count(len(images), 'image')}, "
        f"such as {single[0].source}: they are single images, not stacks.{hint}"
    ]


def unused_join(images: Sequence[Image], ndim: int, *, join: bool) -> list[str]:
    """A note if ``join`` was given and some of the images have nothing to join."""
    single = [image for image in images if not lead_axes(image, ndim)]
    if not join or not single:
        return []
    return [
        f"--join is not used for {len(single)} of {format_count(len(images), 'image')}, such as "
        f"{single[0].source}: they are single images, without slices or points in time to join."
    ]


def summarize(labels: np.ndarray, *, objects: bool) -> Result:
    """Summarize a label image: number of objects or classes, sizes in voxels, foreground share.

    Args:
        labels: ``(*space)``, 0 is background.
        objects: whether labels number objects; otherwise they are classes.

    Examples:
        >>> summarize(np.array([[0, 1], [0, 2]]), objects=True)["objects"]
        2
    """
    values, sizes = np.unique(labels, return_counts=True)
    sizes = sizes[values != 0]
    foreground = float(sizes.sum()) / max(1, labels.size)
    if not objects:
        return {"classes": len(sizes), "foreground": foreground}
    found: Result = {"objects": len(sizes), "foreground": foreground}
    if len(sizes):
        found["median_size"] = float(np.median(sizes))
        found["smallest"], found["largest"] = int(sizes.min()), int(sizes.max())
    return found


def describe_result(result: Mapping[str, Any] | None) -> str:
    """Text of a result for the log, such as ``12 objects``."""
    if not result:
        return "done"
    planes = f" in {result['positions']} planes" if "positions" in result else ""
    for what in ("objects", "tracks"):
        if what in result:
            planes = planes.replace("planes", "points in time") if what == "tracks" else planes
            return f"{format_count(result[what], what[:-1])}{planes}"
    share = result.get("foreground")
    covered = "" if share is None else f" on {100 * share:.1f} % of the image"
    return f"{format_count(result.get('classes', 0), 'class', 'classes')}{covered}{planes}"


def open_result(path: Path, image: Image, ndim: int) -> Image:
    """Open the labels that were written for an image; stacks keep their axes."""
    if not lead_axes(image, ndim):
        return open_labels(path, ndim=ndim)
    planes = "z" if "Z" in lead_axes(image, ndim) else "t"
    stack = open_stack(path, ndim=ndim, planes=planes, axes=image.axes[1:])
    return open_labels(path, ndim=image.ndim) if stack is None else stack


def predict_planes_into(
    predictor: Predictor,
    image: Image,
    target: Destination,
    *,
    join: bool,
    resume: bool,
    uncertain: bool,
    say: Say,
    progress: Progress | None,
) -> Result:
    """Predict a stack into a file, and its tracks into a folder next to it."""
    # Images without such axes need neither this nor the engine of blocks.
    from unmask.infer.planes import PlanesWork, predict_planes

    fitted = fit_to_stack(predictor, image)
    work = PlanesWork(fitted, image, join, target.out / TRACKS, uncertain)
    out = Output(target.path, image, name=target.name, work=target.kept)

    def note(text: str) -> None:
        say(name_image(text, image.source))

    if text := describe_fit(predictor, fitted):
        note(text)
    return {**predict_planes(work, out, resume=resume, progress=progress, say=note)}


def write_table_of(
    done: Sequence[Done],
    out: Path,
    ndim: int,
    *,
    join: bool,
    columns: Sequence[Mapping[str, Mapping[int, float]]] = (),
    say: Say,
) -> None:
    """Write ``objects.csv`` of label files and their images.

    Args:
        done: images, label files and facts about the labels.
        out: folder of the table.
        ndim: number of spatial axes of the model.
        join: whether objects were joined over the positions of stacks.
        columns: additional columns for each image, by object id.
        say: called with a line about the table.
    """
    from unmask.api.measuring import write_objects

    predicted = [
        (open_result(path, image, ndim), image, letters_apart(lead_axes(image, ndim), join=join))
        for image, path, _ in done
    ]
    write_objects(predicted, out, columns=columns, say=say)


def write_pictures(predictor: Predictor, done: Sequence[Done], folder: Path, say: Say) -> None:
    """Write ``overlay/<stem>.png`` of every image, and ``summary.html`` of several.

    Raises:
        SaveError: a file cannot be written.
    """
    # Most predictions draw nothing.
    from unmask.reports.object_picture import draw_objects, png

    for image, path, _ in done:
        picture = draw_objects(image, open_result(path, image, predictor.ndim))
        atomic_write(folder / OVERLAY / f"{image.name}.png", png(picture))
    if len(done) > 1:
        say(f"summary: {write_summary(predictor, done, folder)}")


def suspicious_notes(done: Sequence[Done]) -> list[str]:
    """One line per image without objects, or with unusually many, few, large or small ones."""
    if len(done) < 2:
        return []
    remarks = find_suspicious([result for _, _, result in done])
    return [
        f"{image.source}: {remark}." for (image, _, _), remark in zip(done, remarks, strict=True)
        if remark
    ]  # fmt: skip


def write_summary(predictor: Predictor, done: Sequence[Done], folder: Path) -> Path:
    """Write ``summary.html``: facts about the labels of each image, suspicious images first.

    Raises:
        SaveError: the file cannot be written.
    """
    from unmask.reports.object_picture import draw_objects
    from unmask.reports.prediction import prediction_page

    def draw(number: int) -> np.ndarray | None:
        image, path, _ = done[number]
        if prod(image.shape) > _PICTURED:
            return None
        labels = open_result(path, image, predictor.ndim)
        return draw_objects(image, labels, edge=2 * _THUMBNAIL)

    settings = predictor.provenance(done[0][0])
    settings.pop("image")
    text = prediction_page(
        [image.name for image, _, _ in done],
        [result for _, _, result in done],
        draw,
        settings=settings,
        version=version("unmask"),
        unit="pixels" if predictor.ndim == len("YX") else "voxels",
    )
    path = folder / SUMMARY
    atomic_write(path, text)
    return path


def ignore_record(record: Mapping[str, Any]) -> None:
    """Ignore the record of a file."""


def record_of(image: Image, path: Path, result: Mapping[str, Any]) -> Result:
    """Record of a file for a JSON line: its image, its output and facts about its labels."""
    shown = {name: value for name, value in result.items() if name != UNCERTAINTY}
    return {"image": image.source, "output": str(path), **shown}


@contextmanager
def report_profile(
    say: Say, record: Callable[[Mapping[str, Any]], None]
) -> Generator[None, None, None]:
    """Report where the time of a run went, as a table and as a record, unless the run failed."""
    error: SkippedError | None = None
    with profiled() as profile:
        try:
            yield
        except SkippedError as raised:
            # All other files are done.
            error = raised
    found = profile.to_json()
    say(format_profile(found))
    record({"profile": found})
    if error is not None:
        raise error
