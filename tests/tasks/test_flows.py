"""The task: contract, published loss, signs under mirroring, decoding."""

import json

import numpy as np
import pytest
import torch

from unmask.errors import RecipeError
from unmask.labels.dropped import Tally
from unmask.tasks import TASKS
from unmask.tasks.base import Task
from unmask.tasks.flows import Flows


def discs():
    rows, columns = np.mgrid[:48, :56]
    labels = np.zeros((48, 56), np.int32)
    for name, (y, x) in enumerate([(10, 12), (12, 36), (34, 20)], 1):
        labels[(rows - y) ** 2 + (columns - x) ** 2 < 80] = name
    return labels


def scores_of(task, labels):
    target = task.encode(labels, None)
    logits = torch.from_numpy(target.values)[None].clone()
    logits[:, :-1] *= task.flow_scale
    logits[:, -1] = logits[:, -1] * 12 - 6
    return target, logits


def test_it_is_a_task():
    task = TASKS["flows"](ndim=3)
    assert isinstance(task, Task)
    assert task.channels() == 4
    assert task.context == 64
    assert task.metrics[0] == "f1@0.5"


@pytest.mark.parametrize("ndim", [2, 3])
def test_encode_activate_decode(ndim):
    task = Flows(ndim=ndim)
    labels = discs() if ndim == 2 else np.pad(np.stack([discs()] * 15), ((3, 3), (0, 0), (0, 0)))
    target, logits = scores_of(task, labels)
    assert target.values.shape == (ndim + 1, *labels.shape)
    assert target.weight.shape == (1, *labels.shape)
    assert (
        task.loss(logits, torch.from_numpy(target.values)[None], torch.ones(1, 1, *labels.shape))
        < 0.01
    )
    scores = task.activate(logits)[0].numpy()
    found = task.decode(scores, None)
    assert found.max() == 3
    assert (found > 0).sum() > 0.98 * (labels > 0).sum()


@pytest.mark.parametrize("axis", [0, 1])
def test_mirrored_scores_are_the_scores_of_the_mirrored_image(axis):
    task = Flows(ndim=2)
    labels = discs()
    _, logits = scores_of(task, labels)
    _, mirrored = scores_of(task, np.flip(labels, axis).copy())
    found = task.flip(task.activate(mirrored), axis)
    torch.testing.assert_close(found, task.activate(logits), atol=1e-3, rtol=0)


def test_flip_leaves_its_input_alone():
    task = Flows(ndim=2)
    scores = torch.randn(1, 3, 4, 5)
    before = scores.clone()
    task.flip(scores, 0)
    torch.testing.assert_close(scores, before)


def test_published_loss_and_gradient(golden):
    case = json.loads((golden / "mediar/manifest.json").read_text())["cases"]["loss"]
    file = np.load(golden / "mediar" / case["file"])
    task = Flows(ndim=2, compat="mediar")
    targets = [task.encode(labels[0].astype(np.int32), None) for labels in file["labels"]]
    values = torch.from_numpy(np.stack([target.values for target in targets]))
    weight = torch.from_numpy(np.stack([target.weight for target in targets]))
    np.testing.assert_allclose(values[:, :-1].numpy(), file["flows"], atol=1e-5)
    logits = torch.from_numpy(file["outputs"]).requires_grad_()
    loss = task.loss(logits, values, weight)
    loss.backward()
    np.testing.assert_allclose(loss.detach().numpy(), file["loss"], rtol=1e-5)
    assert logits.grad is not None
    np.testing.assert_allclose(logits.grad.numpy(), file["grad"], rtol=1e-4, atol=1e-9)


def test_ignored_voxels_have_no_influence():
    task = Flows(ndim=2, ignore_label=255)
    labels = discs()
    labels[20:30] = 255
    target, logits = scores_of(task, labels)
    assert not target.values[:, 20:30].any()
    assert not target.weight[:, 20:30].any()
    assert target.weight.sum() == 38 * 56
    values, weight = (torch.from_numpy(a)[None] for a in (target.values, target.weight))
    logits = logits + torch.randn(logits.shape, generator=torch.Generator().manual_seed(0))
    other = logits.clone()
    other[:, :, 20:30] = 1e4
    torch.testing.assert_close(task.loss(logits, values, weight), task.loss(other, values, weight))


def test_a_batch_without_truth_has_no_loss():
    task = Flows(ndim=2)
    zeros = torch.zeros(2, 3, 8, 8)
    assert task.loss(zeros + 3, zeros, torch.zeros(2, 1, 8, 8)) == 0


def test_loss_is_float32_for_half_precision():
    task = Flows(ndim=2)
    zeros = torch.zeros(1, 3, 8, 8)
    loss = task.loss(torch.full((1, 3, 8, 8), 300.0).half(), zeros, torch.ones(1, 1, 8, 8))
    assert loss.dtype == torch.float32
    assert torch.isfinite(loss)


def test_an_object_over_most_of_the_image_is_counted_where_it_is_removed():
    truth = np.zeros((40, 44), np.int32)
    truth[2:38, 2:42] = 1
    scores = Flows(2).encode(truth, None).values
    tally = Tally()
    assert not Flows(2).answer(scores, None, tally).labels.any()
    area = int(truth.sum())
    assert tally.counts == {
        "max_fraction.voxels": area,
        "max_fraction.objects": 1,
        "foreground": area,
    }
    for word in ("larger than 40%", "--set task.max_fraction=1"):
        assert word in Flows(2).reasons()["max_fraction"]
    tally = Tally()
    labels = Flows(2, max_fraction=1.0).answer(scores, None, tally).labels
    assert (labels > 0).mean() > 0.7
    assert tally.counts == {"foreground": area}


@pytest.mark.parametrize(
    "options",
    [
        {"ndim": 0},
        {"ndim": 2, "flow_scale": 0.0},
        {"ndim": 2, "max_fraction": 0.0},
        {"ndim": 2, "steps": 0},
        {"ndim": 2, "compat": "stardist"},
    ],
)
def test_options_out_of_range(options):
    with pytest.raises(RecipeError, match="task flows"):
        Flows(**options)
