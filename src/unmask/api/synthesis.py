"""``synth``: labeled images that resemble images without labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from unmask.api.inputs import layout_of_settings
from unmask.api.values import Say, Settings
from unmask.data.drawn import open_truth
from unmask.data.pairing import Layout, match_files
from unmask.data.pairs import Paths
from unmask.errors import DataError, message, raise_problems
from unmask.io import Image, open_image, save_image
from unmask.lookup import find
from unmask.phantoms.families import FAMILIES
from unmask.space.axes import SPACE
from unmask.wording import format_count, join_names

if TYPE_CHECKING:
    from unmask.phantoms.likeness.bank import Canvas
    from unmask.phantoms.likeness.collage import Sheet
    from unmask.phantoms.likeness.fit import Fit
    from unmask.phantoms.likeness.photographs import Photograph

# Largest number of images that are compared, evenly spaced, and of names in a message.
_COMPARED, _SHOWN = 48, 4
# A smaller group of images is left out, unless it is the only one.
_SMALLEST_SHARE = 0.05
# Images are reduced before the comparison if objects are wider than this share of a compared part;
# at most by this factor.
_LARGE, _FARTHEST = 0.3, 8
# Longest sides of the drawn images unless they are given.
_SIDES = {2: (256, 256), 3: (32, 128, 128)}
# Words of a fit that is good enough to train on.
_FITTING = ("close", "fair")
# Share of collages among the drawn images if labels are given.
_COLLAGES = 0.5


@dataclass(frozen=True)
class FittedGroup:
    """Images of one kind, and the family of phantoms that resembles them.

    Attributes:
        images: names of the images.
        kind: name of the family.
        diameter: estimated mean diameter of the objects, in pixels.
        distance: distance of the images to phantoms of the family; 1 is the distance of a phantom
            of the family to its mean.
        word: the distance as a word: close, fair, poor or does not fit.
        rivals: the next families and their distances, smallest first.
        options: smallest and largest value of each option of the family.
        count: number of labeled images drawn for this group.
    """

    images: tuple[str, ...]
    kind: str
    diameter: float
    distance: float
    word: str
    rivals: tuple[tuple[str, float], ...]
    options: dict[str, tuple[float, float]]
    count: int = 0

    @property
    def fits(self) -> bool:
        """Whether the fit is close or fair."""
        return self.word in _FITTING


@dataclass(frozen=True)
class Synthesized:
    """Result of ``synth``.

    Attributes:
        folder: folder with ``images/`` and ``labels/``.
        count: number of images.
        groups: groups of images that were drawn, and the family that was fitted to each.
        collages: number of images that are made of labeled objects.
        notes: notes for the user, such as images that were left out.
    """

    folder: Path
    count: int
    groups: tuple[FittedGroup, ...]
    collages: int
    notes: tuple[str, ...]


@dataclass(frozen=True)
class _Group:
    """Images of one group, the fitted family, and the factor by which they were reduced."""

    photographs: list[Photograph]
    fit: Fit
    shrink: int


def synth(  # noqa: PLR0913 - the verb's promised arguments
    like: Paths,
    *,
    out: str | Path,
    count: int = 100,
    kind: str | None = None,
    size: Sequence[int] | None = None,
    labels: Paths | None = None,
    seed: int = 0,
    overwrite: bool = False,
    settings: Settings = (),
    say: Say = lambda _: None,
) -> Synthesized:
    """Draw labeled images that resemble images without labels.

    Args:
        like: file, folder, glob or OME-Zarr, or several of them: at least two images.
        out: folder for ``images/`` and ``labels/``.
        count: number of images to draw.
        kind: family of phantoms; None: the family that fits best, for each group of images.
        size: voxels per axis; None: the size of the images, up to 256 (stacks 32 x 128 x 128).
        labels: labels of a few of the images, whose objects are cut out and pasted as well.
        seed: the same seed gives the same images.
        overwrite: write into a folder that holds images already.
        settings: ``data.image_suffix``, ``data.label_suffix``, ``data.axes``,
            ``data.allow_external``.
        say: receives a line per stage.

    Raises:
        DataError: fewer than two images, constant ones, or no family that fits; ``out`` holds
            images already.
    """
    out = Path(out)
    _check_request(out, count, kind, overwrite=overwrite)
    rules = layout_of_settings(settings)
    images = _open(like, labels, rules)
    sheets = [] if labels is None else _take_apart(like, labels, rules)
    notes: list[str] = []
    say(f"Measuring {min(len(images), _COMPARED)} of {len(images)} images")
    groups = _fit_groups(images, kind, seed, notes, say)
    shape = _shape(images, size)
    collages = round(_COLLAGES * count) if sheets else 0
    _write_collages(out, sheets, shape, collages, seed)
    drawn = _write_phantoms(out, groups, shape, count - collages, seed, say)
    notes += [note for each in drawn if kind is None and (note := _unsure(each))]
    if len(drawn) < len(groups):
        notes.append(
            f"{len(groups)} kinds of images were found, and {len(drawn)} of them drawn: --count "
            f"{count} is too small for more."
        )
    return Synthesized(out, count, tuple(drawn), collages, tuple(notes))


def _check_request(out: Path, count: int, kind: str | None, *, overwrite: bool) -> None:
    if kind is not None:
        # A name without a family is refused before the images are read and compared.
        find(kind, FAMILIES, "--kind")
    if count < 1:
        raise DataError(message("--count", expected="1 or more", found=str(count), do="Raise it."))
    if (out / "images").exists() and not overwrite:
        raise DataError(
            message(out, expected="a new folder", found="one that holds images",
                    do="Choose another one, or give --overwrite.")
        )  # fmt: skip


def _open(like: Paths, labels: Paths | None, rules: Layout) -> list[tuple[str, Image]]:
    """All images, opened, with the number of axes that most have."""
    problems: list[str] = []
    read = partial(open_image, axes=rules.axes, allow_external=rules.allow_external)
    images: list[tuple[str, Image]] = []
    # One folder of images and labels is divided by their names; otherwise all images count.
    both = labels if labels == like else None
    for name, path, _ in match_files(like, both, rules, problems):
        try:
            images.append((name, read(path)))
        except (DataError, ImportError) as error:
            problems.append(str(error))
    axes = [image.ndim for _, image in images]
    usual = max(set(axes), key=axes.count, default=2)
    odd = [name for (name, _), n in zip(images, axes, strict=True) if n != usual]
    if odd:
        problems.append(
            message(", ".join(odd[:_SHOWN]), expected=f"{usual} spatial axes, as most images have",
                    found="another number", do="Draw for images and stacks separately.")
        )  # fmt: skip
    raise_problems(problems)
    if len(images) < 2:
        raise DataError(
            message("synth --like", expected="two images or more to resemble",
                    found=str(len(images)), do="Give the folder of all images.")
        )  # fmt: skip
    return images


def _fit_groups(
    images: Sequence[tuple[str, Image]], kind: str | None, seed: int, notes: list[str], say: Say
) -> list[_Group]:
    from unmask.phantoms.likeness.fit import UNFIT, separate_groups
    from unmask.phantoms.likeness.photographs import plan_canvas
    from unmask.phantoms.likeness.reference import load_reference

    step = ceil(len(images) / _COMPARED)
    chosen = images[::step]
    canvas = plan_canvas([image for _, image in chosen])
    photographs = _photographs(chosen, canvas, 1, seed, notes)
    reference = load_reference(min(3, len(canvas.shape)))
    points = reference.metric(np.stack([each.rows.mean(axis=0) for each in photographs]))
    numbers = separate_groups(points, reference.one_kind)
    groups, left_out = [], []
    for members in numbers:
        own = [photographs[i] for i in members]
        rare = len(own) < max(2, _SMALLEST_SHARE * len(photographs))
        if rare and groups:
            left_out += own
            continue
        groups.append(_fit(own, dict(chosen), canvas, kind, seed, say))
    if left_out:
        notes.append(_list_left_out(left_out))
    fitting = [group for group in groups if group.fit.word != UNFIT or kind is not None]
    unfit = [group for group in groups if group.fit.word == UNFIT]
    notes += [_unfit(group, drawn=kind is not None) for group in unfit if fitting]
    if not fitting:
        raise DataError("\n".join(_unfit(group, drawn=False) for group in unfit))
    return fitting


def _photographs(
    images: Sequence[tuple[str, Image]], canvas: Canvas, shrink: int, seed: int, notes: list[str]
) -> list[Photograph]:
    from unmask.phantoms.likeness.photographs import read_photograph

    found, constant = [], []
    for name, image in images:
        photograph = read_photograph(name, image, canvas, shrink=shrink, seed=seed)
        if photograph is None:
            constant.append(name)
        else:
            found.append(photograph)
    if constant:
        notes.append(f"{_names(constant)}: left out, because every voxel has the same value.")
    if len(found) < 2:
        raise DataError(
            message("synth --like", expected="two images or more that are not constant",
                    found=f"{len(found)}, and {len(constant)} constant ({_names(constant)})",
                    do="Give images that show something.")
        )  # fmt: skip
    return found


def _fit(
    photographs: list[Photograph],
    images: dict[str, Image],
    canvas: Canvas,
    kind: str | None,
    seed: int,
    say: Say,
) -> _Group:
    """Fit a family to one group; images with large objects are reduced first."""
    from unmask.phantoms.likeness.fit import fit_images
    from unmask.phantoms.likeness.photographs import read_photograph
    from unmask.phantoms.likeness.reference import load_reference

    shrink, own, reference = 1, photographs, load_reference(min(3, len(canvas.shape)))
    while True:
        rows = np.concatenate([each.rows for each in own])
        say(f"Fitting phantoms to {len(own)} images")
        fit = fit_images(rows, canvas, reference=reference, kind=kind, seed=seed)
        smallest = min(min(images[each.name].shape[-2:]) for each in own)
        room = smallest >= 1.5 * shrink * min(canvas.shape[-2:])
        if fit.diameter < _LARGE * min(canvas.shape[-2:]) or not room or shrink >= _FARTHEST:
            return _Group(own, fit, shrink)
        shrink *= 2
        say(f"Objects are large: comparing images reduced to 1/{shrink}")
        closer = [
            read_photograph(each.name, images[each.name], canvas, shrink=shrink, seed=seed)
            for each in own
        ]
        own = [new or old for new, old in zip(closer, own, strict=True)]


def _shape(images: Sequence[tuple[str, Image]], size: Sequence[int] | None) -> tuple[int, ...]:
    ndim = images[0][1].ndim
    if size is None:
        shapes = np.median([image.shape[1:] for _, image in images], axis=0)
        longest = (*(32,) * max(0, ndim - 3), *_SIDES[min(3, ndim)][-ndim:])
        return tuple(int(n) for n in np.maximum(np.minimum(shapes, longest), 1))
    if len(size) != ndim or min(size) < 1:
        raise DataError(
            message("--size", expected=f"{ndim} positive numbers, one per axis of the images",
                    found=",".join(map(str, size)), do="Give one per axis, slow axis first.")
        )  # fmt: skip
    return tuple(int(n) for n in size)


def _write_phantoms(
    out: Path, groups: Sequence[_Group], shape: tuple[int, ...], count: int, seed: int, say: Say
) -> list[FittedGroup]:
    """Draw images for each group, in proportion to its number of images."""
    from unmask.phantoms.likeness.bank import Canvas
    from unmask.phantoms.likeness.resemble import draw_alike

    sizes = np.array([len(group.photographs) for group in groups], float)
    counts = np.floor(sizes / sizes.sum() * count).astype(int)
    counts[: count - int(counts.sum())] += 1
    done = []
    for group, number in zip(groups, counts.tolist(), strict=True):
        if not number:
            continue
        fit = _enlarge(group)
        say(f"Drawing {number} images of {fit.kind}")
        canvas = Canvas(shape, _spacing_of(group))
        drawn = draw_alike(fit, group.photographs, canvas, number, seed=seed, shrink=group.shrink)
        for index, phantom in enumerate(drawn):
            file = f"{Path(fit.kind).stem}{len(done) or ''}_{index:04d}.tif"
            _save(out, file, phantom.image, phantom.labels, phantom.spacing)
        done.append(_summary(group, fit, number))
    return done


def _enlarge(group: _Group) -> Fit:
    """The fit in voxels of the original images, if reduced images were compared."""
    fit, shrink = group.fit, group.shrink
    low, high = fit.ranges["diameter"]
    ranges = fit.ranges | {"diameter": (shrink * low, shrink * high)}
    return replace(fit, ranges=ranges, diameters=fit.diameters * shrink)


def _spacing_of(group: _Group) -> tuple[float, ...] | None:
    return group.photographs[0].spacing


def _summary(group: _Group, fit: Fit, count: int) -> FittedGroup:
    return FittedGroup(
        tuple(each.name for each in group.photographs), fit.kind, fit.diameter, fit.distance,
        fit.word, fit.rivals, fit.ranges, count,
    )  # fmt: skip


def _take_apart(like: Paths, labels: Paths, rules: Layout) -> list[Sheet]:
    """Divide labeled images into objects and background."""
    from unmask.phantoms.likeness.collage import take_apart

    sheets: list[Sheet] = []
    for _, path, truth in match_files(like, labels, rules, []):
        if truth is None:
            continue
        image = open_image(path, axes=rules.axes, allow_external=rules.allow_external)
        ids = open_truth(truth, image).read()[0]
        if ids.shape != image.shape[1:]:
            raise DataError(
                message(truth, expected=f"the size of its image {image.shape[1:]}",
                        found=str(ids.shape), do="Give labels of the same size.")
            )  # fmt: skip
        sheets.append(take_apart(image.read(), ids))
    if not any(sheet.cutouts for sheet in sheets):
        raise DataError(
            message("--labels", expected="labels of some of the images with whole objects in them",
                    found=f"{format_count(len(sheets), 'labeled image')} without one",
                    do="Check that names of images and labels are equal.")
        )  # fmt: skip
    return sheets


def _write_collages(
    out: Path, sheets: Sequence[Sheet], shape: tuple[int, ...], count: int, seed: int
) -> None:
    from unmask.phantoms.likeness.collage import draw_collages

    for index, (image, ids) in enumerate(draw_collages(sheets, shape, count, seed=seed)):
        _save(out, f"collage_{index:04d}.tif", image, ids, None)


def _save(
    out: Path,
    file: str,
    image: np.ndarray,
    labels: np.ndarray,
    spacing: Sequence[float] | None,
) -> None:
    # Without axes, three channels of an image would be read as three sections.
    axes = f"C{SPACE[-labels.ndim :]}"
    save_image(out / "images" / file, image, axes=axes, spacing=spacing)
    save_image(out / "labels" / file, labels[None], axes=axes, spacing=spacing)


def _names(names: Sequence[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more


def _list_left_out(photographs: Sequence[Photograph]) -> str:
    names = _names([each.name for each in photographs])
    return f"{names}: left out, because too few images look like them. Draw for them separately."


def _unsure(drawn: FittedGroup) -> str:
    """A note if other families are as near in their own units; "" if none is."""
    near = [name for name, distance in drawn.rivals if distance <= drawn.distance]
    if not near:
        return ""
    return (
        f"{join_names(near)} {'resemble' if len(near) > 1 else 'resembles'} the images about as "
        f"well as {drawn.kind}: look at the drawn images and labels. If the objects are wrong: "
        f"--kind {near[0]} --overwrite."
    )


def _unfit(group: _Group, *, drawn: bool) -> str:
    fit = group.fit
    names = _names([each.name for each in group.photographs])
    if drawn:
        return f"{names}: {fit.kind} does not fit (distance {fit.distance:.1f}; 1 is close)."
    # Their distances are in units of their own, so as numbers they would not compare.
    others = ", ".join(name for name, _ in fit.rivals)
    return message(
        f"synth --like ({names})",
        expected="images that resemble a family of phantoms (distance up to 1.6; 1 is close)",
        found=f"{fit.kind} as the nearest, which does not fit ({fit.distance:.1f})",
        do=f"Draw a family anyway with --kind NAME (next: {others}), or label a few images.",
    )
