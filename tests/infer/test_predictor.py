"""One model or several, mirrored views, any image: scores and labels."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from unmask.data.grid import View
from unmask.data.normalize import MinMax, NoNormalize, Percentile
from unmask.errors import DataError, RecipeError
from unmask.infer.predictor import Predictor
from unmask.infer.sinks import MemorySink, ZarrSink
from unmask.infer.views import Views
from unmask.io import Image
from unmask.models.precision import arithmetic
from unmask.space.tiling import Tiling
from unmask.tasks.affinities import Affinities
from unmask.testing.untrained import Untrained


class Threshold(Untrained):
    """The first channel above one half is an object."""

    context = 0
    metrics = ("dice",)

    def decode(self, scores, spacing):
        return (scores[0] > 0.5).astype(np.uint8)


class Field(Threshold):
    """A vector per voxel: a mirrored axis turns its component's sign."""

    def flip(self, scores, axis):
        flipped = scores.flip(2 + axis)
        sign = torch.ones(scores.shape[1])
        sign[axis] = -1
        return flipped * sign.view(-1, *(1 for _ in scores.shape[2:]))


class Scale(nn.Module):
    """A network of one number; the number of calls and of windows are kept."""

    def __init__(self, factor: float = 1.0) -> None:
        super().__init__()
        self.factor = nn.Parameter(torch.tensor(factor))
        self.batches: list[int] = []
        self.modes: list[bool] = []

    def logits(self, image):
        self.batches.append(len(image))
        self.modes.append(self.training)
        return image * self.factor


class Gradient(nn.Module):
    """Central differences along every axis: an equivariant vector field."""

    def logits(self, image):
        parts = [
            torch.roll(image, -1, axis) - torch.roll(image, 1, axis)
            for axis in range(2, image.ndim)
        ]
        return torch.cat(parts, dim=1)


class Ramp(nn.Module):
    """Depends on the place in the window, so mirrored views differ."""

    def logits(self, image):
        return image + torch.linspace(0, 1, image.shape[-1])


def split(options: dict[str, Any], ndim: int) -> dict[str, Any]:
    """Options of a recipe as the predictor has them."""
    rest = {"tile": (16,) * ndim, **options}
    given = [name for name in rest if name in ("overlap", "blend", "pad", "batch_size")]
    tiling = Tiling(rest.pop("tile"), **{name: rest.pop(name) for name in given})
    views = Views.of(ndim, **{k: rest.pop(k) for k in ("tta", "mirror_positions") if k in rest})
    return {"tiling": tiling, "views": views, **rest}


def predictor(*segmenters: nn.Module, task=None, ndim: int = 2, **options) -> Predictor:
    chosen = {"channels": 1, "normalize": NoNormalize(), **split(options, ndim)}
    return Predictor(segmenters, task=task or Threshold(), **chosen)


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).random(shape, dtype=np.float32)


SPACES = [(40, 33), (5, 50), (1, 20), (1, 1), (9, 20, 21), (1, 30, 30)]


@pytest.mark.parametrize("space", SPACES)
@pytest.mark.parametrize("tta", [False, True])
def test_identity_gives_the_image_back(space, tta):
    image = noise(*space)
    result = predictor(Scale(), ndim=len(space), tta=tta).predict(image, keep_scores=True)
    assert result.scores is not None
    assert result.scores.dtype == np.float32
    np.testing.assert_allclose(result.scores[0], image, atol=1e-6)
    assert np.array_equal(result.labels, (result.scores[0] > 0.5).astype(np.uint8))


@pytest.mark.parametrize("space", [(40, 33), (12, 20, 21)])
def test_flips_turn_the_signs_of_vectors(space):
    ndim = len(space)
    # a window over everything, so that the field is the same in each view
    options = {"ndim": ndim, "task": Field(), "tile": space}
    plain = predictor(Gradient(), **options)
    every = [[axis for axis in range(ndim) if number >> axis & 1] for number in range(2**ndim)]
    image = noise(*space)
    for tta in (True, every, [[0], [ndim - 1, 0]]):
        turned = predictor(Gradient(), tta=tta, **options)
        np.testing.assert_allclose(turned.scores(image), plain.scores(image), atol=1e-5)
    assert np.abs(plain.scores(image)).max() > 0.5


def test_views_are_averaged_in_one_batch():
    image, model = np.zeros((10, 16), np.float32), Scale()
    predictor(model, tta=True, batch_size=1).scores(image)
    assert model.batches == [3]
    scores = predictor(Ramp(), tta=[[], [1]]).scores(image)
    np.testing.assert_allclose(scores, 0.5, atol=1e-6)


