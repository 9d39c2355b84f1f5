"""Classes of whole images: targets, loss against a plain classifier, answers, options."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from unmask.errors import DataError, RecipeError
from unmask.models.decoder_pool import PoolDecoder
from unmask.models.heads import linear, mlp
from unmask.models.vit import ViT
from unmask.tasks.classify import Classify
from unmask.tasks.segmenter import Segmenter

SPACES = [(9, 11), (4, 6, 5)]


def constant(value, space):
    return np.full(space, value, np.uint8)


@pytest.mark.parametrize("space", SPACES)
@pytest.mark.parametrize("weights", [None, (1.0, 2.0, 5.0)])
def test_loss_is_that_of_a_classifier(space, weights):
    task = Classify(classes=("a", "b", "c"), class_weights=weights, smoothing=0.1)
    logits = torch.randn(3, 3)
    targets = [task.encode(constant(number, space), None) for number in (1, 3, 2)]
    values, weight = (
        torch.from_numpy(np.stack([getattr(target, name) for target in targets]))
        for name in ("values", "weight")
    )
    ones = tuple(1 for _ in space)
    maps = logits.view(3, 3, *ones).expand(3, 3, *space)
    given = None if weights is None else torch.tensor(weights)
    index = torch.tensor([0, 2, 1])
    each = F.cross_entropy(logits, index, given, reduction="none", label_smoothing=0.1)
    expected = each.sum() / (3 if given is None else given[index].sum())
    torch.testing.assert_close(task.loss(maps, values, weight), expected)


def test_beyond_the_image_nothing_is_known():
    task = Classify(classes=("a", "b"))
    labels = constant(2, (4, 4))
    labels[:, 2:] = 0
    target = task.encode(labels, None)
    logits = torch.zeros(1, 2, 4, 4)
    logits[:, 1, :, :2], logits[:, 0, :, 2:] = 20, 99
    values, weight = torch.from_numpy(target.values)[None], torch.from_numpy(target.weight)[None]
    assert task.loss(logits, values, weight) < 1e-6


def test_answers_are_means_over_the_image():
    task = Classify(classes=("a", "b"))
    scores = np.stack([np.full((4, 4), 0.4), np.full((4, 4), 0.6)]).astype(np.float32)
    scores[:, 0] = [[1.0], [0.0]]
    answer = task.answer(scores, None)
    assert answer.classes is not None
    assert tuple(answer.classes) == task.image_classes == ("a", "b")
    np.testing.assert_allclose(list(answer.classes.values()), [0.55, 0.45])
    assert (answer.labels == 1).all()
    mean = scores.mean(axis=(1, 2))[:, None]
    again = task.answer(mean, None).classes
    assert again is not None
    np.testing.assert_allclose(list(again.values()), [0.55, 0.45])


def test_values_that_are_no_class():
    with pytest.raises(DataError, match=r"1 to 2, found \[3\]"):
        Classify().encode(constant(3, (2, 2)), None)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"classes": ("a",)}, "two or more"),
        ({"classes": ("a", "a")}, "different names"),
        ({"class_weights": (1.0,)}, "2 class_weights"),
        ({"smoothing": 1.0}, "smoothing"),
    ],
)
def test_wrong_options(options, message):
    with pytest.raises(RecipeError, match=message):
        Classify(**options)


@pytest.mark.parametrize("ndim", [2, 3])
@pytest.mark.parametrize("token", ["class", "mean"])
@pytest.mark.parametrize("head", [linear, mlp])
def test_tokens_of_a_transformer(ndim, token, head):
    """The head sees the class token or the mean of the others, normed as in pre-training."""
    torch.manual_seed(0)
    backbone = ViT(
        ndim, 1, image=8, patch=4, dim=12, depth=2, heads=2, class_feature=token == "class"
    )
    decoder = PoolDecoder(ndim, backbone.channels, backbone.strides)
    last = head(ndim, decoder.width, 2)
    network = Segmenter(backbone, decoder, last, task=Classify(), ndim=ndim)
    image = torch.randn(2, 1, *(8,) * ndim)
    tokens = backbone.encode(backbone.embed(image).values)
    wanted = tokens[:, 0] if token == "class" else tokens[:, 1:].mean(dim=1)
    expected = last(wanted.view(2, -1, *(1,) * ndim)).flatten(1)
    logits = network.logits(image)
    assert logits.shape == (2, 2, *image.shape[2:])
    corner = (slice(None), slice(None), *(-1,) * ndim)
    torch.testing.assert_close(logits[corner], expected)
