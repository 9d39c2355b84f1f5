"""Affinities of embeddings: values, gradients, memory of nothing."""

import numpy as np
import pytest
import torch

from unmask.space.random import generator
from unmask.tasks import cosine
from unmask.tasks.cosine import Rule, affinities, pair_loss

OFFSETS = {2: [(-1, 0), (0, -1), (-2, 3)], 3: [(-1, 0, 0), (0, -1, 0), (0, 0, -1), (-1, 2, -3)]}
SPACES = {2: (6, 7), 3: (3, 5, 6)}
RULES = [
    Rule(),
    Rule(apart=False),
    Rule(border=0.0, scale=3.0),
    Rule(border=1.0),
    Rule(border="object"),
]


def batch(ndim, *, dims=4, ids=3, space=None):
    rng = generator(0, "cosine", ndim)
    space = SPACES[ndim] if space is None else space
    shape = (2, dims, *space)
    values = torch.from_numpy(rng.integers(0, ids, (2, 1, *space)).astype(np.float64))
    weight = torch.from_numpy((rng.random(values.shape) < 0.8).astype(np.float64))
    one, two = (torch.from_numpy(rng.standard_normal(shape)) for _ in range(2))
    return one.requires_grad_(), two, values, weight


@pytest.mark.parametrize("ndim", [2, 3])
def test_affinities_are_cosines(ndim):
    embedding, _, _, _ = batch(ndim)
    found = affinities(embedding.detach(), OFFSETS[ndim])
    for channel, offset in enumerate(OFFSETS[ndim]):
        moved = torch.roll(embedding, [-step for step in offset], list(range(2, ndim + 2)))
        expected = torch.nn.functional.cosine_similarity(embedding, moved, dim=1)
        inside = tuple(
            slice(max(0, -d), n - max(0, d)) for d, n in zip(offset, SPACES[ndim], strict=True)
        )
        torch.testing.assert_close(found[:, channel][(..., *inside)], expected[(..., *inside)])


def test_borders():
    embedding = batch(2)[0].detach()
    found = affinities(embedding, [(-1, 0), (0, -3), (-9, 0)])
    assert torch.equal(found[:, 0, 0], found[:, 0, 1])
    assert torch.equal(found[:, 1, :, 0], found[:, 1, :, 3])
    assert not found[:, 2].any()
    zeros = affinities(embedding, [(-1, 0), (0, -3)], zero_far=True)
    assert torch.equal(zeros[:, 0], found[:, 0])
    assert not zeros[:, 1, :, :3].any()
    assert torch.equal(zeros[:, 1, :, 3:], found[:, 1, :, 3:])


@pytest.mark.parametrize("rule", RULES, ids=str)
@pytest.mark.parametrize("ndim", [2, 3])
def test_gradients_are_those_of_finite_differences(ndim, rule):
    one, two, values, weight = batch(ndim, dims=2, space={2: (3, 4), 3: (2, 3, 4)}[ndim])

    def within(embedding):
        return pair_loss(embedding, values, weight, offsets=OFFSETS[ndim], rule=rule)

    def across(embedding):
        return pair_loss(embedding, values, weight, offsets=OFFSETS[ndim], rule=rule, other=two)

    assert torch.autograd.gradcheck(within, one)
    assert torch.autograd.gradcheck(across, one)
    assert within(one) != across(one)


@pytest.mark.parametrize("ndim", [2, 3])
def test_kernels_and_torch_agree(ndim, monkeypatch):
    one, two, values, weight = batch(ndim)

    def found():
        results = [affinities(one, OFFSETS[ndim])]
        for other in (None, two):
            given = {"offsets": OFFSETS[ndim], "rule": Rule(), "other": other}
            loss = pair_loss(one, values, weight, **given)
            results += [loss, *torch.autograd.grad(loss, one)]
        return results

    kernels = found()
    monkeypatch.setattr(cosine, "_has_kernels", lambda tensor: False)
    for expected, result in zip(kernels, found(), strict=True):
        torch.testing.assert_close(result, expected)


def test_channels_last_images_are_taken():
    one, _, values, weight = batch(2)
    given = {"offsets": OFFSETS[2], "rule": Rule()}
    expected = pair_loss(one, values, weight, **given)
    moved = one.contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(pair_loss(moved, values, weight, **given), expected)


def test_the_other_view_has_no_gradient():
    one, two, values, weight = batch(2)
    two.requires_grad_()
    loss = pair_loss(one, values, weight, offsets=OFFSETS[2], rule=Rule(), other=two)
    first, second = torch.autograd.grad(loss, [one, two], allow_unused=True)
    assert first.abs().sum() > 0
    assert second is None


def test_perfect_embeddings_have_no_loss():
    labels = torch.tensor([[[[1.0, 1, 2], [1, 3, 2]]]])
    embedding = torch.nn.functional.one_hot(labels[:, 0].long(), 4).movedim(-1, 1) * 5.0
    given = (labels, torch.ones_like(labels))
    assert pair_loss(embedding, *given, offsets=[(-1, 0), (0, -1)], rule=Rule()) < 1e-12


def test_rare_pairs_weigh_as_much_as_frequent_ones():
    labels = torch.ones(1, 1, 1, 11)
    labels[..., 10] = 2
    same = torch.ones(1, 2, 1, 11)
    given = (labels, torch.ones_like(labels))
    loss = pair_loss(same, *given, offsets=[(0, -1)], rule=Rule())
    # One pair of ten is apart: its squared error 1 weighs 9
    torch.testing.assert_close(loss, torch.tensor(0.9))


def test_vectors_of_no_length_have_no_gradient():
    embedding = torch.zeros(1, 3, 4, 4, requires_grad=True)
    values = torch.arange(16.0).view(1, 1, 4, 4)
    loss = pair_loss(embedding, values, torch.ones_like(values), offsets=[(-1, 0)], rule=Rule())
    loss.backward()
    assert torch.isfinite(loss)
    assert embedding.grad is not None
    assert not embedding.grad.any()