def test_models_are_averaged():
    image = noise(20, 20)
    scores = predictor(Scale(1.0), Scale(2.0), Scale(6.0)).scores(image)
    np.testing.assert_allclose(scores[0], 3 * image, rtol=1e-5)


@pytest.mark.parametrize("shape", [(50, 61), (10, 45), (16, 16)])
def test_mirrored_positions_equal_mirrored_images(shape):
    image = noise(*shape)
    options = {"overlap": 0.6, "pad": "zero"}
    both = predictor(Ramp(), tta=[[], [0], [1]], mirror_positions=True, **options).scores(image)
    plain = predictor(Ramp(), **options)
    views = [
        plain.scores(image),
        plain.scores(image[::-1].copy())[:, ::-1],
        plain.scores(image[:, ::-1].copy())[:, :, ::-1],
    ]
    np.testing.assert_allclose(both, np.mean(views, axis=0), atol=1e-6)


def test_progress_covers_every_run():
    seen = []
    some = predictor(Scale(), tta=True, mirror_positions=True, batch_size=2)
    some.predict(noise(30, 16), progress=lambda done, total: seen.append((done, total)))
    assert seen[-1] == (9, 9)
    assert [done for done, _ in seen] == sorted({done for done, _ in seen})


def test_scores_written_equal_scores_kept(tmp_path):
    image = Image.from_array(noise(100, 40), ndim=2)
    some = predictor(Scale(2.0), tta=True)
    sink = ZarrSink(tmp_path / "s.zarr")
    some.write_scores(image, sink)
    memory = MemorySink()
    some.write_scores(image, memory)
    assert np.array_equal(memory.array, some.scores(image))
    assert ZarrSink(sink.path, resume=True).lines == 100
    with pytest.raises(RecipeError, match="mirror_positions"):
        predictor(Scale(), tta=True, mirror_positions=True).write_scores(image, sink)


def test_training_mode_comes_back():
    model = Scale().train()
    predictor(model).predict(noise(20, 20))
    assert model.modes == [False] * len(model.modes)
    assert model.training

    class Broken(Scale):
        def logits(self, image):
            raise ValueError("broken")

    broken = Broken().train()
    with pytest.raises(ValueError, match="broken"):
        predictor(broken).predict(noise(20, 20))
    assert broken.training


def test_spacing_and_provenance_are_told():
    image = Image.from_array(noise(20, 20), spacing=(2.0, 0.5), name="x", ndim=2)
    result = predictor(Scale(), notes={"model": "m.safetensors"}).predict(image)
    assert result.spacing == (2.0, 0.5)
    assert result.scores is None
    assert result.provenance["image"] == image.source
    assert result.provenance["model"] == "m.safetensors"
    assert result.provenance["tile"] == [16, 16]
    assert result.provenance["flips"] == [[]]


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int16, np.float64, bool])
@pytest.mark.parametrize("normalize", [Percentile(), MinMax()])
def test_number_types_and_constant_images(dtype, normalize):
    some = predictor(Scale(), normalize=normalize)
    assert np.isfinite(some.scores(np.ones((20, 20), dtype))).all()
    image = (noise(40, 40) * 100).astype(dtype)
    scores = some.scores(image)
    assert scores.shape == (1, 40, 40)
    expected = normalize.measure(image[None]).apply(image[None])
    np.testing.assert_allclose(scores, expected, atol=1e-5)


def test_not_contiguous_and_big_endian_images():
    image = noise(40, 60)[::2, ::-1]
    np.testing.assert_allclose(predictor(Scale()).scores(image)[0], image, atol=1e-6)
    swapped = image.astype(">f4")
    np.testing.assert_allclose(predictor(Scale()).scores(swapped)[0], image, atol=1e-6)


def test_channels_follow_the_rules():
    scores = predictor(Scale(), channels=3).scores(noise(20, 20))
    assert scores.shape == (3, 20, 20)
    with pytest.raises(DataError, match="expected 3 channels"):
        predictor(Scale(), channels=3).scores(noise(2, 20, 20))


def test_nan_is_refused_with_its_place():
    image = noise(40, 40)
    image[30, 2] = np.nan
    with pytest.raises(DataError, match="channel 0 at y 30, x 2"):
        predictor(Scale()).scores(image)


