"""Dense features: one vector of a patch transformer for every voxel, for any number of axes.

A token describes the middle of its patch, so windows of all phases of a patch are encoded and the
central tokens of each are kept (``cover``). Windows of many phases go through the network as one
batch; a volume is worked on block by block, so memory does not grow with it. An image may have
more axes than the network: each section along the slow axes is then an image by itself.
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

from unmask.cluster import neighborhood as surround
from unmask.cluster.strides import Cover, Tokens, aligned, official
from unmask.errors import DataError, RecipeError, message
from unmask.models.base import TokenBackbone
from unmask.models.memory import Halving
from unmask.models.precision import Precision, arithmetic
from unmask.space.box import Box, tiles
from unmask.space.pad import Read, pad_reads

QUALITIES = ("exact", "fast", "draft")
COMPAT = ("aligned", "official")
_MOST_SURROUND = 256
# Vectors of a block in memory.
_BLOCK_BYTES = 32 << 20
# Tokens that go through the network at once: on a CPU they stay in its caches.
_CPU_TOKENS = 1 << 12
_GPU_TOKENS = 1 << 18


@dataclass(frozen=True)
class Dense:
    """How vectors are computed.

    Attributes:
        backbone: a ``TokenBackbone``; the normed outputs of its encoder are the vectors.
        quality: ``exact`` keeps the central quarter of the tokens along each axis, ``fast`` the
            central half (in 2D a quarter of the cost); ``draft`` encodes one phase of the patches
            and interpolates between their centres.
        compat: ``aligned``, or ``official`` for what MAESTER's released program gives; see
            ``cover``.
        precision: arithmetic of the network; vectors are float32.
        batch_size: windows at once; None: by their tokens.
        centre: tokens kept of a window along each axis; None: by the quality.
        surround: voxels, the standard deviation of a Gaussian over the vectors around a voxel,
            whose mean is a second half of its vector; 0: none. See ``surround``.
        turns: mean of the vectors of four quarter turns of each window in the last two axes, at
            four times the cost: what they say no longer depends on the direction of an edge.
    """

    backbone: Any
    quality: str = "exact"
    compat: str = "aligned"
    precision: Precision = "auto"
    batch_size: int | None = None
    centre: int | None = None
    surround: float = 0.0
    turns: bool = False

    def __post_init__(self) -> None:
        if not isinstance(self.backbone, TokenBackbone):
            raise RecipeError(
                f"features: expected a backbone of patch tokens such as vit, found "
                f"{type(self.backbone).__name__}. Use another model."
            )
        if self.quality not in QUALITIES or self.compat not in COMPAT:
            raise RecipeError(
                f"features: expected a quality of {', '.join(QUALITIES)} and a compat of "
                f"{' or '.join(COMPAT)}, found {self.quality!r} and {self.compat!r}."
            )
        if self.compat == "official" and self.quality == "draft":
            raise RecipeError(
                "features: expected quality exact or fast with compat=official, found draft. "
                "The released program has no draft."
            )
        if (self.surround or self.turns) and self.compat == "official":
            raise RecipeError(
                f"features: expected compat aligned with a surround or turns, found official, "
                f"surround {self.surround:g} and turns {self.turns}. The released program has none."
            )
        if self.turns and not (_even(self.backbone.grid) and _even(self.backbone.patch)):
            raise RecipeError(
                f"features: expected patches and windows as high as wide for turns, found patches "
                f"of {tuple(self.backbone.patch)} in {tuple(self.backbone.grid)}. Leave out turns."
            )
        if not 0 <= self.surround <= _MOST_SURROUND:
            raise RecipeError(
                f"features: expected a surround of 0 to {_MOST_SURROUND} voxels, found "
                f"{self.surround:g}."
            )

    @property
    def dim(self) -> int:
        """Numbers of a vector."""
        return self.backbone.dim * (2 if self.surround else 1)

    @property
    def pad(self) -> str:
        """What is beyond the image: ``reflect``, or ``zero`` as in the released program."""
        return "zero" if self.compat == "official" else "reflect"

    @property
    def device(self) -> torch.device:
        """Where the network is."""
        return next(iter(self.backbone.parameters())).device

    def period(self, space: Sequence[int]) -> tuple[int, ...]:
        """Voxels after which the windows repeat, along every axis of an image: the least work."""
        leading = _leading(space, self.backbone)
        return (1,) * leading + tuple(tokens.patch * tokens.centre for tokens in self._tokens())

    def block(self, space: Sequence[int]) -> tuple[int, ...]:
        """Voxels of a block whose vectors fit into memory; a multiple of the period."""
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
    def vectors(self, read: Read, space: Sequence[int], box: Box) -> Float32[Tensor, "*block d"]:
        """The vectors of a box, on the device of the network.

        Args:
            read: gives network input of any box, see ``pad_reads``.
            space: voxels of the image.
            box: inside the image; the result depends on the box only by rounding.
        """
        leading = _leading(space, self.backbone)
        strides = [1] * leading + self._strides()
        sigmas = [0.0] * leading + [self.surround / stride for stride in self._strides()]
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
        found = self._encoded(read, covers, self._window(space))
        if self.surround:
            found = surround.joined(found, surround.blurred(found, sigmas))
        for axis, (stride, span) in enumerate(zip(strides, spans, strict=True)):
            if stride > 1:
                found = _interpolated(found, axis, box, first=span[0], stride=stride)
            else:
                found = found.narrow(axis, box.start[axis] - span[0], box.shape[axis])
        return found

    def _around(
        self, sigmas: Sequence[float], strides: Sequence[int], box: Box, space: Sequence[int]
    ) -> Box:
        """The box with everything that its vectors' means depend on."""
        if not self.surround:
            return box
        grown = [
            (surround.reach(sigma) + 1) * stride if sigma else 0
            for sigma, stride in zip(sigmas, strides, strict=True)
        ]
        return box.grow(tuple(grown)).clip(Box.of(space))

    def windows(self, space: Sequence[int]) -> int:
        """Windows that describe an image."""
        return prod(len(cover.starts) for cover in self._covers(space))

    @torch.inference_mode()
    def some(
        self, read: Read, space: Sequence[int], numbers: Int64[np.ndarray, " n"]
    ) -> Float32[np.ndarray, "m d"]:
        """Vectors that single windows give, a few for each: what a sample costs least by.

        Args:
            read: gives network input of any box, see ``pad_reads``.
            space: voxels of the image.
            numbers: of windows, below ``windows(space)``.
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
            tokens = self._surrounded(run(torch.from_numpy(np.stack(parts)).to(self.device)))
            tokens = tokens.cpu().numpy()
            rows, columns, _ = _wanted(covers, chosen, grids, [cover.count for cover in covers])
            found.append(tokens[rows, columns])
        return np.concatenate(found)

    def _surrounded(self, tokens: Float32[Tensor, "b n d"]) -> Tensor:
        """Tokens of windows with the means around them, as far as their window reaches."""
        if not self.surround:
            return tokens
        found = tokens.unflatten(1, self.backbone.grid)
        sigmas = [0.0, *(self.surround / patch for patch in self.backbone.patch)]
        return surround.joined(found, surround.blurred(found, sigmas)).flatten(1, -2)

    def _covers(self, space: Sequence[int]) -> list[Cover]:
        """Windows of a whole image along every axis."""
        leading = _leading(space, self.backbone)
        covers = [_plain(0, length) for length in space[:leading]]
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
            Tokens(patch, grid, self.centre or _central(grid, share))
            for patch, grid in zip(self.backbone.patch, self.backbone.grid, strict=True)
        ]

    def _cover(self, length: int, tokens: Tokens, stride: int, last: bool) -> Cover:  # noqa: FBT001
        if self.compat == "official":
            return official(length, tokens, last_axis=last)
        return aligned(length, tokens, stride)

    def _encoded(self, read: Read, covers: list[Cover], window: tuple[int, ...]) -> Tensor:
        """Vectors at the places of ``covers``; zeros where none of their windows gives one."""
        place = self.device
        shape = tuple(cover.count for cover in covers)
        result = torch.zeros((prod(shape), self.backbone.dim), device=place)
        counts = tuple(len(cover.starts) for cover in covers)
        if prod(counts) == 0:
            return result.unflatten(0, shape)
        corner = [int(cover.starts.min()) for cover in covers]
        end = [
            int(cover.starts.max()) + length for cover, length in zip(covers, window, strict=True)
        ]
        image = torch.from_numpy(read(Box(tuple(corner), tuple(end)))).to(place)
        grids = (*(1 for _ in range(self._sections(covers))), *self.backbone.grid)
        run = Halving(self._forward)
        size = self._batch_size(place)
        for first in range(0, prod(counts), size):
            chosen = np.unravel_index(np.arange(first, min(first + size, prod(counts))), counts)
            starts = [
                cover.starts[number] - low
                for cover, number, low in zip(covers, chosen, corner, strict=True)
            ]
            batch = _windows(image, starts, window)
            tokens = run(batch[(slice(None), slice(None), *(0,) * self._sections(covers))])
            rows, columns, places = _wanted(covers, chosen, grids, shape)
            result[torch.from_numpy(places).to(place)] = tokens[
                torch.from_numpy(rows).to(place), torch.from_numpy(columns).to(place)
            ]
        return result.unflatten(0, shape)

    def _sections(self, covers: Sequence[Cover]) -> int:
        return len(covers) - self.backbone.ndim

    def _forward(self, windows: Float[Tensor, "b c *space"]) -> Float32[Tensor, "b n d"]:
        """Tokens of windows in C order, of each window alone or of its quarter turns."""
        if not self.turns:
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
        place = windows.device
        dtype = arithmetic(self.precision, place)
        with torch.autocast(place.type, dtype or torch.bfloat16, enabled=dtype is not None):
            tokens = self.backbone.encode(self.backbone.embed(windows).values)
        return tokens[:, 1:].float()

    def _batch_size(self, place: torch.device) -> int:
        if self.batch_size is not None:
            return self.batch_size
        tokens = _CPU_TOKENS if place.type == "cpu" else _GPU_TOKENS
        return max(1, tokens // prod(self.backbone.grid))


def features(
    dense: Dense, image: Float32[np.ndarray, "c *space"]
) -> Float32[np.ndarray, "d *space"]:
    """All vectors of an image in memory, which is network input already."""
    space = image.shape[1:]
    read = pad_reads(lambda box: image[:, *box.slices], space, mode=dense.pad)
    result = np.empty((dense.dim, *space), np.float32)
    for box in dense.blocks(space):
        result[:, *box.slices] = dense.vectors(read, space, box).movedim(-1, 0).cpu().numpy()
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
    centre = max(1, grid // share)
    return centre + (grid - centre) % 2


def _plain(start: int, stop: int) -> Cover:
    """Sections, each an image of its own."""
    count = stop - start
    zeros = np.zeros((count, 1), np.int64)
    return Cover(np.arange(start, stop), zeros, np.arange(count)[:, None], count)


def _span(length: int, start: int, stop: int, stride: int) -> tuple[int, int]:
    """Places whose vectors are needed for voxels ``[start, stop)``."""
    if stride == 1:
        return start, stop
    low = (start + 0.5) / stride - 0.5
    high = (stop - 0.5) / stride - 0.5
    return max(0, int(np.floor(low))), min(ceil(length / stride), int(np.floor(high)) + 2)


def _interpolated(values: Tensor, axis: int, box: Box, *, first: int, stride: int) -> Tensor:
    """Vectors of all voxels of ``box`` along an axis, linear between places ``stride`` apart."""
    voxels = torch.arange(box.start[axis], box.stop[axis], device=values.device)
    where = ((voxels + 0.5) / stride - 0.5 - first).clamp(0, values.shape[axis] - 1)
    low = where.floor().long()
    high = (low + 1).clamp(max=values.shape[axis] - 1)
    weight = (where - low).reshape([-1 if i == axis else 1 for i in range(values.ndim)])
    return torch.lerp(values.index_select(axis, low), values.index_select(axis, high), weight)


def _windows(image: Tensor, starts: Sequence[np.ndarray], window: Sequence[int]) -> Tensor:
    """Windows ``(B, C, *window)`` of an image ``(C, *space)`` that begin at ``starts``."""
    axes = len(window)
    index: list[Tensor] = []
    for axis, (first, length) in enumerate(zip(starts, window, strict=True)):
        along = torch.from_numpy(first[:, None] + np.arange(length)).to(image.device)
        shape = [len(first), *(length if other == axis else 1 for other in range(axes))]
        index.append(along.reshape(shape))
    return image[(slice(None), *index)].transpose(0, 1)


def _wanted(
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
