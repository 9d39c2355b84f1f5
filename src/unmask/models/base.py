"""Contracts of networks and objectives; any number of spatial axes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, TypeVar, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from unmask.errors import RecipeError
from unmask.space.batch import Batch


@runtime_checkable
class Backbone(Protocol):
    """From an image to features, fine to coarse.

    ``features[i]`` has ``channels[i]`` channels and ``ceil(size / strides[i])`` voxels per axis.
    The constructor takes ``ndim`` and ``in_channels`` and its own options.
    """

    ndim: int
    in_channels: int
    channels: Sequence[int]
    strides: Sequence[tuple[int, ...]]

    def forward(self, image: Float[Tensor, "b c *space"]) -> list[Tensor]:
        """Features, fine to coarse; any image size of at least 1 per axis (padded inside)."""
        ...


@dataclass(frozen=True)
class Tokens:
    """Patch tokens with positions added, before the encoder; no class token.

    Attributes:
        values: ``(B, N, D)``, N = product of ``grid``, C order.
        grid: tokens along every axis.
    """

    values: Float[Tensor, "b n d"]
    grid: tuple[int, ...]


@runtime_checkable
class TokenBackbone(Backbone, Protocol):
    """A backbone whose encoder runs on any subset of its patch tokens."""

    patch: tuple[int, ...]
    dim: int
    grid: tuple[int, ...]  # tokens along every axis that the position table is made for

    def embed(self, image: Float[Tensor, "b c *space"]) -> Tokens:
        """Patch tokens with their positions; sizes must be multiples of ``patch``."""
        ...

    def encode(
        self, tokens: Float[Tensor, "b n d"], keep: Int[Tensor, "b k"] | None = None
    ) -> Float[Tensor, "b m d"]:
        """Normed outputs: the class token, then one per kept token in the order of ``keep``."""
        ...


@runtime_checkable
class Decoder(Protocol):
    """From features to ``width`` channels at the size of the image, or to one voxel for all of it.

    The constructor takes ``ndim``, ``channels`` and ``strides`` of the backbone, and its options.
    """

    width: int

    def forward(
        self, features: list[Tensor], size: Sequence[int]
    ) -> Float[Tensor, "b width *space"]:
        """One feature vector per voxel of an image of ``size``; or one, with axes of length 1."""
        ...


@dataclass(frozen=True)
class Step:
    """Result of one forward pass of an objective.

    Attributes:
        loss: scalar to minimize.
        logs: detached scalars for the journal.
    """

    loss: Tensor
    logs: Mapping[str, Tensor] = field(default_factory=dict)


_Own = TypeVar("_Own", bound="Objective")


class Objective(nn.Module):
    """What the training loop optimizes: a pre-training method or a segmenter.

    Attributes:
        frozen: names of parts that do not learn, see ``freeze``.
        keeps_statistics: whether batch norms keep their statistics, see ``keep_statistics``.
    """

    frozen: tuple[str, ...] = ()
    keeps_statistics: bool = False

    def freeze(self, names: Sequence[str]) -> None:
        """Parts that keep their weights from now on; norms keep their statistics, nothing drops.

        Raises:
            AttributeError: no part of that name.
        """
        for name in names:
            self.get_submodule(name).requires_grad_(requires_grad=False)
        self.frozen = tuple(names)
        self.train(self.training)

    def keep_statistics(self) -> None:
        """Batch norms use the mean and variance that they have, and change them no more.

        A few crops of one image give statistics that hold for no other image.

        Raises:
            RecipeError: there is no batch norm.
        """
        if not any(isinstance(module, _BatchNorm) for module in self.modules()):
            raise RecipeError(
                "train.freeze_statistics: expected a network with batch norms, found none. Norms "
                "of other kinds keep no statistics; leave the field out."
            )
        self.keeps_statistics = True
        self.train(self.training)

    # A type variable, because beartype refuses Self outside of classes that it decorates
    def train(self: _Own, mode: bool = True) -> _Own:  # noqa: FBT001, FBT002 - torch's signature
        """Training mode, except for what is frozen."""
        super().train(mode)
        for name in self.frozen:
            self.get_submodule(name).eval()
        if self.keeps_statistics:
            for module in self.modules():
                if isinstance(module, _BatchNorm):
                    module.eval()
        return self

    @property
    def finished(self) -> nn.Module:
        """What the model file of a run holds; the objective itself, unless it has helpers."""
        return self

    def step(self, batch: Batch) -> Step:  # noqa: ARG002 - the contract
        """Loss of one batch."""
        raise TypeError(f"{type(self).__name__} does not define step(batch).")

    def forward(self, batch: Batch) -> Step:
        """The same as ``step``; DDP and FSDP hook the call of the module."""
        return self.step(batch)

    @torch.no_grad()
    def after_update(self) -> None:
        """Called after every optimizer update; teachers move here."""

    def leaves_weights_out(self, shape: Sequence[int]) -> bool:  # noqa: ARG002 - the contract
        """Whether a step may give some weights no gradient; processes then look for them.

        Args:
            shape: ``(C, *space)`` of a crop.
        """
        return True

    def reconstruct(self, batch: Batch) -> Mapping[str, Tensor]:  # noqa: ARG002 - the contract
        """Pictures for people, by name, each ``(B, C, *space)``; kept where a run is validated."""
        return {}

    def health(self, logs: Mapping[str, float]) -> str | None:  # noqa: ARG002 - the contract
        """A warning that says what to change, from the means of a journal line; None: all well."""
        return None
