"""From pairs to batches: read a box, normalize, augment, encode.

Which image, which box and how it is warped are pure functions of (seed, index of the sample).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import dataclass, replace

import numpy as np
import torch

from unmask.data.augment.apply import Part, augment, read_shape
from unmask.data.augment.zoom import Zoom, region, resize, resize_labels
from unmask.data.channels import match_channels
from unmask.data.finite import check_finite
from unmask.data.label_changes import LabelChange, apply_changes
from unmask.data.normalize import Measured, Normalizer
from unmask.data.pairs import Encode, Pair, check_values, encode_labels
from unmask.data.sampling import Order
from unmask.errors import DataError, raise_problems
from unmask.space.batch import Batch
from unmask.space.box import Box
from unmask.space.pad import pad_box
from unmask.space.random import device_seed, generator

# Places kept per image to center crops on; enough to reach every object of a busy image.
_PLACES = 20_000
# Images above this are measured on a part of their voxels when they are normalized.
_MEASURED_VOXELS = 64_000_000


@dataclass(frozen=True)
class CropPlan:
    """How crops are drawn.

    Attributes:
        crop: voxels along every axis.
        channels: channels the network sees.
        batch_size: crops in a batch.
        foreground: share of crops placed on an object.
        seed: the run's seed.
        parts: augmentations, in order; a `Zoom` among them acts first, when the box is read.
        changes: changes of whole label images, before anything is cropped.
        border: "mirror" or "zero", what is beyond the image where it is smaller than a crop; zero
            is that of the normalized image, and background.
    """

    crop: tuple[int, ...]
    channels: int
    batch_size: int
    foreground: float = 0.5
    seed: int = 0
    parts: tuple[Part | Zoom, ...] = ()
    changes: tuple[LabelChange, ...] = ()
    border: str = "mirror"


@dataclass(frozen=True)
class _Prepared:
    """A pair ready to be cropped."""

    pair: Pair
    affine: Measured
    image: np.ndarray | None  # whole, native dtype, where it is kept in memory
    labels: np.ndarray | None
    places: list[np.ndarray]  # per label value, (n, ndim) voxels


class Crops:
    """Batches of crops of some pairs; thread-safe, without state that changes.

    Args:
        pairs: images, all with labels or all without; those without may have more axes than a
            crop, which is then a section across the slow ones.
        plan: how crops are drawn.
        normalize: measures an image once; applied to every crop.
        encode: labels ``(*space)`` and spacing to values and weight; None without labels.
        cache_bytes: decoded images kept in memory up to this size; the others are read by box.

    Attributes:
        plan: how crops are drawn.
        empty: names of label images without an object.

    Raises:
        DataError: images that are not finite or with other channels than the plan's, labels with
            values that ``encode`` does not know; all at once.
    """

    def __init__(
        self,
        pairs: Sequence[Pair],
        plan: CropPlan,
        *,
        normalize: Normalizer,
        encode: Encode | None = None,
        cache_bytes: float = 4e9,
    ) -> None:
        self.plan = plan
        self._encode = encode
        self._items: Sequence[int] = range(len(pairs))
        self._order = Order(len(pairs), seed=plan.seed)
        self._parts = tuple(part for part in plan.parts if not isinstance(part, Zoom))
        self._zooms = tuple(part for part in plan.parts if isinstance(part, Zoom))
        self._read = read_shape(plan.crop, self._parts)
        self._prepared: list[_Prepared] = []
        self.empty: list[str] = []
        problems: list[str] = []
        for number, pair in enumerate(pairs):
            try:
                prepared = _prepare(pair, plan, normalize, number, keep=cache_bytes > 0)
                if encode is not None and pair.labels is not None:
                    labels = pair.labels.read() if prepared.labels is None else prepared.labels
                    check_values(labels[0], pair, encode)
                    if not labels.any():
                        self.empty.append(pair.labels.source)
            except DataError as error:
                problems.append(str(error))
                continue
            for array in (prepared.image, prepared.labels):
                cache_bytes -= 0 if array is None else array.nbytes
            self._prepared.append(prepared)
        raise_problems(problems)

    @property
    def sources(self) -> list[str]:
        """Names of the images, in order."""
        return [prepared.pair.image.source for prepared in self._prepared]

    def in_order_of(self, items: Sequence[int]) -> Crops:
        """The same crops, of epochs that consist of these numbers of images, repeats included."""
        other = copy(self)
        other._items, other._order = list(items), Order(len(items), seed=self.plan.seed)
        return other

    def middle(self, number: int) -> np.ndarray:
        """The middle ``(C, *crop)`` of an image, normalized and not augmented, float32."""
        prepared = self._prepared[number]
        shape, crop = prepared.pair.image.shape[1:], self._section(prepared, self.plan.crop)
        start = tuple((n - c) // 2 for n, c in zip(shape, crop, strict=True))
        box = Box(start, tuple(a + c for a, c in zip(start, crop, strict=True)))
        return self._image(prepared, box)

    def batch(self, index: int) -> Batch:
        """Batch number ``index``."""
        plan = self.plan
        first = index * plan.batch_size
        samples = [self._sample(first + i) for i in range(plan.batch_size)]
        images = torch.from_numpy(np.stack([image for image, _, _ in samples]))
        labels = None
        if self._encode is not None:
            regions = [region for _, region, _ in samples if region is not None]
            labels = torch.from_numpy(np.stack(regions))
        rngs = [generator(plan.seed, "augment", first + i) for i in range(plan.batch_size)]
        images, labels = augment(images, labels, rngs, crop=plan.crop, parts=self._parts)
        seed = device_seed(plan.seed, "device", index)
        if self._encode is None or labels is None:
            return Batch(images, seed=seed)
        targets = [
            encode_labels(self._encode, one, pair)
            for one, (_, _, pair) in zip(labels.numpy(), samples, strict=True)
        ]
        values, weight = (np.stack(arrays) for arrays in zip(*targets, strict=True))
        return Batch(images, torch.from_numpy(values), torch.from_numpy(weight), seed=seed)

    def _sample(self, position: int) -> tuple[np.ndarray, np.ndarray | None, Pair]:
        """One region to be augmented: image float32, labels int64, and where it comes from."""
        plan, prepared = self.plan, self._prepared[self._items[self._order[position]]]
        rng = generator(plan.seed, "crop", position)
        shape = prepared.pair.image.shape[1:]
        factor = self._zoom(position)
        crop = self._section(prepared, region(plan.crop, factor))
        read = self._section(prepared, region(self._read, factor))
        corner = _corner(shape, crop, prepared.places, rng, foreground=plan.foreground)
        start = tuple(a - (r - c) // 2 for a, r, c in zip(corner, read, crop, strict=True))
        box = Box(start, tuple(a + r for a, r in zip(start, read, strict=True)))
        image = self._image(prepared, box)
        labels = None
        if self._encode is not None and prepared.pair.labels is not None:
            part = _read_box(prepared.labels, prepared.pair.labels.read, box, shape)
            inside = box.clip(Box.of(shape))
            labels = pad_box(part[0].astype(np.int64), inside, box, mode=plan.border)
            labels = resize_labels(labels, self._read)
        return resize(image, self._read), labels, prepared.pair

    def _image(self, prepared: _Prepared, box: Box) -> np.ndarray:
        """The part of an image in a box, normalized, with what is beyond it; one section flat."""
        shape = prepared.pair.image.shape[1:]
        image = _read_box(prepared.image, prepared.pair.image.read, box, shape)
        image = match_channels(image, self.plan.channels, source=prepared.pair.image.source)
        inside, values = box.clip(Box.of(shape)), prepared.affine.apply(image)
        filled = pad_box(values, inside, box, mode=self.plan.border)
        return filled.reshape(len(filled), *box.shape[len(shape) - len(self.plan.crop) :])

    def _section(self, prepared: _Prepared, size: Sequence[int]) -> tuple[int, ...]:
        """``size`` with one voxel along the slow axes that a crop does not have."""
        return (1,) * (prepared.pair.image.ndim - len(size)) + tuple(size)

    def _zoom(self, position: int) -> float | None:
        """Magnification of a sample; None where it keeps its size."""
        rng = generator(self.plan.seed, "zoom", position)
        drawn = [part.draw(rng, (self.plan.channels, *self.plan.crop)) for part in self._zooms]
        factors = [factor for factor in drawn if factor is not None]
        return float(np.prod(factors)) if factors else None


def _prepare(
    pair: Pair, plan: CropPlan, normalize: Normalizer, number: int, *, keep: bool
) -> _Prepared:
    source = pair.image.source
    image = _read_to_measure(pair)
    check_finite(image, source, selected=pair.image.meta.get("selected"))
    matched = match_channels(image, plan.channels, source=source)
    affine = normalize.measure(matched)
    if pair.labels is not None:
        pair = replace(pair, labels=apply_changes(pair.labels, plan.changes))
    labels = None if pair.labels is None else pair.labels.read()
    rng = generator(plan.seed, "places", number)
    places = [] if labels is None or plan.foreground == 0 else _places(labels[0], rng)
    whole = image.shape == pair.image.shape
    return _Prepared(
        pair,
        affine,
        image if keep and whole else None,
        labels if keep else None,
        places,
    )


def _read_to_measure(pair: Pair) -> np.ndarray:
    """The image whole, or its middle where it is too large to measure whole."""
    shape = pair.image.shape[1:]
    box = Box.of(shape)
    share = (_MEASURED_VOXELS / max(1, box.size)) ** (1 / len(shape))
    if share < 1:
        size = [max(1, int(n * share)) for n in shape]
        start = tuple((n - s) // 2 for n, s in zip(shape, size, strict=True))
        box = Box(start, tuple(a + s for a, s in zip(start, size, strict=True)))
    return pair.image.read(box)


def _places(labels: np.ndarray, rng: np.random.Generator) -> list[np.ndarray]:
    """Voxels to center crops on, grouped by label value, background left out."""
    flat = np.flatnonzero(labels)
    if flat.size > _PLACES:
        flat = rng.choice(flat, _PLACES, replace=False)
    values = labels.ravel()[flat]
    order = np.argsort(values, kind="stable")
    cuts = np.flatnonzero(np.diff(values[order])) + 1
    voxels = np.stack(np.unravel_index(flat[order], labels.shape), axis=1)
    return np.split(voxels, cuts) if flat.size else []


def _corner(
    shape: Sequence[int],
    crop: Sequence[int],
    places: list[np.ndarray],
    rng: np.random.Generator,
    *,
    foreground: float,
) -> tuple[int, ...]:
    """First voxel of a crop; negative where the image is smaller than the crop (then centerd)."""
    room = np.array([n - c for n, c in zip(shape, crop, strict=True)])
    anywhere = rng.integers(0, np.maximum(room, 0) + 1)
    on_object = rng.random() < foreground
    if on_object and places:
        # A value first, then a voxel of it: small objects and rare classes get their share.
        voxels = places[rng.integers(len(places))]
        voxel = voxels[rng.integers(len(voxels))]
        inside = rng.integers(np.array(crop) // 4, 3 * np.array(crop) // 4 + 1)
        anywhere = np.clip(voxel - inside, 0, np.maximum(room, 0))
    return tuple(int(a) if r >= 0 else int(r // 2) for a, r in zip(anywhere, room, strict=True))


def _read_box(
    whole: np.ndarray | None,
    read: Callable[[Box], np.ndarray],
    box: Box,
    shape: Sequence[int],
) -> np.ndarray:
    """``(C, *inside.shape)`` of the part of the box that is inside the image."""
    inside = box.clip(Box.of(shape))
    if inside.size == 0:
        raise DataError(f"box {box} lies outside an image of {tuple(shape)} voxels.")
    return read(inside) if whole is None else whole[(slice(None), *inside.slices)]
