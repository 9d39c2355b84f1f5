"""Raw outputs averaged before they are activated."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
import torch
import zarr
from torch import nn

from unmask.data.normalize import NoNormalize
from unmask.errors import RecipeError
from unmask.infer.average import activate_in_place, check_average
from unmask.infer.predictor import Predictor
from unmask.infer.sinks import MemorySink, ZarrSink
from unmask.infer.views import Views
from unmask.space.tiling import Tiling
from unmask.tasks import TASKS
from unmask.tasks.flows import Flows
from unmask.tasks.semantic import Semantic


class Steep(nn.Module):
    """Raw outputs of flows that depend on the place in the window."""

    def __init__(self, ndim: int, factor: float = 4.0) -> None:
        super().__init__()
        self.ndim, self.factor = ndim, factor

    def logits(self, image):
        ramp = torch.linspace(-self.factor, self.factor, image.shape[-1])
        return (image - 0.5 + ramp).expand(-1, self.ndim + 1, *image.shape[2:])


def predictor(*networks, ndim=2, **options):
    names = [name for name in options if name in ("tta", "mirror_positions")]
    views = Views.of(ndim, **{name: options.pop(name) for name in names})
    given = {"channels": 1, "normalize": NoNormalize(), "precision": "32", **options}
    return Predictor(networks, Flows(ndim), tiling=Tiling((12,) * ndim), views=views, **given)


@pytest.mark.parametrize("space", [(30, 25), (14, 15, 20)])
@pytest.mark.parametrize("mirror_positions", [False, True])
def test_raw_outputs_are_averaged_first(space, mirror_positions):
    image = np.random.default_rng(0).random(space, dtype=np.float32)
    options = {"ndim": len(space), "tta": True, "mirror_positions": mirror_positions}
    networks = [Steep(len(space)), Steep(len(space), 9.0)]
    raw = predictor(*networks, average="logits", **options).scores(image)
    scores = predictor(*networks, **options).scores(image)
    # Flows are scaled linearly, so the order says nothing; the probability is another one.
    np.testing.assert_allclose(raw[:-1], scores[:-1], atol=1e-5)
    assert np.abs(raw[-1] - scores[-1]).max() > 0.05
    assert 0 <= raw[-1].min() <= raw[-1].max() <= 1


def test_one_window_of_one_view_is_the_same():
    image = np.random.default_rng(0).random((12, 12), dtype=np.float32)
    raw, scores = (predictor(Steep(2), average=each) for each in ("logits", "scores"))
    np.testing.assert_allclose(raw.scores(image), scores.scores(image), atol=1e-6)
    windows = torch.from_numpy(image)[None, None]
    torch.testing.assert_close(raw.forward(windows), scores.forward(windows))


def test_scores_written_equal_scores_kept(tmp_path):
    image = np.random.default_rng(0).random((70, 25), dtype=np.float32)
    some = predictor(Steep(2), Steep(2, 9.0), tta=True, average="logits")
    memory, store = MemorySink(), ZarrSink(tmp_path / "s.zarr")
    some.write_scores(image, memory)
    some.write_scores(image, store)
    np.testing.assert_allclose(memory.array, some.scores(image), atol=1e-6)
    np.testing.assert_array_equal(np.asarray(zarr.open_array(store.path)[:]), memory.array)


def test_activation_in_place_goes_through_all_lines(monkeypatch):
    monkeypatch.setattr("unmask.infer.average._PIECE_BYTES", 3 * 3 * 5 * 4)
    raw = np.random.default_rng(0).standard_normal((3, 11, 5)).astype(np.float32)
    expected = Flows(2).activate(torch.from_numpy(raw.copy())[None])[0].numpy()
    activate_in_place(raw, Flows(2))
    np.testing.assert_allclose(raw, expected, atol=1e-6)


@dataclass(frozen=True)
class Pooled(Flows):
    """Activation that looks at neighboring voxels."""

    def activate(self, logits):
        return super().activate(logits).roll(1, 2)


@dataclass(frozen=True)
class Fewer(Flows):
    """Fewer scores than raw outputs."""

    def activate(self, logits):
        return super().activate(logits)[:, 1:]


@pytest.mark.parametrize("ndim", [2, 3])
@pytest.mark.parametrize("kind", [Pooled, Fewer])
def test_tasks_that_do_not_allow_it_are_refused(kind, ndim):
    check_average("scores", kind(ndim), ndim)
    with pytest.raises(RecipeError, match=rf"{kind.__name__}\. Use infer\.average=scores"):
        check_average("logits", kind(ndim), ndim)


@pytest.mark.parametrize("ndim", [2, 3])
def test_tasks_that_allow_it(ndim):
    for task in (Flows(ndim), Semantic(2), Semantic(4)):
        check_average("logits", task, ndim)
    assert {"flows", "semantic"} <= set(TASKS)


def test_other_words_are_refused():
    with pytest.raises(RecipeError, match="scores or logits"):
        check_average("votes", Flows(2), 2)
