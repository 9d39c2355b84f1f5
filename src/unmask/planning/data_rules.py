"""What the network sees: channels, voxel size or scale, crop, normalization, augmentation."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil, prod, sqrt

from unmask.planning.decision import Decision, multiple, unit
from unmask.planning.image_facts import ImageFacts
from unmask.planning.objects import ObjectFacts
from unmask.wording import format_part

# Median diameters in voxels that networks of this depth learn well; beyond them images are resized
# to the target. A crop then holds several objects, and a coarse voxel less than one.
_SMALLEST, _LARGEST, _TARGET_SMALL, _TARGET_LARGE = 9.0, 56.0, 14.0, 36.0
# The same for volumes, whose crops are about 64 voxels long. Voxels with a smaller ratio of their
# edges count as cubes.
_FILLING, _TARGET_VOLUME, _CUBES = 40.0, 24.0, 1.5
# From this number of labeled images on, their objects show how sizes differ between images, and by
# this factor they differ by more than networks of one scale learn.
_ENOUGH, _UNLIKE = 5, 2.0
# Longest objects that are seen at their size in volumes.
_LONG_VOLUME = 96.0
# Diameter to which the smallest objects are resized at least.
_FEWEST = 6.0
# Voxels of a training crop by number of axes, and the fewest and most along an axis.
_VOLUME = {1: 4096, 2: 256 * 256, 3: 300_000}
_SMALL_CROP, _MOST = 128, 384
# A crop holds so many diameters of the larger objects, and lengths of the longest ones.
_ACROSS, _LONGEST = 3.5, 1.5
# Crop lengths are multiples of it.
_STEP = {1: 16, 2: 16, 3: 8}
# Voxel volumes that differ by more are brought to one size.
_UNEQUAL = 1.3
# Shortest axis of a crop that shrinks to fit into the time, in voxels of the shortest edge, and in
# diameters of the larger objects.
_FEWEST_VOXELS, _FEWEST_DIAMETERS = {1: 128, 2: 128, 3: 32}, 1.5
# Zoom of images whose objects have one size, and margin around the spread of sizes. Where thin
# layers separate the objects, less zoom is better: with 0.8 to 1.25, 424 updates gave F1 0.754 on
# five left-out training slices of isbi2012_em, 0.727 with 0.71 to 1.4; 0.781 and 0.754 on two of
# vnc_sstem, where the former were not inverted either (no difference on isbi2012_em).
_ZOOM, _ZOOM_DENSE = (1.4, 1.2), (1.25, 1.05)
_AIR = -500
# Share of crops centered on an object, by the share of voxels that labels cover.
_SHARES = ((0.02, 0.9), (0.1, 0.7), (0.6, 0.5), (1.0, 0.0))


def channel_decision(images: ImageFacts) -> Decision:
    """Three channels for color, one for gray, otherwise those of the files."""
    if images.channels in (1, 3, 4) and not images.color:
        saved = " though saved as RGB" if images.channels > 1 else ""
        return Decision("data.channels", 1, f"images are gray{saved}")
    if images.channels in (3, 4):
        return Decision("data.channels", 3, "some images are in color")
    return Decision("data.channels", images.channels, f"files have {images.channels} channels")


def spacing_decisions(images: ImageFacts) -> list[Decision]:
    """One voxel size for images whose voxels differ."""
    if images.spacing is None:
        return []
    if images.with_spacing < images.count:
        text = (
            f"only {format_part(images.with_spacing, images.count, 'image', 'have')} a voxel size"
        )
        return [
            Decision(
                "data.spacing",
                None,
                f"{text}, so images are used as they are",
                sure=False,
                otherwise="save all images with their voxel size",
            )
        ]
    if images.spacing_ratio <= _UNEQUAL:
        return []
    text = f"voxel volumes differ by a factor of {images.spacing_ratio:.1f}; this is their median"
    return [Decision("data.spacing", list(images.spacing), text)]


def scale_of(objects: ObjectFacts | None, voxel: Sequence[float]) -> tuple[float, ...]:
    """Factor per axis that brings the median diameter to what networks learn well.

    Volumes are never enlarged, because memory grows with the third power; they are resized if the
    median object is wider than 40 voxels, or the longest one longer than 96. Where voxels are
    longer along one axis, the others are resized until they are as long.

    Args:
        objects: facts about the objects, in voxels of the files; None: classes.
        voxel: length of a voxel per axis, relative to the shortest one.
    """
    ndim = len(voxel)
    if objects is None:
        return (1.0,) * ndim
    if ndim < 3:
        return (_scale_of_planes(objects),) * ndim
    edges = voxel if max(voxel) >= _CUBES else (1.0,) * ndim
    # Diameters count along the shortest edges.
    longer = prod(edges) ** (1 / ndim)
    across, longest = objects.median * longer, objects.longest
    wanted = min(
        _TARGET_VOLUME / across if across > _FILLING else 1.0,
        _LONG_VOLUME / longest if longest > _LONG_VOLUME else 1.0,
    )
    if wanted == 1:
        return (1.0,) * ndim
    scale = max(wanted, _FEWEST / (objects.low * longer))
    return tuple(float(f"{min(1.0, scale * edge):.2g}") for edge in edges)


def _scale_of_planes(objects: ObjectFacts) -> float:
    if _SMALLEST <= objects.median <= _LARGEST:
        return 1.0
    large = objects.median > _LARGEST
    scale = (_TARGET_LARGE if large else _TARGET_SMALL) / objects.median
    if large:
        # The smallest objects have to stay visible.
        scale = min(1.0, max(scale, _FEWEST / objects.low))
    return float(f"{scale:.2g}")


def scale_decisions(objects: ObjectFacts | None, scale: Sequence[float]) -> list[Decision]:
    """The factor, or the factors per axis, if there are any."""
    if objects is None or set(scale) == {1.0}:
        return []
    even, resized = len(set(scale)) == 1, objects.resized(scale)
    text = (
        f"objects have a median diameter of {objects.median:.0f} {unit(len(scale))}, "
        f"{resized.median:.0f} after resizing"
    )
    if not even:
        text = (
            f"objects are up to {objects.longest:.0f} {unit(len(scale))} long, "
            f"{resized.longest:.0f} after resizing along the axes of short voxels"
        )
    value = scale[0] if even else list(scale)
    return [Decision("data.scale", value, text, otherwise="--set data.scale=null")]


def fit_decisions(objects: ObjectFacts | None, labeled: int) -> list[Decision]:
    """Images are fitted to the model where labels leave open how large their objects are.

    Args:
        objects: facts about the objects of planes, which are found by flows; None: others.
        labeled: number of labeled images.
    """
    if objects is None:
        return []
    if objects.between_images >= _UNLIKE:
        text = f"median diameters of the images differ by a factor of {objects.between_images:.1f}"
    elif labeled < _ENOUGH:
        text = "few labeled images do not show how large objects of other images are"
    else:
        return []
    text += "; where they are larger, the image is made smaller for the network"
    return [Decision("infer.fit", "scale", text, otherwise="--set infer.fit=false")]


def crop_of(
    images: ImageFacts, objects: ObjectFacts | None, voxel: Sequence[float]
) -> tuple[int, ...]:
    """A crop of a fixed volume, shaped as the voxels are, that holds several objects.

    Images and objects are those that the network sees, resized.
    """
    volume = _VOLUME.get(images.ndim, _VOLUME[3])
    if objects is not None and images.ndim < 3:
        across = max(_ACROSS * objects.high, _LONGEST * objects.longest)
        wanted = max(_SMALL_CROP, across)
        volume = min(volume, wanted**images.ndim)
    space = [float(n) for n in images.shape]
    edge = (volume * prod(voxel)) ** (1 / images.ndim)
    lengths = [edge / v for v in voxel]
    for _ in range(images.ndim):
        # What short axes leave over goes to the others.
        lengths = [min(n, most) for n, most in zip(lengths, space, strict=True)]
        free = [i for i, (n, most) in enumerate(zip(lengths, space, strict=True)) if n < most]
        if not free or prod(lengths) >= 0.9 * volume:
            break
        factor = (volume / prod(lengths)) ** (1 / len(free))
        lengths = [n * factor if i in free else n for i, n in enumerate(lengths)]
    step = _STEP.get(images.ndim, _STEP[3])
    return tuple(_length(n, most, step) for n, most in zip(lengths, space, strict=True))


def shrink_crop(
    crop: Sequence[int],
    share: float,
    objects: ObjectFacts | None,
    voxel: Sequence[float],
    *,
    whole: bool = False,
) -> tuple[int, ...]:
    """A crop with about ``share`` of the voxels, as far as larger objects still fit.

    Axes are halved at most, because what is around a voxel tells its class; short ones are kept.
    With ``whole`` the longest objects fit too, as in `crop_of`: a network that sees pieces learns
    to cut them. Worms of 145 pixels in crops of 128, 160, 192 and 224 had F1 0.63, 0.70, 0.76 and
    0.88 on four left-out training images of worms_bbbc010 after 150 CPU seconds each (494, 324,
    226 and 150 updates).
    """
    ndim = len(crop)
    least, step = _FEWEST_VOXELS.get(ndim, _FEWEST_VOXELS[3]), _STEP.get(ndim, _STEP[3])
    if objects is not None:
        least = max(least, _FEWEST_DIAMETERS * objects.high)
        least = max(least, _LONGEST * objects.longest) if whole else least
    floors = [min(n, max(n / 2, least / v, 2 * step)) for n, v in zip(crop, voxel, strict=True)]
    free = sum(floor < n for floor, n in zip(floors, crop, strict=True))
    factor = share ** (1 / max(1, free))
    return tuple(
        n if floor == n else min(n, ceil(max(floor, n * factor) / step) * step)
        for floor, n in zip(floors, crop, strict=True)
    )


def _length(wanted: float, most: float, step: int) -> int:
    """A multiple of ``step``; an image that hardly exceeds it is seen whole."""
    if most < step:
        return max(1, round(most))
    if most < 2 * step and step == _STEP[3]:
        # Stacks of ten slices would be padded to sixteen.
        step //= 2
    if wanted >= 0.8 * most:
        return min(_MOST, ceil(most / step) * step)
    return min(_MOST, multiple(wanted, step))


def crop_decision(crop: Sequence[int], images: ImageFacts, objects: ObjectFacts | None) -> Decision:
    """The crop with its reason."""
    typical = " x ".join(map(str, images.shape))
    text = f"images are {typical} {unit(images.ndim)}"
    if objects is not None:
        text += f", objects up to {objects.high:.0f} across"
    return Decision("data.crop", list(crop), text)


def normalize_decision(images: ImageFacts, *, classes: bool) -> Decision:
    """Fixed values for CT, mean and deviation for other volumes of classes, else percentiles."""
    if images.minimum <= _AIR and images.ndim > 2:
        low, high = max(-1000.0, images.low), min(2000.0, images.high)
        text = f"values go down to {images.minimum:.0f}, which are Hounsfield units of CT"
        value = {"name": "window", "low": round(low), "high": round(high)}
        return Decision("data.normalize", value, text, otherwise="--set data.normalize=zscore")
    if classes and images.ndim > 2:
        text = f"typical values are {images.low:.4g} to {images.high:.4g} without a fixed unit"
        return Decision("data.normalize", "zscore", text)
    text = f"typical values are {images.low:.4g} to {images.high:.4g}"
    return Decision("data.normalize", {"name": "percentile", "low": 1.0, "high": 99.8}, text)


def foreground_decision(foreground: float) -> Decision:
    """Rare objects are drawn more often."""
    share = next(share for below, share in _SHARES if foreground <= below)
    text = (
        f"labels cover {foreground:.1%} of the images; {share:.0%} of the crops are placed at a "
        "label, the others anywhere"
    )
    return Decision("data.foreground", share, text)


def augment_decision(
    images: ImageFacts,
    objects: ObjectFacts | None,
    voxel: Sequence[float],
    *,
    aligned: bool,
    dense: bool,
) -> Decision:
    """Geometry that keeps images plausible, and intensities within what microscopes vary.

    Args:
        images: facts about the images.
        objects: facts about the objects; None: classes.
        voxel: length of a voxel per axis, relative to the shortest one.
        aligned: whether labels keep their places.
        dense: whether thin layers separate the objects.
    """
    spread = objects.between_images if objects is not None else 1.0
    # If the objects of images differ, each is brought to the others' range.
    least, margin = _ZOOM_DENSE if dense else _ZOOM
    reach = round(min(2.0, max(least, sqrt(spread) * margin)), 2)
    zoom = [round(1 / reach, 2), reach]
    flat = max(voxel) >= 2
    if aligned:
        spatial = {"name": "spatial", "flip": False, "rotate90": False, "rotate": 15,
                   "zoom": [0.85, 1.2], "elastic": 2.0}  # fmt: skip
        text = "labels keep their places in the images, so orientation carries information"
    elif images.ndim > 2:
        spatial = {"name": "spatial", "rotate": 180, "zoom": [0.8, 1.25], "plane_only": flat}
        if not flat:
            spatial = {"name": "spatial", "rotate": 15, "zoom": [0.85, 1.2], "elastic": 3.0,
                       "p_rotate": 0.3, "p_zoom": 0.3, "p_elastic": 0.3}  # fmt: skip
        text = "voxels are about cubes"
        if flat:
            text = "voxels are longer along one axis, so only planes turn"
    else:
        spatial = {"name": "spatial", "rotate": 180, "zoom": zoom, "scale": 0.1, "elastic": 4.0}
        text = "labels lie anywhere, so images may be rotated and mirrored"
        if objects is not None:
            text += f"; median diameters of the images differ by a factor of {spread:.1f}"
    parts: list[dict[str, object]] = [spatial]
    if images.color:
        parts += [{"name": "channel_shuffle", "p": 0.1}, {"name": "channel_mix", "p": 0.2},
                  {"name": "gray", "p": 0.1}]  # fmt: skip
    if objects is not None and images.ndim < 3:
        parts.append({"name": "invert", "p": 0.1})
    parts += [
        {"name": "gamma", "p": 0.3},
        {"name": "contrast", "p": 0.3},
        {"name": "brightness", "p": 0.3},
        {"name": "noise", "p": 0.25},
        {"name": "blur", "p": 0.2},
    ]
    return Decision("data.augment", parts, text, sure=not aligned or images.ndim > 2)
