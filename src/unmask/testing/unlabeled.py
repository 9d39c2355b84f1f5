"""Contract of methods that learn from unlabeled images during training."""

from __future__ import annotations

from typing import Any, ClassVar

import pytest
import torch
from torch import nn

from unmask.lookup import Choice, build
from unmask.models import nd
from unmask.models.decoder_unet import UNetDecoder
from unmask.models.resunet import ResUNet
from unmask.semisupervised import UNLABELED
from unmask.tasks import TASKS
from unmask.tasks.complete import complete
from unmask.tasks.segmenter import Segmenter
from unmask.testing.base import Contract

CROPS = {2: (16, 24), 3: (8, 8, 16)}


@pytest.mark.parametrize("ndim", CROPS)
class UnlabeledContract(Contract):
    """Loss, chance and state of a method for unlabeled images, in 2D and 3D.

    Attributes:
        tasks: names of tasks that it is tried with.
    """

    tasks: ClassVar[tuple[str, ...]] = (
        "semantic",
        "flows",
        "affinities",
        "embeddings",
        "boundary",
    )

    def build(self, ndim: int, task: str) -> tuple[Segmenter, Any]:
        """A small segmenter of seed 0 and the method that trains it."""
        with torch.random.fork_rng():
            torch.manual_seed(0)
            backbone = ResUNet(ndim, 2, width=4, depth=2)
            decoder = UNetDecoder(ndim, backbone.channels, backbone.strides)
            chosen = complete(build(Choice(task), TASKS, "task", ndim=ndim))
            head = nd.conv(ndim, decoder.width, chosen.channels(), kernel=1)
            segmenter = Segmenter(backbone, decoder, head, task=chosen, ndim=ndim)
            given = {"segmenter": segmenter, "ndim": ndim, "steps": 10}
            return segmenter, self.build_from(UNLABELED, "unlabeled", **given)

    def crops(self, ndim: int) -> torch.Tensor:
        """Normalized crops."""
        return torch.randn(2, 2, *CROPS[ndim], generator=torch.Generator().manual_seed(1))

    def test_loss_can_be_learned_from_for_every_task(self, ndim: int) -> None:
        """A finite scalar whose gradients reach the backbone, and no weight of a teacher."""
        for task in self.tasks:
            segmenter, method = self.build(ndim, task)
            kind: object = method
            assert isinstance(kind, nn.Module)
            # The segmenter's own weights must not be kept a second time.
            own = {id(weight) for weight in segmenter.parameters()}
            assert not own & {id(weight) for weight in method.parameters()}
            method.begin(segmenter)
            loss = method.loss(segmenter, self.crops(ndim), 3)
            assert loss.shape == ()
            assert torch.isfinite(loss)
            if loss.requires_grad:
                loss.backward()
            reached = [weight.grad is not None for weight in segmenter.backbone.parameters()]
            assert any(reached), task
            frozen = [weight for weight in method.parameters() if not weight.requires_grad]
            assert all(weight.grad is None for weight in frozen)

    def test_chance_comes_from_the_seed(self, ndim: int) -> None:
        """The same seed gives the same loss, whatever was drawn before."""
        segmenter, method = self.build(ndim, self.tasks[0])
        segmenter.eval()
        method.begin(segmenter)
        with torch.no_grad():
            first = method.loss(segmenter, self.crops(ndim), 3)
            torch.manual_seed(99)
            again, other = (method.loss(segmenter, self.crops(ndim), seed) for seed in (3, 4))
        assert first == again
        assert first != other

    def test_state_is_in_weights_and_buffers(self, ndim: int) -> None:
        """A copy with the same state dict continues exactly like the original, as in a resume."""
        segmenter, method = self.build(ndim, self.tasks[0])
        method.begin(segmenter)
        with torch.no_grad():
            for weight in segmenter.parameters():
                weight.add_(0.01)
        method.after_update(segmenter)
        other_segmenter, other = self.build(ndim, self.tasks[0])
        other_segmenter.load_state_dict(segmenter.state_dict())
        other.load_state_dict(method.state_dict())
        for one, own in ((segmenter, method), (other_segmenter, other)):
            one.eval()
            own.after_update(one)
        with torch.no_grad():
            losses = [
                own.loss(one, self.crops(ndim), 3)
                for one, own in ((segmenter, method), (other_segmenter, other))
            ]
        assert losses[0] == losses[1]

    def test_constant_crops(self, ndim: int) -> None:
        """Empty crops have a finite loss."""
        segmenter, method = self.build(ndim, self.tasks[0])
        method.begin(segmenter)
        empty = torch.zeros(2, 2, *CROPS[ndim])
        assert torch.isfinite(method.loss(segmenter, empty, 0))
