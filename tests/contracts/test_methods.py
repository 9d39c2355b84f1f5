"""Every pre-training method, in 2D and 3D: what the loop and fine-tuning rely on."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from unmask import lookup
from unmask.lookup import Choice
from unmask.models import BACKBONES
from unmask.models.base import Objective
from unmask.pretraining import METHODS
from unmask.space.batch import Batch

CROPS = {2: (16, 24), 3: (8, 8, 16)}
# The backbone a method is tried with, and small options; by default a transformer.
BACKBONE: dict[str, Choice] = {"spark": Choice("resunet", {"width": 4, "depth": 3})}
OPTIONS: dict[str, dict[str, object]] = {
    "glmae": {
        "decoder_dim": 16,
        "decoder_depth": 1,
        "decoder_heads": 2,
        "hidden": 16,
        "width": 8,
        "prototypes": 32,
    },
    "mae": {"decoder_dim": 16, "decoder_depth": 1, "decoder_heads": 2},
}
CASES = [(name, ndim) for name in METHODS for ndim in CROPS]


def build(name: str, ndim: int) -> Objective:
    given = {"ndim": ndim, "in_channels": 2, "image": CROPS[ndim]}
    small = Choice("vit", {"patch": [4] * ndim, "dim": 24, "depth": 2, "heads": 2})
    with torch.random.fork_rng():
        torch.manual_seed(0)
        backbone = lookup.build(BACKBONE.get(name, small), BACKBONES, "backbone", **given)
        choice = Choice(name, OPTIONS.get(name, {}))
        return lookup.build(choice, METHODS, "method", backbone=backbone, **given)


def batch(ndim: int, *, seed: int = 3) -> Batch:
    image = torch.randn(2, 2, *CROPS[ndim], generator=torch.Generator().manual_seed(1))
    return Batch(image, seed=seed)


@pytest.mark.parametrize(("name", "ndim"), CASES)
class TestContract:
    def test_protocol(self, name, ndim):
        method = build(name, ndim)
        # From Python 3.12 on, isinstance with a protocol does not see the modules of a module.
        assert isinstance(method.backbone, torch.nn.Module)
        assert all(callable(getattr(method, name)) for name in ("step", "reconstruct"))
        assert any(key.startswith("backbone.") for key in method.state_dict())

    def test_step_reaches_the_backbone(self, name, ndim):
        method = build(name, ndim)
        step = method.step(batch(ndim))
        assert step.loss.shape == ()
        assert torch.isfinite(step.loss)
        step.loss.backward()
        learned = [
            parameter.grad is not None and bool(parameter.grad.abs().sum() > 0)
            for parameter in method.backbone.parameters()
            if parameter.requires_grad
        ]
        assert all(learned)
        assert all(not value.requires_grad for value in step.logs.values())

    def test_weights_without_a_gradient_are_announced(self, name, ndim):
        method = build(name, ndim)
        if not method.leaves_weights_out((2, *CROPS[ndim])):
            method.step(batch(ndim)).loss.backward()
            learning = [p for p in method.parameters() if p.requires_grad]
            assert all(parameter.grad is not None for parameter in learning)

    def test_chance_comes_from_the_batch(self, name, ndim):
        method = build(name, ndim).eval()
        with torch.no_grad():
            first = method.step(batch(ndim)).loss
            torch.manual_seed(99)
            again = method.step(batch(ndim)).loss
            other = method.step(batch(ndim, seed=4)).loss
        assert first == again
        assert first != other

    def test_weights_survive_a_round_trip(self, name, ndim):
        method, other = build(name, ndim).eval(), build(name, ndim).eval()
        with torch.no_grad():
            for parameter in method.parameters():
                parameter.add_(0.01)
            other.load_state_dict(method.state_dict(), strict=True)
            assert method.step(batch(ndim)).loss == other.step(batch(ndim)).loss

    def test_pictures(self, name, ndim):
        method = build(name, ndim)
        pictures = method.reconstruct(batch(ndim))
        assert {"original", "masked", "rebuilt"} <= set(pictures)
        for picture in pictures.values():
            assert np.asarray(picture).shape == (2, 2, *CROPS[ndim])

    def test_constant_image(self, name, ndim):
        step = build(name, ndim).step(Batch(torch.zeros(2, 2, *CROPS[ndim]), seed=0))
        assert torch.isfinite(step.loss)
