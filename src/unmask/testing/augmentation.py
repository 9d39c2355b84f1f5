"""Contract of augmentations: chance from the generator, pure application."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from unmask.data import AUGMENTATIONS
from unmask.data.augment.apply import (
    Augmentation,
    LabeledAugmentation,
    MixingAugmentation,
    Resampler,
    augment,
    read_shape,
)
from unmask.data.augment.zoom import Zoom
from unmask.space.random import generator
from unmask.testing.base import Contract

CROPS = {2: (16, 18), 3: (6, 10, 8)}
_SAMPLES = 6


@pytest.mark.parametrize("ndim", CROPS)
class AugmentationContract(Contract):
    """What every random change of crops must keep, in 2D and 3D.

    The result is finite float32 of the right shape, a pure function of the sample and its
    generator, and does not depend on the other samples of the batch, unless it mixes them. The
    input stays as it is.
    """

    channels = 3

    def build(self) -> Any:
        """The augmentation."""
        part = self.build_from(AUGMENTATIONS, "augmentation")
        if isinstance(part, Zoom):
            pytest.skip("changes the size that is read; tested with the crops")
        return part

    def _sample(self, ndim: int, *, value: float | None = None) -> tuple[Tensor, Tensor]:
        read = read_shape(CROPS[ndim], [self.build()])
        drawn = torch.Generator().manual_seed(1)
        images = torch.rand(_SAMPLES, self.channels, *read, generator=drawn) * 3 - 1
        if value is not None:
            images.fill_(value)
        labels = torch.randint(0, 4, (_SAMPLES, *read), generator=drawn)
        if isinstance(self.build(), MixingAugmentation):
            # Whole objects inside the crop, which can be taken from a sample.
            labels.zero_()
            labels[(slice(None), *(slice(n // 3, n // 3 + 2) for n in read))] = 1
        return images, labels

    def _apply(self, images: Tensor, labels: Tensor, ndim: int, first: int = 0) -> Any:
        rngs = [generator(7, "augment", first + number) for number in range(len(images))]
        return augment(images, labels, rngs, crop=CROPS[ndim], parts=[self.build()])

    def test_protocol(self, ndim: int) -> None:
        """One of the kinds: intensity, intensity by objects, mixing of samples, geometry."""
        del ndim
        kinds = Augmentation | LabeledAugmentation | MixingAugmentation | Resampler
        assert isinstance(self.build(), kinds)

    def test_shapes(self, ndim: int) -> None:
        """Images and labels of the size of the crop."""
        images, labels = self._apply(*self._sample(ndim), ndim)
        assert images.shape == (_SAMPLES, self.channels, *CROPS[ndim])
        assert images.dtype == torch.float32
        assert torch.isfinite(images).all()
        assert labels.shape == (_SAMPLES, *CROPS[ndim])
        assert labels.dtype == torch.int64
        if not isinstance(self.build(), MixingAugmentation):
            assert set(labels.unique().tolist()) <= {0, 1, 2, 3}

    def test_input_stays_as_it_is(self, ndim: int) -> None:
        """Crops are kept for the next epoch."""
        images, labels = self._sample(ndim)
        before = images.clone(), labels.clone()
        self._apply(images, labels, ndim)
        part = self.build()
        if isinstance(part, Augmentation):
            shape = (self.channels, *CROPS[ndim])
            rngs = [generator(7, "augment", number) for number in range(_SAMPLES)]
            part.apply(images, [part.draw(rng, shape) for rng in rngs])
        assert torch.equal(images, before[0])
        assert torch.equal(labels, before[1])

    def test_chance_comes_from_the_generator(self, ndim: int) -> None:
        """The same generators give the same batch, others another one."""
        sample = self._sample(ndim)
        images, labels = self._apply(*sample, ndim)
        torch.manual_seed(99)
        again, moved = self._apply(*sample, ndim)
        assert torch.equal(images, again)
        assert torch.equal(labels, moved)
        others = [self._apply(*sample, ndim, first=100 * n)[0] for n in (1, 2, 3, 4)]
        assert any(not torch.equal(images, other) for other in others)

    def test_a_sample_does_not_depend_on_its_batch(self, ndim: int) -> None:
        """Batches are the same on any number of workers."""
        if isinstance(self.build(), MixingAugmentation):
            pytest.skip("depends on the batch; a batch is a function of its number")
        images, labels = self._sample(ndim)
        together, moved = self._apply(images, labels, ndim)
        for number in range(_SAMPLES):
            one = slice(number, number + 1)
            alone, ids = self._apply(images[one], labels[one], ndim, first=number)
            torch.testing.assert_close(alone[0], together[number], atol=1e-6, rtol=1e-5)
            assert torch.equal(ids[0], moved[number])

    @pytest.mark.parametrize("value", [0.0, 1.0, -3.0, 1e6])
    def test_constant_images_stay_finite(self, ndim: int, value: float) -> None:
        """Empty regions of an image have no range of values."""
        images, _ = self._apply(*self._sample(ndim, value=value), ndim)
        assert torch.isfinite(images).all()

    def test_a_sample_without_parameters_is_left_alone(self, ndim: int) -> None:
        """``draw`` returns None for it."""
        part = self.build()
        images = torch.rand(2, self.channels, *CROPS[ndim])
        if isinstance(part, MixingAugmentation):
            labels = torch.randint(0, 4, (2, *CROPS[ndim]))
            mixed, ids = part.mix(images, labels, [None, None])
            assert torch.equal(mixed, images)
            assert torch.equal(ids, labels)
            return
        if not isinstance(part, Augmentation):
            pytest.skip("not a plain change of intensities")
        assert torch.equal(part.apply(images, [None, None]), images)
