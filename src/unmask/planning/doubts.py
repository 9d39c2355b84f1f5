"""Notes on the assumptions of a plan where the evidence is weak or contradictory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from unmask.planning.facts import Facts
from unmask.wording import format_count, format_part

# Smallest number of objects for a reliable diameter.
_FEW_OBJECTS = 5
# Largest ratio of the median diameters of images that count as one scale.
_SCALES = 4.0
# Smallest number of pieces of a mask that may be objects.
_PIECES = 2
# Channels with less than this share of the highest contrast hardly show the objects.
_FAINT = 0.2


def find_doubts(facts: Facts) -> list[str]:
    """One note per assumption: the evidence, the assumption, and the setting that changes it."""
    return [
        *_empty(facts),
        *_classes_or_objects(facts),
        *_mask(facts),
        *_sizes(facts),
        *_spacing(facts),
        *_channels(facts),
    ]


def _empty(facts: Facts) -> Iterator[str]:
    empty = sum(len(one.ids) == 0 for one in facts.labels)
    if empty == len(facts.labels):
        yield (
            "All labels are empty: nothing can be learned from them. Label at least one object, or "
            "check that --labels names the right folder."
        )
    elif empty:
        yield (
            f"{format_part(empty, len(facts.labels), 'label image', 'are')} empty. Such images are "
            "assumed to be without objects; leave out those that are not labeled yet."
        )
    full = [one for one in facts.labels if one.foreground == 1]
    if facts.verdict.classes and full:
        yield (
            f"Labels of {format_count(len(full), 'image')} have no background. The value 0 stays a "
            "class of its own; if voxels without a label are not known, give --set "
            "data.ignore_label=0."
        )


def _classes_or_objects(facts: Facts) -> Iterator[str]:
    verdict = facts.verdict
    count = sum(len(one.ids) for one in facts.labels)
    if verdict.sure or count == 0:
        return
    mine, other = ("classes", "objects") if verdict.classes else ("objects", "classes")
    setting = "--set task=flows" if verdict.classes else "--set task=semantic"
    why = "; ".join(verdict.reasons[:2]) or "there is no evidence"
    against = f"; but {verdict.against[0]}" if verdict.against else ""
    yield (
        f"Label values are assumed to be {mine}, not {other}: {why}{against}. The evidence weighs "
        f"{abs(verdict.weight):.1f}; {verdict.SURE} or more is sure. If they are {other}: "
        f"{setting}."
    )


def _mask(facts: Facts) -> Iterator[str]:
    """A mask of one value, whose pieces may be the objects that are wanted."""
    drawn = [one for one in facts.labels if len(one.ids)]
    values = {int(value) for one in drawn for value in one.ids}
    if not facts.verdict.classes or len(values) != 1:
        return
    pieces = float(np.median([one.pieces.sum() for one in drawn]))
    if pieces < _PIECES:
        return
    yield (
        f"The only label value besides 0 is {values.pop()}, in {pieces:g} separate pieces per "
        "image (median). It is planned as a class. If the pieces are single objects that you want "
        "to count or measure, number them first, for example with skimage.measure.label."
    )


def _sizes(facts: Facts) -> Iterator[str]:
    objects = facts.objects
    if objects is None:
        return
    if objects.count < _FEW_OBJECTS:
        yield (
            f"Only {format_count(objects.count, 'object was', 'objects were')} measured, so "
            "diameters are rough. If they are not typical, label more, or set data.scale, "
            "data.crop and task.reach."
        )
    if all(one.cut.all() for one in facts.labels if len(one.ids)):
        yield (
            "Every object is cut by the border of its image, so objects are larger than measured "
            f"({objects.median:.0f} voxels). The plan uses the measured size; if objects are much "
            "larger: --set data.scale=0.5."
        )
    if objects.between_images > _SCALES:
        yield (
            f"Median diameters of the images differ by a factor of {objects.between_images:.1f}. "
            "One model is trained for all, with zoom as augmentation. One scale is learned better: "
            "resize the images, or save their voxel size and give --set data.spacing=..., or train "
            "one model per scale."
        )


def _spacing(facts: Facts) -> Iterator[str]:
    images = facts.images
    if images.ndim > 2 and images.spacing is None:
        yield (
            f"Voxels are taken as {' x '.join(f'{v:.2g}' for v in facts.voxel)}, because "
            f"{facts.voxel_reason}. Save the volumes with their voxel size if this is wrong."
        )
    if 0 < images.with_spacing < images.count:
        size = " x ".join(f"{n:g}" for n in images.spacing or ())
        yield (
            f"{format_part(images.with_spacing, images.count, 'image', 'have')} a voxel size "
            f"({size} {images.unit or ''}".rstrip()
            + "). The others are assumed to have the same, and no image is resampled. If they "
            "differ, save all images with their voxel size."
        )


def _channels(facts: Facts) -> Iterator[str]:
    contrast = np.array(facts.contrast)
    if facts.images.channels < 2 or facts.images.color or len(contrast) < 2 or not contrast.any():
        return
    faint = np.flatnonzero(contrast < _FAINT * contrast.max())
    shown = ", ".join(f"{value:.2g}" for value in contrast)
    # A user knows the channels by their numbers in the file.
    numbers = facts.images.selected or tuple(range(len(contrast)))
    used = (
        f"Channels {_names(numbers)}" if facts.images.selected else f"All {len(numbers)} channels"
    )
    text = (
        f"{used} are used. Objects stand out from the background by {shown} standard deviations in "
        "them"
    )
    if len(faint):
        names = _names([numbers[index] for index in faint])
        others = ",".join(str(n) for i, n in enumerate(numbers) if i not in faint)
        text += f", so channel {names} may be left out: --channels {others}"
    yield f"{text}."


def _names(numbers: Sequence[int]) -> str:
    return " and ".join(map(str, numbers))
