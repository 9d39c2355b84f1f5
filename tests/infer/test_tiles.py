"""Windows are seamless, in any number of axes, and memory does not grow with the image."""

from __future__ import annotations

import threading

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from unmask.data.source import ArraySource
from unmask.errors import RecipeError
from unmask.infer.sinks import MemorySink
from unmask.infer.tiles import run_tiles
from unmask.space.tiling import Tiling


def noise(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape, dtype=np.float32)


def joined(image: np.ndarray, tiling: Tiling, forward=lambda batch: batch) -> np.ndarray:
    sink = MemorySink()
    run_tiles(forward, ArraySource(image), sink, tiling=tiling)
    return sink.array


@pytest.mark.parametrize("blend", ["gaussian", "crop"])
@pytest.mark.parametrize(
    ("space", "window"),
    [
        ((50,), (16,)),
        ((70, 53), (32, 24)),
        ((20, 41), (32, 16)),
        ((1, 77), (16, 16)),
        ((1, 1), (8, 8)),
        ((21, 30, 17), (8, 16, 16)),
        ((1, 30, 30), (4, 16, 16)),
    ],
)
def test_identity_gives_the_image_back(space, window, blend):
    image = noise(2, *space)
    result = joined(image, Tiling(window, overlap=0.4, blend=blend))
    np.testing.assert_allclose(result, image, rtol=0, atol=1e-6 if blend == "gaussian" else 0)


@st.composite
def cases(draw):
    ndim = draw(st.integers(1, 3))
    space = tuple(draw(st.integers(1, 40 if ndim < 3 else 14)) for _ in range(ndim))
    window = tuple(draw(st.integers(1, 16)) for _ in range(ndim))
    # a plain mapping: the checker that tests install on constructors draws numbers itself
    options = {
        "overlap": draw(st.sampled_from([0.0, 0.25, 0.5, 0.6])),
        "blend": draw(st.sampled_from(["gaussian", "crop"])),
        "pad": draw(st.sampled_from(["mirror", "zero"])),
        "batch_size": draw(st.integers(1, 5)),
        "mirrored": draw(st.sampled_from([(), (0,), tuple(range(ndim))])),
    }
    return space, window, options


@settings(max_examples=60)
@given(cases())
@example(((6, 5, 10), (3, 3, 3), {"overlap": 0.5, "blend": "gaussian", "mirrored": ()}))
def test_any_shape_window_and_overlap(case):
    space, window, options = case
    # A mean of 27 windows in float32 is rounded in proportion to its value: by 8e-7 up to 0.5.
    image = np.tanh(noise(1, *space)) / 2
    result = joined(image, Tiling(window, **options))
    np.testing.assert_allclose(result, image, rtol=0, atol=1e-6)


def reference(image: np.ndarray, tiling: Tiling) -> np.ndarray:
    """Weighted mean of windows that each see their own position, written without a strip."""
    (sigma,) = {1 / 8}
    weight = np.ones(())
    for n in tiling.window:
        offset = np.arange(n) - (n - 1) / 2
        weight = np.multiply.outer(weight, np.exp(-0.5 * (offset / (sigma * n)) ** 2))
    weight = np.maximum(weight, 1e-3)
    space = image.shape[1:]
    total, norm = np.zeros(image.shape), np.zeros(space)
    for start in np.array(np.meshgrid(*tiling.positions(space), indexing="ij")).reshape(2, -1).T:
        place = tuple(slice(a, a + n) for a, n in zip(start, tiling.window, strict=True))
        crop = image[:, *place].astype(np.float64)
        total[:, *place] += weight * (crop + crop.mean())
        norm[place] += weight
    return total / norm


def window_mean(batch: torch.Tensor) -> torch.Tensor:
    return batch + batch.mean(dim=tuple(range(1, batch.ndim)), keepdim=True)


@pytest.mark.parametrize("batch_size", [1, 3, 50])
def test_gaussian_weights_are_the_published_ones(batch_size):
    image = noise(2, 60, 75)
    tiling = Tiling((32, 24), overlap=0.6, batch_size=batch_size)
    np.testing.assert_allclose(
        joined(image, tiling, window_mean), reference(image, tiling), atol=1e-5
    )


def test_positions_of_the_published_inference():
    assert Tiling((512, 512), overlap=0.6).positions((1024, 512)) == [[0, 204, 408, 512], [0]]


def test_a_mirrored_image_gives_mirrored_scores_with_mirrored_positions():
    image = noise(1, 50, 47)
    tiling = Tiling((16, 20), overlap=0.4)
    plain = joined(image[:, ::-1].copy(), tiling, window_mean)
    mirror = Tiling((16, 20), overlap=0.4, mirrored=(0,))
    assert tiling.positions((50, 47)) != mirror.positions((50, 47))
    np.testing.assert_allclose(joined(image, mirror, window_mean)[:, ::-1], plain, atol=1e-5)


def test_crop_takes_every_voxel_from_its_most_central_window():
    def position(batch):
        ramp = torch.arange(batch.shape[-1], dtype=torch.float32).expand(batch.shape)
        return (ramp - (batch.shape[-1] - 1) / 2).abs()

    result = joined(noise(1, 1, 64), Tiling((1, 16), overlap=0.5, blend="crop"), position)
    assert result[0, 0, 4:-4].max() <= 4.5


