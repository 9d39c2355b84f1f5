"""Contract of tasks: what the training loop and the predictor rely on."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np
import pytest
import torch

from unmask.lookup import find
from unmask.space.random import generator
from unmask.tasks import TASKS
from unmask.tasks.base import Target, Task
from unmask.testing.base import Contract

SPACES = {2: (20, 17), 3: (7, 12, 11)}
IGNORED = 9


def _labels(ndim: int) -> np.ndarray:
    labels = np.zeros(SPACES[ndim], np.int64)
    labels[tuple(slice(1, n // 2) for n in SPACES[ndim])] = 1
    return labels


def _encode(task: Task, labels: np.ndarray) -> tuple[Target, torch.Tensor, torch.Tensor]:
    target = task.encode(labels, None)
    return target, torch.from_numpy(target.values)[None], torch.from_numpy(target.weight)[None]


def _logits(task: Task, ndim: int) -> torch.Tensor:
    drawn = generator(0, "logits").standard_normal((1, task.channels(), *SPACES[ndim]))
    return torch.from_numpy(drawn.astype(np.float32)).requires_grad_()


@pytest.mark.parametrize("ndim", SPACES)
class TaskContract(Contract):
    """Targets, loss, scores and decoding of a task, in 2D and 3D.

    A loss is finite, falls along its gradient, and does not depend on voxels of weight 0. Scores
    are float32, and flipping them twice changes nothing. Decoding gives unsigned ids. A task that
    takes ``ignore_label`` gives these voxels no weight.
    """

    def build(self, ndim: int, **given: Any) -> Task:
        """The task."""
        return self.build_from(TASKS, "task", ndim=ndim, **given)

    def build_ignoring(self, ndim: int) -> Task:
        """The task with voxels of unknown truth."""
        constructor = self.chosen if callable(self.chosen) else find(self.chosen, TASKS, "task")
        if "ignore_label" not in inspect.signature(constructor).parameters:
            pytest.skip("the task takes no ignore_label")
        return self.build(ndim, ignore_label=IGNORED)

    def test_facts(self, ndim: int) -> None:
        """The members that the builder reads."""
        task = self.build(ndim)
        assert isinstance(task, Task)
        assert task.context >= 0
        assert task.channels() >= 1
        assert task.metrics

    def test_targets(self, ndim: int) -> None:
        """Targets are finite float32 arrays of the size of the labels."""
        labels = _labels(ndim)
        before = labels.copy()
        target, _, _ = _encode(self.build(ndim), labels)
        assert target.values.dtype == target.weight.dtype == np.float32
        assert target.values.shape[1:] == target.weight.shape[1:] == labels.shape
        assert len(target.weight) in (1, len(target.values))
        assert np.isfinite(target.values).all()
        assert (labels == before).all()

    @pytest.mark.parametrize("value", [0, 1])
    def test_images_of_one_value_have_a_loss(self, ndim: int, value: int) -> None:
        """Crops without an object, and crops inside one."""
        task = self.build(ndim)
        _, values, weight = _encode(task, np.full(SPACES[ndim], value, np.int64))
        assert torch.isfinite(task.loss(_logits(task, ndim), values, weight))

    def test_a_row_of_every_label_value_can_be_encoded(self, ndim: int) -> None:
        """The data pipeline asks this way whether a task knows the values of a file."""
        row = np.array([0, 1]).reshape((1,) * (ndim - 1) + (-1,))
        assert self.build(ndim).encode(row, None).values.shape[1:] == row.shape

    def test_loss_can_be_learned_from(self, ndim: int) -> None:
        """A float32 scalar that falls along its gradient."""
        task = self.build(ndim)
        _, values, weight = _encode(task, _labels(ndim))
        logits = _logits(task, ndim)
        loss = task.loss(logits, values, weight)
        assert loss.shape == ()
        assert loss.dtype == torch.float32
        (gradient,) = torch.autograd.grad(loss, logits)
        assert torch.isfinite(gradient).all()
        assert gradient.abs().sum() > 0
        after = task.loss((logits - 0.1 * gradient / gradient.norm()).detach(), values, weight)
        assert after < loss

    def test_loss_does_not_change_its_inputs(self, ndim: int) -> None:
        """Deep supervision passes the same target to the loss again."""
        task = self.build(ndim)
        _, values, weight = _encode(task, _labels(ndim))
        before = [tensor.clone() for tensor in (values, weight)]
        task.loss(_logits(task, ndim), values, weight)
        assert torch.equal(values, before[0])
        assert torch.equal(weight, before[1])

    def test_ignored_voxels_have_no_influence(self, ndim: int) -> None:
        """Neither the loss nor its gradient depends on voxels of unknown truth."""
        task = self.build_ignoring(ndim)
        labels = _labels(ndim)
        ignored = np.zeros(labels.shape, bool)
        ignored[..., -4:] = True
        labels[ignored] = IGNORED
        target, values, weight = _encode(task, labels)
        assert (target.weight[:, ignored] == 0).all()
        assert (target.weight[:, labels == 1] > 0).all()
        logits = _logits(task, ndim)
        loss = task.loss(logits, values, weight)
        (gradient,) = torch.autograd.grad(loss, logits)
        assert (gradient[0][:, torch.from_numpy(ignored)] == 0).all()
        other = torch.where(torch.from_numpy(ignored), logits.detach() + 5, logits.detach())
        torch.testing.assert_close(task.loss(other, values, weight), loss.detach())

    def test_nothing_known_is_no_loss_to_learn_from(self, ndim: int) -> None:
        """A crop without known voxels has a finite loss without a gradient."""
        task = self.build_ignoring(ndim)
        _, values, weight = _encode(task, np.full(SPACES[ndim], IGNORED, np.int64))
        logits = _logits(task, ndim)
        loss = task.loss(logits, values, weight)
        assert torch.isfinite(loss)
        (gradient,) = torch.autograd.grad(loss, logits)
        assert (gradient == 0).all()

    def test_flips_of_scores(self, ndim: int) -> None:
        """A flip mirrors, twice gives the scores back, and the input stays as it is."""
        task = self.build(ndim)
        scores = task.activate(_logits(task, ndim)).detach()
        assert scores.dtype == torch.float32
        assert scores.shape[2:] == SPACES[ndim]
        before = scores.clone()
        for axis in range(ndim):
            flipped = task.flip(scores, axis)
            assert flipped.shape == scores.shape
            torch.testing.assert_close(task.flip(flipped, axis), scores)
            assert not torch.equal(flipped, scores)
        assert torch.equal(scores, before)

    def test_decoding(self, ndim: int) -> None:
        """Labels are ids from 0, the same each time, and scores stay as they are."""
        task = self.build(ndim)
        scores = task.activate(_logits(task, ndim))[0].detach().numpy()
        before = scores.copy()
        labels = task.decode(scores, None)
        assert labels.shape == SPACES[ndim]
        assert labels.dtype.kind in "ui"
        assert labels.min() >= 0
        assert (scores == before).all()
        assert (task.decode(scores, None) == labels).all()