def test_scores_that_cannot_be_decoded_name_the_image():
    """NaN of the network; the image itself is finite."""
    task = Affinities(ndim=2, offsets=((-1, 0), (0, -1)), foreground=True)
    model = Predictor(
        [Scale(np.nan)],
        task=task,
        channels=3,
        tiling=Tiling((16, 16)),
        normalize=NoNormalize(),
    )
    image = Image.from_array(np.ones((3, 20, 20), np.float32), axes="CYX")
    with pytest.raises(DataError, match=f"^{image.source}: scores of the foreground: expected"):
        model.predict(image)


def test_another_number_of_axes_is_refused():
    volume = Image.from_array(noise(8, 20, 20), ndim=3, name="stack")
    with pytest.raises(DataError, match=r"expected 2 spatial axes.*found 3"):
        predictor(Scale()).predict(volume)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tta": [[2]]}, "lists of axes"),
        ({"tta": []}, "lists of axes"),
        ({"overlap": 1.5}, "overlap"),
        ({"batch_size": 0}, "batch_size"),
    ],
)
def test_impossible_settings_are_refused_at_once(options, message):
    with pytest.raises(RecipeError, match=message):
        predictor(Scale(), **options)


@pytest.mark.parametrize("count", [0, 255, 256, 65_536])
def test_labels_come_in_the_smallest_type(count):
    class Numbers(Threshold):
        def decode(self, scores, spacing):
            return np.arange(count + 1).reshape(1, -1)

    task = Numbers()
    made = Predictor([Scale()], task, 1, Tiling((8, 8)), precision="32")
    labels = made.predict(np.zeros((8, 8), np.float32)).labels
    assert labels.dtype == np.min_scalar_type(count)
    assert labels.max() == count


def test_no_model_is_refused():
    with pytest.raises(RecipeError, match="one segmenter or more"):
        predictor()


def test_precision():
    class Wide(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Conv2d(1, 1, 1)
            self.types = set()

        def logits(self, image):
            result = self.layer(image)
            self.types.add(result.dtype)
            return result

    image = noise(20, 20)
    exact, rough = Wide(), Wide()
    rough.load_state_dict(exact.state_dict())
    scores = predictor(exact, precision="32").scores(image)
    other = predictor(rough, precision="bf16").scores(image)
    assert exact.types == {torch.float32}
    assert rough.types == {torch.bfloat16}
    assert other.dtype == np.float32
    np.testing.assert_allclose(other, scores, atol=0.02)
    assert arithmetic("auto", torch.device("cpu")) in (None, torch.bfloat16)
    assert arithmetic("16", torch.device("cpu")) is torch.float16


def test_no_gradient_is_kept_and_weights_stay_trainable():
    model = Scale()
    predictor(model).predict(noise(20, 20))
    (model.factor * 2).backward()
    assert model.factor.grad == 2


def test_small_images_take_little_time():
    some, image = predictor(Scale()), noise(64, 64)
    begin = time.process_time()
    for _ in range(20):
        some.predict(image)
    assert time.process_time() - begin < 4


@pytest.mark.parametrize("ndim", [2, 3])
def test_labels_and_scores_come_back_on_the_images_own_grid(ndim):
    space, spacing = (9, 40, 33)[-ndim:], (3.0, 0.5, 0.7)[-ndim:]
    image = np.full(space, 0.2, np.float32)
    image[tuple(slice(n // 4, 3 * n // 4) for n in space)] = 0.9
    model = Scale()
    view = View((1.0,) * ndim, 0.5)
    result = predictor(model, ndim=ndim, view=view, batch_size=1).predict(
        Image.from_array(image, spacing=spacing), keep_scores=True
    )
    assert result.scores is not None
    assert result.scores.shape == (1, *space)
    assert result.spacing == spacing
    np.testing.assert_array_equal(result.labels, image > 0.5)
    np.testing.assert_array_equal(result.scores[0] > 0.5, image > 0.5)
    assert "View(spacing=(1.0" in result.provenance["view"]
    with pytest.raises(DataError, match="spacing= with an array"):
        predictor(model, ndim=ndim, view=view).predict(image)


def test_windows_cover_the_grid_of_the_network():
    model = Scale()
    image = Image.from_array(noise(32, 32), spacing=(1, 1))
    predictor(model, view=View((2.0, 2.0)), overlap=0.0, batch_size=1).scores(image)
    assert model.batches == [1]
    scores = predictor(model, view=View((0.5, 2.0))).scores(image)
    assert scores.shape == (1, 32, 32)