def test_scores_may_have_other_channels_and_come_in_row_order():
    class Ordered(MemorySink):
        at = 0

        def write(self, box, scores):
            assert box.start == (self.at, 0)
            assert box.stop[1] == 30
            self.at = box.stop[0]
            super().write(box, scores)

    sink, image = Ordered(), noise(1, 500, 30)
    run_tiles(
        lambda batch: torch.cat([batch, 2 * batch, -batch], 1),
        ArraySource(image),
        sink,
        tiling=Tiling((16, 16)),
    )
    assert sink.at == 500
    np.testing.assert_allclose(sink.array[1], 2 * image[0], atol=1e-6)


def test_going_on_from_a_line_gives_the_same_bits_and_leaves_windows_out():
    image, tiling = noise(1, 200, 40), Tiling((16, 16), overlap=0.5, batch_size=3)
    whole = joined(image, tiling, window_mean)
    calls = []

    def counted(batch):
        calls.append(len(batch))
        return window_mean(batch)

    sink = MemorySink()
    run_tiles(counted, ArraySource(image), sink, tiling=tiling, first=130)
    assert np.array_equal(sink.array[:, 130:], whole[:, 130:])
    assert sum(calls) < 0.5 * 24 * 4
    run_tiles(counted, ArraySource(image), MemorySink(), tiling=tiling, first=200)


def test_progress_counts_windows():
    seen = []
    run_tiles(
        lambda batch: batch,
        ArraySource(noise(1, 40, 40)),
        MemorySink(),
        tiling=Tiling((16, 16), overlap=0.25, batch_size=4),
        progress=lambda done, total: seen.append((done, total)),
    )
    assert seen == [(4, 9), (8, 9), (9, 9)]


class Sparse:
    """A tall image that is made line by line, and a sink that forgets: both count."""

    def __init__(self, shape):
        self.shape, self.lines_read = shape, 0

    def lines(self, start, stop):
        self.lines_read += stop - start
        return np.full((self.shape[0], stop - start, *self.shape[2:]), start, np.float32)

    def prepare(self, crop):
        return crop

    def open(self, shape):
        self.lines_written = 0
        return 1

    def room(self, box):
        return None

    def write(self, box, scores):
        self.lines_written += box.shape[0]


def peak(length: int) -> int:
    import tracemalloc

    from unmask.infer import blend

    made = []
    original = torch.zeros

    def counted(*args, **kwargs):
        tensor = original(*args, **kwargs)
        made.append(tensor.nbytes)
        return tensor

    image = Sparse((1, length, 256))
    tracemalloc.start()
    try:
        blend.torch.zeros = counted
        run_tiles(lambda batch: batch, image, image, tiling=Tiling((64, 256), overlap=0.5))
    finally:
        blend.torch.zeros = original
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert image.lines_written == length
    return most + max(made)


def test_memory_does_not_grow_with_the_first_axis():
    peak(1000)
    # 8 MB of lines may wait to be written; the tall image has 80 MB of scores
    small, tall = peak(8_192 * 2), peak(8_192 * 10)
    assert tall < small + 4_000_000
    assert tall < 24_000_000


def test_out_of_memory_halves_the_batch_and_goes_on():
    sizes = []

    def greedy(batch):
        sizes.append(len(batch))
        if len(batch) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return batch

    image = noise(1, 64, 64)
    result = joined(image, Tiling((16, 16), batch_size=8), greedy)
    np.testing.assert_allclose(result, image, atol=1e-6)
    assert sizes[:3] == [8, 4, 2]
    assert set(sizes[2:]) == {1, 2} or set(sizes[2:]) == {2}


def test_a_window_that_never_fits_is_told():
    def hopeless(batch):
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 TB")

    with pytest.raises(RecipeError, match=r"smaller infer\.tile"):
        joined(noise(1, 20, 20), Tiling((16, 16)), hopeless)


def test_other_errors_pass_and_leave_no_thread():
    def broken(batch):
        raise RuntimeError("shapes do not match")

    with pytest.raises(RuntimeError, match="shapes do not match"):
        joined(noise(1, 20, 20), Tiling((16, 16)), broken)
    assert not [t for t in threading.enumerate() if t.name.startswith("unmask-")]


def test_errors_of_reading_and_writing_reach_the_caller():
    class Torn(ArraySource):
        def lines(self, start, stop):
            if start > 20:
                raise OSError("disk gone")
            return super().lines(start, stop)

    with pytest.raises(OSError, match="disk gone"):
        run_tiles(lambda b: b, Torn(noise(1, 90, 20)), MemorySink(), tiling=Tiling((16, 16)))

    class Full(MemorySink):
        def write(self, box, scores):
            raise OSError("no space left")

    with pytest.raises(OSError, match="no space left"):
        run_tiles(lambda b: b, ArraySource(noise(1, 90, 20)), Full(), tiling=Tiling((16, 16)))


@pytest.mark.parametrize(
    "options",
    [
        {"window": (0, 4)},
        {"window": ()},
        {"window": (4, 4), "overlap": 1.0},
        {"window": (4, 4), "blend": "mean"},
        {"window": (4, 4), "pad": "edge"},
        {"window": (4, 4), "batch_size": 0},
    ],
)
def test_impossible_settings_are_refused(options):
    with pytest.raises(RecipeError, match="infer"):
        Tiling(**options)


def test_another_number_of_axes_is_refused():
    with pytest.raises(RecipeError, match="has 2 axes, the image 3"):
        joined(noise(1, 4, 4, 4), Tiling((4, 4)))
