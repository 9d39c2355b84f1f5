"""Dense features: a feature vector of a patch transformer per voxel, for any number of axes.

A token describes the middle of its patch. So windows at every voxel of a patch are encoded, and the
central tokens of each are kept (`strides`). Many windows go through the network as one batch. A
volume is processed block by block, so memory does not grow with it. An image may have more axes
than the network: each section along the slow axes is then an image of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, prod
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Float32, Int64
from torch import Tensor

from unmask.clustering import neighborhood
from unmask.clustering.strides import Cover, Tokens, cover_aligned, cover_official
from unmask.errors import DataError, RecipeError, message
from unmask.models.base import TokenBackbone
from unmask.models.memory import Halving
from unmask.models.precision import Precision, arithmetic
from unmask.progress import Progress
from unmask.space.box import Box, tiles
from unmask.space.pad import Read, pad_reads

QUALITIES = ("exact", "fast", "draft")
COMPAT = ("aligned", "official")
_LARGEST_NEIGHBORHOOD = 256
# Features of a block in memory.
_BLOCK_BYTES = 32 << 20
# Tokens that go through the network at once: on a CPU they stay in its caches.
_CPU_TOKENS = 1 << 12
_GPU_TOKENS = 1 << 18


@dataclass(frozen=True)
class Dense:
    """How features are computed.

    Attributes:
        backbone: a ``TokenBackbone``; the normed outputs of its encoder are the features.
        quality: ``exact`` keeps the central quarter of the tokens along each axis, ``fast`` the
            central half (in 2D a quarter of the cost); ``draft`` encodes every patch once and
            interpolates between the centers of patches.
        compat: ``aligned``, or ``official`` for what MAESTER's released program gives; see
            `strides`.
        precision: arithmetic of the network; features are float32.
        batch_size: windows at once; None: by their tokens.
        center: tokens kept of a window along each axis; None: by the quality.
        neighborhood: standard deviation, in voxels, of a Gaussian around a voxel; the mean of the
            features in it is a second half of the voxel's features. 0: none. See `neighborhood`.
        rotations: average the features of four rotations of each window by 90 degrees in the last
            two axes, at four times the cost; features then depend less on the direction of an edge.
    """

    backbone: Any
    quality: str = "exact"
    compat: str = "aligned"
    precision: Precision = "auto"
    batch_size: int | None = None
    center: int | None = None
    neighborhood: float = 0.0
    rotations: bool = False

    def __post_init__(self) -> None:
        if not isinstance(self.backbone, TokenBackbone):
            raise RecipeError(
                f"features: expected a backbone of patch tokens such as vit, found "
                f"{type(self.backbone).__name__}. Use another model."
            )
        for name, known in (("quality", QUALITIES), ("compat", COMPAT)):
            if (value := getattr(self, name)) not in known:
                raise RecipeError(
                    f"{name} {value!r}: expected one of {', '.join(known)}, found none of them. "
                    f"Change --{name}."
                )
        if self.compat == "official" and self.quality == "draft":
            raise RecipeError(
                "features: expected quality exact or fast with compat=official, found draft. "
                "The released program has no draft."
            )
        if (self.neighborhood or self.rotations) and self.compat == "official":
            raise RecipeError(
                "features: expected compat aligned with a neighborhood or rotations, found "
                f"official, neighborhood {self.neighborhood:g} and rotations {self.rotations}. "
                "The released program has neither."
            )
        if self.rotations and not (_even(self.backbone.grid) and _even(self.backbone.patch)):
            raise RecipeError(
                "features: expected patches and windows as high as wide for rotations, found "
                f"patches of {tuple(self.backbone.patch)} in {tuple(self.backbone.grid)}. Leave "
                "them out."
            )
        if not 0 <= self.neighborhood <= _LARGEST_NEIGHBORHOOD:
            raise RecipeError(
                f"features: expected a neighborhood of 0 to {_LARGEST_NEIGHBORHOOD} voxels, found "
                f"{self.neighborhood:g}. Lower it."
            )

    @property
    def dim(self) -> int:
        """Length of a feature vector."""
        return self.backbone.dim * (2 if self.neighborhood else 1)

    @property
    def pad(self) -> str:
        """How borders are filled: ``reflect``, or ``zero`` as in the released program."""
        return "zero" if self.compat == "official" else "reflect"

    @property
    def device(self) -> torch.device:
        """Where the network is."""
        return next(iter(self.backbone.parameters())).device

    def period(self, space: Sequence[int]) -> tuple[int, ...]:
        """Voxels after which the windows repeat, along every axis of an image: the least work."""
        leading = _leading(space, self.backbone)
        return (1,) * leading + tuple(tokens.patch * tokens.center for tokens in self._tokens())

    def block(self, space: Sequence[int]) -> tuple[int, ...]:
        """Voxels of a block whose features fit into memory; a multiple of the period."""
        period = self.period(space)
        leading = _leading(space, self.backbone)
        room = max(1, _BLOCK_BYTES // (4 * self.dim))
        block = [1] * len(space)
        edge = room ** (1 / self.backbone.ndim)
        for axis in range(leading, len(space)):
            block[axis] = min(max(1, round(edge / period[axis])) * period[axis], space[axis])
        for axis in reversed(range(leading)):
            block[axis] = max(1, min(space[axis], room // prod(block)))
        return tuple(block)

    def blocks(self, space: Sequence[int]) -> list[Box]:
        """Boxes that partition an image."""
        return [tile.write for tile in tiles(space, self.block(space), (0,) * len(space))]

    @torch.inference_mode()
    def compute(
        self, read: Read, space: Sequence[int], box: Box, *, progress: Progress | None = None
    ) -> Float32[Tensor, "*block d"]:
        """The features of a box, on the device of the network.

        Args:
            read: gives network input of any box, see ``pad_reads``.
            space: voxels of the image.
            box: inside the image; the result depends on the box by rounding only.
            progress: called with (windows done, windows in all).
        """
        leading = _leading(space, self.backbone)
        strides = [1] * leading + self._strides()
        sigmas = [0.0] * leading + [self.neighborhood / stride for stride in self._strides()]
        wide = self._around(sigmas, strides, box, space)
        spans = [
            _span(length, start, stop, stride)
            for length, start, stop, stride in zip(
                space, wide.start, wide.stop, strides, strict=True
            )
        ]
        covers = [
            cover.within(*span) for cover, span in zip(self._covers(space), spans, strict=True)
        ]
        found = self._encode_windows(read, covers, self._window(space), progress)
        if self.neighborhood:
            found = neighborhood.append_means(found, neighborhood.blur(found, sigmas))
        for axis, (stride, span) in enumerate(zip(strides, spans, strict=True)):
            if stride > 1:
                found = _interpolate(found, axis, box, first=span[0], stride=stride)
            else:
                found = found.narrow(axis, box.start[axis] - span[0], box.shape[axis])
        return found

    def _around(
        self, sigmas: Sequence[float], strides: Sequence[int], box: Box, space: Sequence[int]
    ) -> Box:
        """The box with everything that the means around its voxels depend on."""
        if not self.neighborhood:
            return box
        grown = [
            (neighborhood.reach(sigma) + 1) * stride if sigma else 0
            for sigma, stride in zip(sigmas, strides, strict=True)
        ]
        return box.grow(tuple(grown)).clip(Box.of(space))

    def windows(self, space: Sequence[int]) -> int:
        """Windows that describe an image."""
        return prod(len(cover.starts) for cover in self._covers(space))

    @torch.inference_mode()
    def compute_windows(
        self,
        read: Read,
        space: Sequence[int],
        numbers: Int64[np.ndarray, " n"],
        *,
        progress: Progress | None = None,
    ) -> Float32[np.ndarray, "m d"]:
        """The features that single windows give, a few per window: the cheapest sample.

        Args:
            read: gives network input of any box, see ``pad_reads``.
            space: voxels of the image.
            numbers: of windows, below ``windows(space)``.
            progress: called with (windows done, windows in all).
        """
        covers = self._covers(space)
        counts = tuple(len(cover.starts) for cover in covers)
        window = self._window(space)
        grids = (*(1 for _ in range(_leading(space, self.backbone))), *self.backbone.grid)
        run = Halving(self._forward)
        size = self._batch_size(self.device)
        found = [np.zeros((0, self.dim), np.float32)]
        for first in range(0, len(numbers), size):
            chosen = np.unravel_index(numbers[first : first + size], counts)
            starts = [cover.starts[number] for cover, number in zip(covers, chosen, strict=True)]
            parts: list[np.ndarray] = []
            for corner in zip(*(along.tolist() for along in starts), strict=True):
                box = Box(corner, tuple(a + n for a, n in zip(corner, window, strict=True)))
                part = read(box)
                parts.append(part.reshape(len(part), *window[len(window) - self.backbone.ndim :]))
            tokens = self._append_neighborhood(
                run(torch.from_numpy(np.stack(parts)).to(self.device))
            )
            tokens = tokens.cpu().numpy()
            rows, columns, _ = _select_tokens(
                covers, chosen, grids, [cover.count for cover in covers]
            )
            found.append(tokens[rows, columns])
            if progress is not None:
                progress(min(first + size, len(numbers)), len(numbers))
        return np.concatenate(found)

    def _append_neighborhood(self, tokens: Float32[Tensor, "b n d"]) -> Tensor:
        """Tokens of windows with the means around them, as far as their window reaches."""
        if not self.neighborhood:
            return tokens
        found = tokens.unflatten(1, self.backbone.grid)
        sigmas = [0.0, *(self.neighborhood / patch for patch in self.backbone.patch)]
        return neighborhood.append_means(found, neighborhood.blur(found, sigmas)).flatten(1, -2)

    def _covers(self, space: Sequence[int]) -> list[Cover]:
        """Windows of a whole image along every axis."""
        leading = _leading(space, self.backbone)
        covers = [_cover_sections(0, length) for length in space[:leading]]
        for axis, (tokens, stride) in enumerate(zip(self._tokens(), self._strides(), strict=True)):
            last = axis == self.backbone.ndim - 1
            covers.append(self._cover(space[leading + axis], tokens, stride, last))
        return covers

    def _strides(self) -> list[int]:
        return [patch if self.quality == "draft" else 1 for patch in self.backbone.patch]

    def _window(self, space: Sequence[int]) -> tuple[int, ...]:
        ones = (1,) * _leading(space, self.backbone)
        return ones + tuple(tokens.window for tokens in self._tokens())

    def _tokens(self) -> list[Tokens]:
        share = 4 if self.quality == "exact" else 2
        return [
            Tokens(patch, grid, self.center or _central(grid, share))
            for patch, grid in zip(self.backbone.patch, self.backbone.grid, strict=True)
        ]

    def _cover(self, length: int, tokens: Tokens, stride: int, last: bool) -> Cover:  # noqa: FBT001
        if self.compat == "official":
            return cover_official(length, tokens, last_axis=last)
        return cover_aligned(length, tokens, stride)

    def _encode_windows(
        self,
        read: Read,
        covers: list[Cover],
        window: tuple[int, ...],
        progress: Progress | None,
    ) -> Tensor:
        """Features at the positions of ``covers``; zeros where no window gives any."""
        device = self.device
        shape = tuple(cover.count for cover in covers)
        result = torch.zeros((prod(shape), self.backbone.dim), device=device)
        counts = tuple(len(cover.starts) for cover in covers)
        if prod(counts) == 0:
            return result.unflatten(0, shape)
        corner = [int(cover.starts.min()) for cover in covers]
        end = [
            int(cover.starts.max()) + length for cover, length in zip(covers, window, strict=True)
        ]
        image = torch.from_numpy(read(Box(tuple(corner), tuple(end)))).to(device)
        grids = (*(1 for _ in range(self._sections(covers))), *self.backbone.grid)
        run = Halving(self._forward)
        size = self._batch_size(device)
        for first in range(0, prod(counts), size):
            chosen = np.unravel_index(np.arange(first, min(first + size, prod(counts))), counts)
            starts = [
                cover.starts[number] - low
                for cover, number, low in zip(covers, chosen, corner, strict=True)
            ]
            batch = _cut_windows(image, starts, window)
            tokens = run(batch[(slice(None), slice(None), *(0,) * self._sections(covers))])
            rows, columns, places = _select_tokens(covers, chosen, grids, shape)
            result[torch.from_numpy(places).to(device)] = tokens[
                torch.from_numpy(rows).to(device), torch.from_numpy(columns).to(device)
            ]
            if progress is not None:
                progress(min(first + size, prod(counts)), prod(counts))
        return result.unflatten(0, shape)

    def _sections(self, covers: Sequence[Cover]) -> int:
        return len(covers) - self.backbone.ndim

    def _forward(self, windows: Float[Tensor, "b c *space"]) -> Float32[Tensor, "b n d"]:
        """Tokens of windows in C order, averaged over four rotations if these are asked for."""
        if not self.rotations:
            return self._encode(windows)
        plane, grid = (-2, -1), tuple(self.backbone.grid)
        turned = [
            torch.rot90(
                self._encode(torch.rot90(windows, turn, plane)).unflatten(1, grid), -turn, (-3, -2)
            )
            for turn in range(4)
        ]
        return torch.stack(turned).mean(dim=0).flatten(1, -2)

    def _encode(self, windows: Float[Tensor, "b c *space"]) -> Float32[Tensor, "b n d"]:
        """Normed tokens without the class token."""
        device = windows.device
        dtype = arithmetic(self.precision, device)
        with torch.autocast(device.type, dtype or torch.bfloat16, enabled=dtype is not None):
            tokens = self.backbone.encode(self.backbone.embed(windows).values)
        return tokens[:, 1:].float()

    def _batch_size(self, device: torch.device) -> int:
        if self.batch_size is not None:
            return self.batch_size
        tokens = _CPU_TOKENS if device.type == "cpu" else _GPU_TOKENS
        return max(1, tokens // prod(self.backbone.grid))


def features(
    dense: Dense, image: Float32[np.ndarray, "c *space"]
) -> Float32[np.ndarray, "d *space"]:
    """All features of an image in memory, which is network input already."""
    space = image.shape[1:]
    read = pad_reads(lambda box: image[:, *box.slices], space, mode=dense.pad)
    result = np.empty((dense.dim, *space), np.float32)
    for box in dense.blocks(space):
        result[:, *box.slices] = dense.compute(read, space, box).movedim(-1, 0).cpu().numpy()
    return result


def _leading(space: Sequence[int], backbone: Any) -> int:
    """Slow axes that the network does not have."""
    leading = len(space) - backbone.ndim
    if leading < 0:
        raise DataError(
            message(
                "features",
                expected=f"an image of at least {backbone.ndim} axes for this model",
                found=f"{len(space)} (size {tuple(space)})",
                do="Give a volume, or a model for fewer axes.",
            )
        )
    return leading


def _even(sizes: Sequence[int]) -> bool:
    return len(sizes) > 1 and sizes[-1] == sizes[-2]


def _central(grid: int, share: int) -> int:
    """About ``1 / share`` of the tokens, as many before them as behind."""
    center = max(1, grid // share)
    return center + (grid - center) % 2


def _cover_sections(start: int, stop: int) -> Cover:
    """Sections, each an image of its own."""
    count = stop - start
    zeros = np.zeros((count, 1), np.int64)
    return Cover(np.arange(start, stop), zeros, np.arange(count)[:, None], count)


def _span(length: int, start: int, stop: int, stride: int) -> tuple[int, int]:
    """Places whose features are needed for voxels ``[start, stop)``."""
    if stride == 1:
        return start, stop
    low = (start + 0.5) / stride - 0.5
    high = (stop - 0.5) / stride - 0.5
    return max(0, int(np.floor(low))), min(ceil(length / stride), int(np.floor(high)) + 2)


def _interpolate(values: Tensor, axis: int, box: Box, *, first: int, stride: int) -> Tensor:
    """Features of all voxels of ``box`` along an axis, linear between places ``stride`` apart."""
    voxels = torch.arange(box.start[axis], box.stop[axis], device=values.device)
    where = ((voxels + 0.5) / stride - 0.5 - first).clamp(0, values.shape[axis] - 1)
    low = where.floor().long()
    high = (low + 1).clamp(max=values.shape[axis] - 1)
    weight = (where - low).reshape([-1 if i == axis else 1 for i in range(values.ndim)])
    return torch.lerp(values.index_select(axis, low), values.index_select(axis, high), weight)


def _cut_windows(image: Tensor, starts: Sequence[np.ndarray], window: Sequence[int]) -> Tensor:
    """Windows ``(B, C, *window)`` of an image ``(C, *space)`` that begin at ``starts``."""
    axes = len(window)
    index: list[Tensor] = []
    for axis, (first, length) in enumerate(zip(starts, window, strict=True)):
        along = torch.from_numpy(first[:, None] + np.arange(length)).to(image.device)
        shape = [len(first), *(length if other == axis else 1 for other in range(axes))]
        index.append(along.reshape(shape))
    return image[(slice(None), *index)].transpose(0, 1)


def _select_tokens(
    covers: Sequence[Cover],
    chosen: Sequence[np.ndarray],
    grids: Sequence[int],
    shape: Sequence[int],
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of each kept token: its window in the batch, its number in the window, its place."""
    count, axes = len(chosen[0]), len(covers)
    numbers = np.zeros((count,), np.int64)
    places = np.zeros((count,), np.int64)
    valid = np.ones((count,), bool)
    for cover, window, tokens, length in zip(covers, chosen, grids, shape, strict=True):
        place = cover.places[window].reshape(count, *(1,) * (numbers.ndim - 1), -1)
        number = cover.tokens[window].reshape(place.shape)
        numbers = numbers[..., None] * tokens + number
        places = places[..., None] * length + place
        valid = valid[..., None] & (place >= 0)
    rows = np.broadcast_to(np.arange(count).reshape(-1, *(1,) * axes), valid.shape)
    return rows[valid], numbers[valid], places[valid]
