import numpy as np
import pytest
import torch

from unmask.errors import DataError, RecipeError
from unmask.tasks.semantic import Semantic


@pytest.mark.parametrize("shape", [(9, 7), (4, 5, 6)])
def test_decode_undoes_encode(shape):
    task = Semantic(classes=3, values=(0, 7, 300))
    labels = np.random.default_rng(0).choice([0, 7, 300], shape)
    target = task.encode(labels, None)
    scores = np.stack([target.values[0] == k for k in range(3)]).astype(np.float32)
    decoded = task.decode(scores, None)
    assert decoded.dtype == np.uint16
    np.testing.assert_array_equal(decoded, labels)


@pytest.mark.parametrize("shape", [(9, 7), (4, 5, 6)])
@pytest.mark.parametrize("classes", [2, 4])
def test_the_threshold_is_the_least_probability_of_foreground(shape, classes):
    rng = np.random.default_rng(0)
    scores = rng.dirichlet(np.ones(classes), shape).astype(np.float32)
    scores = np.moveaxis(scores, -1, 0)
    plain = Semantic(classes=classes).decode(scores, None)
    counts = []
    for threshold in (0.2, 0.5, 0.8):
        labels = Semantic(classes=classes, threshold=threshold).decode(scores, None)
        best = scores[1:].max(0)
        np.testing.assert_array_equal(labels > 0, best / (best + scores[0]) > threshold)
        # Which class it is does not depend on the threshold.
        both = (labels > 0) & (plain > 0)
        np.testing.assert_array_equal(labels[both], plain[both])
        counts.append(np.count_nonzero(labels))
    assert counts == sorted(counts, reverse=True)
    assert counts[1] == np.count_nonzero(plain)


def test_tune_tries_thresholds():
    assert Semantic(threshold=0.4).decoding_choices()["threshold"][0] == 0.4
    with pytest.raises(RecipeError, match=r"task\.threshold: expected a probability"):
        Semantic(threshold=1.0)


def test_ignored_voxels_have_no_influence():
    task = Semantic(classes=2, ignore_label=255)
    labels = np.array([[0, 1], [255, 255]])
    target = task.encode(labels, None)
    np.testing.assert_array_equal(target.weight[0], [[1, 1], [0, 0]])
    values, weight = (torch.from_numpy(a)[None] for a in (target.values, target.weight))
    logits = torch.randn(1, 2, 2, 2, generator=torch.Generator().manual_seed(0))
    changed = logits.clone()
    changed[:, :, 1] += 5
    assert task.loss(logits, values, weight) == task.loss(changed, values, weight)


def test_perfect_logits_have_almost_no_loss():
    task = Semantic(classes=3)
    labels = np.random.default_rng(0).integers(0, 3, (8, 8))
    target = task.encode(labels, None)
    values, weight = (torch.from_numpy(a)[None] for a in (target.values, target.weight))
    logits = 40.0 * torch.nn.functional.one_hot(values[:, 0].long(), 3).movedim(-1, 1)
    assert task.loss(logits, values, weight) < 1e-3


def test_strange_values_are_refused():
    with pytest.raises(DataError, match=r"found \[3\]"):
        Semantic(classes=2).encode(np.array([[0, 3]]), None)


@pytest.mark.parametrize("options", [{"classes": 1}, {"classes": 2, "values": (0, 1, 2)}])
def test_wrong_options_are_refused(options):
    with pytest.raises(RecipeError, match="expected at least 2 classes"):
        Semantic(**options)


def test_published_form_of_one_logit():
    task = Semantic(classes=2, ignore_label=2, compat="maeseg")
    labels = np.array([[[0, 1], [1, 2]], [[0, 0], [0, 0]]])
    targets = [task.encode(each, None) for each in labels]
    values = torch.from_numpy(np.stack([target.values for target in targets]))
    weight = torch.from_numpy(np.stack([target.weight for target in targets]))
    perfect = (values - 0.5) * 20
    perfect[0, 0, 1, 1] = 60  # ignored
    # An empty truth has a Dice of almost 0 as long as anything is predicted
    assert task.loss(perfect, values, weight).item() == pytest.approx(0.5, abs=1e-3)
    scores = task.activate(perfect)
    assert scores.shape == (2, 2, 2, 2)
    found = task.decode(scores[0].numpy(), None)
    np.testing.assert_array_equal(found, [[0, 1], [1, 1]])
    with pytest.raises(RecipeError, match="maeseg with 2 classes"):
        Semantic(classes=3, compat="maeseg")


def test_an_absurd_number_of_classes_is_refused_at_once():
    with pytest.raises(RecipeError, match="at most 65535 classes"):
        Semantic(classes=10**12)
