"""Every task, in 2D and 3D: what the training loop and the predictor rely on."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from unmask import lookup
from unmask.lookup import Choice
from unmask.space.random import generator
from unmask.tasks import TASKS
from unmask.tasks.base import Target, Task

SPACES = {2: (20, 17), 3: (7, 12, 11)}
# Options that are needed to be built; a task that is not listed is built with its defaults.
OPTIONS: dict[str, dict[str, object]] = {}
IGNORED = 9
CASES = [(name, ndim) for name in TASKS for ndim in SPACES]


def build(name: str, ndim: int, **given: object) -> Task:
    choice = Choice(name, OPTIONS.get(name, {}))
    return lookup.build(choice, TASKS, "task", ndim=ndim, **given)


def labels_of(ndim: int) -> np.ndarray:
    labels = np.zeros(SPACES[ndim], np.int64)
    labels[tuple(slice(1, n // 2) for n in SPACES[ndim])] = 1
    return labels


def encoded(task: Task, labels: np.ndarray) -> tuple[Target, torch.Tensor, torch.Tensor]:
    target = task.encode(labels, None)
    return target, torch.from_numpy(target.values)[None], torch.from_numpy(target.weight)[None]


def logits_of(task: Task, ndim: int) -> torch.Tensor:
    drawn = generator(0, "logits").standard_normal((1, task.channels(), *SPACES[ndim]))
    return torch.from_numpy(drawn.astype(np.float32)).requires_grad_()


@pytest.mark.parametrize(("name", "ndim"), CASES)
class TestContract:
    def test_facts(self, name, ndim):
        task = build(name, ndim)
        assert isinstance(task, Task)
        assert task.context >= 0
        assert task.channels() >= 1
        assert task.metrics

    def test_targets(self, name, ndim):
        labels = labels_of(ndim)
        before = labels.copy()
        target, _, _ = encoded(build(name, ndim), labels)
        assert target.values.dtype == target.weight.dtype == np.float32
        assert target.values.shape[1:] == target.weight.shape[1:] == labels.shape
        assert len(target.weight) in (1, len(target.values))
        assert np.isfinite(target.values).all()
        assert (labels == before).all()

    @pytest.mark.parametrize("value", [0, 1])
    def test_images_of_one_value_have_a_loss(self, name, ndim, value):
        task = build(name, ndim)
        _, values, weight = encoded(task, np.full(SPACES[ndim], value, np.int64))
        assert torch.isfinite(task.loss(logits_of(task, ndim), values, weight))

    def test_a_row_of_every_label_value_can_be_encoded(self, name, ndim):
        """The question of the data pipeline whether a task knows the values of a file."""
        row = np.array([0, 1]).reshape((1,) * (ndim - 1) + (-1,))
        assert build(name, ndim).encode(row, None).values.shape[1:] == row.shape

    def test_loss_can_be_learned_from(self, name, ndim):
        task = build(name, ndim)
        _, values, weight = encoded(task, labels_of(ndim))
        logits = logits_of(task, ndim)
        loss = task.loss(logits, values, weight)
        assert loss.shape == ()
        assert loss.dtype == torch.float32
        (gradient,) = torch.autograd.grad(loss, logits)
        assert torch.isfinite(gradient).all()
        assert gradient.abs().sum() > 0
        after = task.loss((logits - 0.1 * gradient / gradient.norm()).detach(), values, weight)
        assert after < loss

    def test_loss_does_not_change_what_it_is_given(self, name, ndim):
        task = build(name, ndim)
        _, values, weight = encoded(task, labels_of(ndim))
        given = [tensor.clone() for tensor in (values, weight)]
        task.loss(logits_of(task, ndim), values, weight)
        assert torch.equal(values, given[0])
        assert torch.equal(weight, given[1])

    def test_ignored_voxels_have_no_influence(self, name, ndim):
        task = build(name, ndim, ignore_label=IGNORED)
        labels = labels_of(ndim)
        ignored = np.zeros(labels.shape, bool)
        ignored[..., -4:] = True
        labels[ignored] = IGNORED
        target, values, weight = encoded(task, labels)
        assert (target.weight[:, ignored] == 0).all()
        assert (target.weight[:, labels == 1] > 0).all()
        logits = logits_of(task, ndim)
        loss = task.loss(logits, values, weight)
        (gradient,) = torch.autograd.grad(loss, logits)
        assert (gradient[0][:, torch.from_numpy(ignored)] == 0).all()
        other = torch.where(torch.from_numpy(ignored), logits.detach() + 5, logits.detach())
        torch.testing.assert_close(task.loss(other, values, weight), loss.detach())

    def test_nothing_known_is_no_loss_to_learn_from(self, name, ndim):
        task = build(name, ndim, ignore_label=IGNORED)
        _, values, weight = encoded(task, np.full(SPACES[ndim], IGNORED, np.int64))
        logits = logits_of(task, ndim)
        loss = task.loss(logits, values, weight)
        assert torch.isfinite(loss)
        (gradient,) = torch.autograd.grad(loss, logits)
        assert (gradient == 0).all()

    def test_flips_of_scores(self, name, ndim):
        task = build(name, ndim)
        scores = task.activate(logits_of(task, ndim)).detach()
        assert scores.dtype == torch.float32
        assert scores.shape[2:] == SPACES[ndim]
        before = scores.clone()
        for axis in range(ndim):
            flipped = task.flip(scores, axis)
            assert flipped.shape == scores.shape
            torch.testing.assert_close(task.flip(flipped, axis), scores)
            assert not torch.equal(flipped, scores)
        assert torch.equal(scores, before)

    def test_decoding(self, name, ndim):
        task = build(name, ndim)
        scores = task.activate(logits_of(task, ndim))[0].detach().numpy()
        before = scores.copy()
        labels = task.decode(scores, None)
        assert labels.shape == SPACES[ndim]
        assert labels.dtype.kind in "ui"
        assert labels.min() >= 0
        assert (scores == before).all()
        assert (task.decode(scores, None) == labels).all()
