"""Contract of pre-training methods: what the loop and fine-tuning rely on."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import pytest
import torch

from unmask.errors import RecipeError
from unmask.models import BACKBONES
from unmask.models.base import Objective
from unmask.pretraining import METHODS
from unmask.space.batch import Batch
from unmask.testing.base import Contract, build_part

CROPS = {2: (16, 24), 3: (8, 8, 16)}
# Tried in this order where the contract names none.
_BACKBONES = ("vit", "resunet")


def _batch(ndim: int, *, seed: int = 3) -> Batch:
    image = torch.randn(2, 2, *CROPS[ndim], generator=torch.Generator().manual_seed(1))
    return Batch(image, seed=seed)


@pytest.mark.parametrize("ndim", CROPS)
class MethodContract(Contract):
    """Steps, chance, weights and pictures of a pre-training method, in 2D and 3D.

    Attributes:
        backbone: that the method trains, named as ``part``; None: the first one of unmask that it
            takes, a transformer or a residual network.
    """

    backbone: ClassVar[Any] = None

    def build(self, ndim: int) -> Objective:
        """The method with a small backbone and weights of seed 0."""
        refusals: list[str] = []
        names = _BACKBONES if self.backbone is None else (self.backbone,)
        for name in names:
            try:
                return self._with_backbone(name, ndim)
            except RecipeError as error:
                refusals.append(str(error))
        pytest.fail("\n".join(refusals))

    def _with_backbone(self, name: Any, ndim: int) -> Objective:
        given = {"ndim": ndim, "in_channels": 2, "image": CROPS[ndim]}
        small = {"patch": [4] * ndim, "dim": 24, "depth": 2, "heads": 2} if name == "vit" else None
        with torch.random.fork_rng():
            torch.manual_seed(0)
            backbone = build_part(name, small, BACKBONES, "backbone", **given)
            return self.build_from(METHODS, "method", backbone=backbone, steps=10, **given)

    def test_protocol(self, ndim: int) -> None:
        """The members that the loop reads; the backbone's weights have the prefix backbone."""
        method = self.build(ndim)
        # From Python 3.12 on, isinstance with a protocol does not see the modules of a module.
        assert isinstance(method.backbone, torch.nn.Module)
        assert all(callable(getattr(method, name)) for name in ("step", "reconstruct"))
        assert any(key.startswith("backbone.") for key in method.state_dict())

    def test_step_reaches_the_backbone(self, ndim: int) -> None:
        """A finite loss, from which every weight of the backbone learns."""
        method = self.build(ndim)
        step = method.step(_batch(ndim))
        assert step.loss.shape == ()
        assert torch.isfinite(step.loss)
        step.loss.backward()
        backbone: Any = method.backbone
        for name, parameter in backbone.named_parameters():
            if parameter.requires_grad:
                assert parameter.grad is not None, name
                assert parameter.grad.abs().sum() > 0, name
        assert all(not value.requires_grad for value in step.logs.values())

    def test_weights_without_a_gradient_are_announced(self, ndim: int) -> None:
        """Several processes wait for gradients that never come, unless they are informed."""
        method = self.build(ndim)
        if not method.leaves_weights_out((2, *CROPS[ndim])):
            method.step(_batch(ndim)).loss.backward()
            learning = [p for p in method.parameters() if p.requires_grad]
            assert all(parameter.grad is not None for parameter in learning)

    def test_chance_comes_from_the_batch(self, ndim: int) -> None:
        """The same batch gives the same loss, another seed another one."""
        method = self.build(ndim).eval()
        with torch.no_grad():
            first = method.step(_batch(ndim)).loss
            torch.manual_seed(99)
            again = method.step(_batch(ndim)).loss
            other = method.step(_batch(ndim, seed=4)).loss
        assert first == again
        assert first != other

    def test_weights_survive_a_round_trip(self, ndim: int) -> None:
        """The state dict holds everything that the loss depends on."""
        method, other = self.build(ndim).eval(), self.build(ndim).eval()
        with torch.no_grad():
            for parameter in method.parameters():
                parameter.add_(0.01)
            other.load_state_dict(method.state_dict(), strict=True)
            assert method.step(_batch(ndim)).loss == other.step(_batch(ndim)).loss

    def test_pictures(self, ndim: int) -> None:
        """Pictures for people have the shape of the batch; a method may have none."""
        for picture in self.build(ndim).reconstruct(_batch(ndim)).values():
            assert np.asarray(picture).shape == (2, 2, *CROPS[ndim])

    def test_constant_image(self, ndim: int) -> None:
        """An empty crop has a finite loss."""
        step = self.build(ndim).step(Batch(torch.zeros(2, 2, *CROPS[ndim]), seed=0))
        assert torch.isfinite(step.loss)
