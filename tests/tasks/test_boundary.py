import numpy as np
import pytest
import torch

from unmask.data.normalize import NoNormalize
from unmask.errors import RecipeError
from unmask.infer.predict_blocks import predict_blocks
from unmask.infer.predictor import Predictor
from unmask.infer.views import Views
from unmask.io import Image, open_labels
from unmask.labels import labels_to_interiors
from unmask.metrics import f1
from unmask.phantoms.cells import nuclei
from unmask.space.tiling import Tiling
from unmask.tasks.boundary import Boundary
from unmask.tasks.semantic import Semantic


class Same(torch.nn.Module):
    """A network whose logits are the image."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))

    def logits(self, image):
        return image


def truth(shape):
    return nuclei(shape, rng=np.random.default_rng(1), diameter=10).labels


@pytest.mark.parametrize(
    ("shape", "options"),
    [
        ((90, 100), {}),
        ((90, 100), {"grow": False}),
        ((90, 100), {"compat": "neurips"}),
        ((20, 40, 44), {}),
    ],
    ids=str,
)
def test_blocks_have_no_cut_cells_and_no_double_ids(shape, options, tmp_path):
    """A network that knows the truth: logits come in as the image."""
    ndim = len(shape)
    task = Boundary(ndim, thickness=1, min_size=5, reach=12, **options)
    classes = labels_to_interiors(truth(shape), (1,) * ndim)
    logits = np.stack([np.where(classes == k, 9, -9) for k in range(3)]).astype(np.float32)
    # Some noise of the scores makes specks and holes, which blocks must decide alike.
    logits *= np.where(np.random.default_rng(0).random(shape) < 0.03, -1, 1)
    image = Image.from_array(logits, axes="C" + "ZYX"[-ndim:])
    model = Predictor(
        [Same()],
        task=task,
        channels=3,
        normalize=NoNormalize(),
        tiling=Tiling((24,) * ndim),
        views=Views.of(ndim),
    )
    whole = model.predict(image).labels
    block = tuple(max(12, n // 2) for n in shape)
    assert predict_blocks(model, image, tmp_path / "a.ome.zarr", block=block) == whole.max() > 10
    found = open_labels(tmp_path / "a.ome.zarr", ndim=ndim).read()[0]
    pairs = np.unique(np.stack([whole.ravel(), found.ravel()]), axis=1)
    assert pairs.shape[1] == whole.max() + 1


@pytest.mark.parametrize("shape", [(60, 64), (20, 28, 30)])
def test_growing_gives_objects_their_size_back(shape):
    labels = truth(shape)
    scores = {}
    for grow in (True, False):
        task = Boundary(len(shape), grow=grow, min_size=0)
        classes = task.encode(labels, None).values[0]
        found = task.decode(np.stack([classes == k for k in range(3)]).astype(np.float32), None)
        scores[grow] = f1(labels, found, threshold=0.9)
    assert scores[True] > 0.9 > 0.3 > scores[False]


def test_the_loss_is_that_of_three_classes():
    labels = truth((40, 40))
    drawn = torch.Generator().manual_seed(0)
    logits = torch.randn(1, 3, 40, 40, generator=drawn)
    target = Boundary(2, dice=0.3).encode(labels, None)
    values, weight = (torch.from_numpy(each)[None] for each in (target.values, target.weight))
    expected = Semantic(3, dice=0.3).loss(logits, values, weight)
    assert Boundary(2, dice=0.3).loss(logits, values, weight) == expected


def test_what_the_channels_mean():
    assert Boundary(2).meaning == Boundary(2, thickness=(2, 2), min_size=3, grow=False).meaning
    assert Boundary(2).meaning != Boundary(2, thickness=1).meaning
    assert Boundary(2).meaning != Boundary(2, compat="neurips").meaning
    assert Boundary(2, reach=10, thickness=3).context == 16


def test_tune_tries_thresholds_and_sizes():
    choices = Boundary(2, threshold=0.45, min_size=16).decoding_choices()
    assert choices["threshold"][0] == 0.45
    assert choices["min_size"] == (16, 4, 8, 32, 64)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"thickness": 0}, r"task\.thickness: expected 1 or more, or 2 numbers, one per axis"),
        ({"thickness": [1, 2, 2]}, r"task\.thickness: .* found \[1, 2, 2\]"),
        ({"thickness": []}, r"task\.thickness"),
        ({"threshold": 1.0}, r"task\.threshold: expected a probability between 0 and 1"),
        ({"dice": 2.0}, r"task\.dice: expected a share"),
        ({"min_size": -1}, r"task\.min_size: expected 0 or more"),
        ({"compat": "mediar"}, r"task\.compat: expected null or neurips, found 'mediar'"),
        ({"reach": 0}, r"task\.reach"),
    ],
    ids=str,
)
def test_options_out_of_range(options, expected):
    with pytest.raises(RecipeError, match=expected):
        Boundary(2, **options)
