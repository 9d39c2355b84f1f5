"""Tasks that only have what `Task` asks for, and new kinds of tasks."""

from __future__ import annotations

import re
from copy import deepcopy
from dataclasses import dataclass
from inspect import getmro
from pathlib import Path

import numpy as np
import pytest
import torch

import unmask
from unmask.errors import RecipeError
from unmask.infer.predictor import Predictor
from unmask.lookup import find
from unmask.models.base import Step
from unmask.space.batch import Batch
from unmask.space.tiling import Tiling
from unmask.tasks import TASKS
from unmask.tasks.base import Answer, Target, Task, TaskDefaults, describe_meaning, targets_of
from unmask.tasks.complete import complete
from unmask.tasks.flows import Flows
from unmask.tasks.segmenter import Segmenter


@dataclass(frozen=True, slots=True)
class Bright:
    """The smallest task: one logit, and nothing that may be left out."""

    level: float = 0.5

    @property
    def context(self):
        return 0

    @property
    def metrics(self):
        return ("dice",)

    def channels(self):
        return 1

    def encode(self, labels, spacing):
        values = (labels[None] > 0).astype(np.float32)
        return Target(values, np.ones_like(values))

    def loss(self, logits, values, weight):
        return ((logits - values).square() * weight).mean()

    def activate(self, logits):
        return logits.float()

    def flip(self, scores, axis):
        return scores.flip(axis + 2)

    def decode(self, scores, spacing):
        return (scores[0] > self.level).astype(np.uint8)


@dataclass(frozen=True)
class Count(Bright):
    """A kind of its own: learns from two noisy views, answers with a table of two classes."""

    @property
    def image_classes(self):
        return ("few", "many")

    def objective(self, network, batch):
        target = targets_of(batch)
        logits = [network.logits(batch.image + shift) for shift in (0.0, 0.1)]
        loss = self.loss(logits[0], *target) + self.loss(logits[1], *target)
        return Step(loss + (logits[0] - logits[1]).square().mean(), logs={"loss": loss.detach()})

    def answer(self, scores, spacing, tally=None):
        many = float(scores.mean())
        return Answer(self.decode(scores, spacing), {"few": 1 - many, "many": many})


class Old(Count):
    """A task that was written for version 0.1."""

    def second_view(self, image, values, *, seed):
        return None


class Older(Bright):
    def second_view(self, image, values, *, seed):
        return None


def network(task, ndim):
    conv = getattr(torch.nn, f"Conv{ndim}d")

    class Decoder(torch.nn.Module):
        width, widths = 2, (2, 2)
        strides = ((1,) * ndim, (2,) * ndim)

        def pyramid(self, features):
            return [features, features[(..., *[slice(None, None, 2)] * ndim)]]

        def restore(self, finest, size):
            return finest

        def forward(self, features, size):
            return features

    torch.manual_seed(0)
    parts = conv(1, 2, 1), Decoder(), conv(2, 1, 1)
    return Segmenter(*parts, task=task, ndim=ndim, deep_supervision=1)


def batch(ndim):
    image = torch.rand(2, 1, *[6] * ndim)
    return Batch(image, (image > 0.5).float(), torch.ones_like(image))


def test_what_may_be_left_out_is_added_to_a_copy():
    task = Bright(0.25)
    whole = complete(task)
    assert not isinstance(task, TaskDefaults)
    assert isinstance(task, Task)
    assert isinstance(whole, TaskDefaults)
    assert isinstance(whole, Bright)
    assert repr(whole) == repr(task)
    assert whole == complete(Bright(0.25)) != complete(Bright(0.5))
    assert deepcopy(whole) == whole
    assert complete(whole) is whole
    assert complete(flows := Flows(2)) is flows
    assert describe_meaning(whole) == {"task": "Bright", "source": None, "level": 0.25}
    assert (whole.image_classes, whole.reasons(), whole.side_channels()) == ((), {}, 1)
    whole.check_blocks()


def test_no_code_asks_of_which_class_a_task_is():
    """A new kind of task is one file: everything else asks it through `CompleteTask`."""
    asked = [
        f"{path.name}: {line.strip()}"
        for path in Path(unmask.__path__[0]).rglob("*.py")
        for line in path.read_text(encoding="utf-8").splitlines()
        if re.search(r"isinstance\((\w+\.)*task, (?!Mapping|Task\))", line)
        and path.name != "complete.py"
    ]
    assert asked == []
    for name in TASKS:
        kind: object = find(name, TASKS, "task")
        assert isinstance(kind, type)
        assert TaskDefaults in getmro(kind)


def test_own_members_come_first():
    assert complete(Count()).image_classes == ("few", "many")


def test_a_given_foreground_is_refused_where_it_has_no_meaning():
    with pytest.raises(RecipeError, match="task bright"):
        complete(Bright()).decode_within(np.zeros((1, 4, 4), np.float32), None)


def test_members_that_are_no_longer_called_are_refused():
    with pytest.raises(RecipeError, match=r"method objective .*found second_view"):
        complete(Older())
    # What replaces them is there, so that one file serves both versions.
    assert complete(Old()).image_classes


@pytest.mark.parametrize("ndim", [2, 3])
def test_the_default_objective_halves_the_weight_of_every_level(ndim):
    segmenter, given = network(Bright(), ndim), batch(ndim)
    logits, (coarser,) = segmenter.outputs(given.image)
    mode = {2: "bilinear", 3: "trilinear"}[ndim]
    back = torch.nn.functional.interpolate(coarser, [6] * ndim, mode=mode)
    fine, coarse = (segmenter.task.loss(x, *targets_of(given)) for x in (logits, back))
    step = segmenter.step(given)
    torch.testing.assert_close(step.loss, (fine + 0.5 * coarse) / 1.5)
    assert step.logs["loss"] == fine


@pytest.mark.parametrize("ndim", [2, 3])
def test_a_new_kind_of_task_owns_its_objective_and_its_answer(ndim):
    segmenter, given = network(Count(), ndim), batch(ndim)
    plain = network(Bright(), ndim).step(given)
    assert segmenter.step(given).loss > plain.loss
    predictor = Predictor([segmenter], Count(), 1, Tiling((6,) * ndim))
    found = predictor.predict(np.ones((6,) * ndim, np.float32)).classes or {}
    assert found.keys() == {"few", "many"}
    assert list(found.values()) == sorted(found.values(), reverse=True)
