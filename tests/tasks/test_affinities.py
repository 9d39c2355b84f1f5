"""The task: loss, gradient, borders, decoding, wrong requests."""

import numpy as np
import pytest
import torch

from unmask.errors import RecipeError
from unmask.tasks.affinities import Affinities
from unmask.tasks.offsets import pairs_of


def labels_of(ndim):
    labels = np.zeros((6, 12, 14)[-ndim:], np.int64)
    labels[..., :6] = 1
    labels[..., 7:] = 9
    return labels


def targets(task, labels):
    target = task.encode(labels, None)
    return torch.from_numpy(target.values)[None], torch.from_numpy(target.weight)[None]


def perfect(task, labels):
    """Logits that say exactly which pairs belong together."""
    values, weight = targets(task, labels)
    logits = torch.full((1, task.channels(), *labels.shape), -20.0)
    for channel, offset in enumerate(task._offsets):
        here = tuple(slice(max(0, -step), None) for step in offset)
        same, _ = pairs_of(values, weight, offset, apart=True)
        logits[:, channel][(..., *here)] = torch.where(same, 20.0, -20.0)
    return logits


@pytest.mark.parametrize("ndim", [2, 3])
def test_perfect_logits(ndim):
    offsets = tuple(
        tuple(-far * (axis == a) for axis in range(ndim)) for far in (1, 3) for a in range(ndim)
    )
    task = Affinities(ndim=ndim, offsets=offsets)
    labels = labels_of(ndim)
    logits = perfect(task, labels)
    assert task.loss(logits, *targets(task, labels)) < 1e-3
    found = task.decode(task.activate(logits)[0].numpy(), None)
    for name in (1, 9):
        assert len(np.unique(found[labels == name])) == 1
    assert found[labels == 1][0] != found[labels == 9][0]


@pytest.mark.parametrize("dice", [0.0, 0.5, 1.0])
def test_gradient_is_that_of_finite_differences(dice, monkeypatch):
    task = Affinities(ndim=2, offsets=((-1, 0), (0, -2)), dice=dice, foreground=True)
    values, weight = targets(task, labels_of(2)[:4, 4:9])
    # Float64 would be rounded by the loss itself
    monkeypatch.setattr(torch.Tensor, "float", lambda tensor: tensor.double())
    drawn = torch.randn(1, 3, 4, 5, generator=torch.Generator().manual_seed(0))
    logits = drawn.double().requires_grad_()
    assert torch.autograd.gradcheck(lambda x: task.loss(x, values, weight), logits)


@pytest.mark.parametrize("background", ["apart", "object"])
@pytest.mark.parametrize("ids", [[0], [70_000], [0, 70_000, 70_001]])
@pytest.mark.parametrize("ndim", [2, 3])
def test_images_of_few_ids(background, ids, ndim):
    task = Affinities(ndim=ndim, background=background, foreground=True)
    labels = np.resize(np.repeat(ids, 5), (6, 12, 15)[-ndim:])
    logits = torch.zeros(1, task.channels(), *labels.shape, requires_grad=True)
    loss = task.loss(logits, *targets(task, labels))
    loss.backward()
    assert torch.isfinite(loss)
    assert logits.grad is not None
    assert torch.isfinite(logits.grad).all()


def test_borders_repeat_the_nearest_pair():
    task = Affinities(ndim=2, offsets=((-1, 0), (0, -3)), foreground=True)
    logits = torch.randn(1, 3, 5, 6)
    scores = task.activate(logits)
    assert torch.equal(scores[:, 0, 0], scores[:, 0, 1])
    assert torch.equal(scores[:, 1, :, 0], scores[:, 1, :, 3])
    torch.testing.assert_close(scores[:, 2], logits[:, 2].sigmoid())


@pytest.mark.parametrize(
    "options",
    [
        {"offsets": [[1, 2, 3]]},
        {"background": "sky"},
        {"widen": [-1, 0]},
        {"dice": 2.0},
        {"decoding": {"strides": 3}},
        {"decoding": {"name": "waterz", "threshold": 3}},
        {"reach": 0},
    ],
    ids=str,
)
def test_options_out_of_range(options):
    with pytest.raises(RecipeError, match="task affinities"):
        Affinities(ndim=2, **options)
