"""Parts that break one promise each; `test_testing` runs the contracts on them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from unmask.data.normalize import NoNormalize
from unmask.errors import DataError
from unmask.io.contract import Content, Format, Location, Stored
from unmask.models.resunet import ResUNet
from unmask.tasks.semantic import Semantic
from unmask.testing import (
    AugmentationContract,
    BackboneContract,
    FormatContract,
    MetricContract,
    NormalizerContract,
    TaskContract,
)


class Vanishing(ResUNet):
    def forward(self, image):
        features = super().forward(image)
        return [*features[:-1], features[-1].detach()]


@dataclass(frozen=True)
class Overwriting:
    p: float = 1.0

    def draw(self, rng, shape):
        return float(rng.uniform())

    def apply(self, images, params):
        return images.mul_(0.5)


@dataclass(frozen=True)
class Unsure:
    def draw(self, rng, shape):
        return 1.0

    def apply(self, images, params):
        return images + torch.rand(1)


class SignedTask(Semantic):
    def flip(self, scores, axis):
        return scores

    def loss(self, logits, values, weight):
        return super().loss(logits, values, torch.ones_like(weight))


class PerCrop(NoNormalize):
    def measure(self, image):  # pyright: ignore[reportIncompatibleMethodOverride]
        class Measured:
            undefined = 0

            def apply(self, crop):
                return (crop / max(1, crop.max())).astype(np.float32)

        return Measured()


def open_padded(location: Location, *, level: int = 0, labels: bool = False) -> Stored:
    data = np.frombuffer(location.path.read_bytes().ljust(64 * 64, b"\0")[: 64 * 64], np.uint8)
    array = data.reshape(64, 64)
    return Stored(array.shape, array.dtype, "YX", lambda index: array[index].copy())


def save_padded(location: Location, content: Content) -> None:
    location.path.write_bytes(content.array.astype(np.uint8).tobytes())


PADDED = Format("padded", open_padded, save_padded, suffixes=(".pad",))


def refuse(location: Location, content: Content) -> None:
    raise DataError(f"{location.source}: expected another array, found {content.array.dtype}.")


REFUSING = Format("refusing", open_padded, refuse, suffixes=(".ref",))


def count_pixels(truth, predicted):
    truth[...] = 0
    return int(predicted.sum())


class TestGradients(BackboneContract):
    part = Vanishing


class TestInput(AugmentationContract):
    part = Overwriting


class TestChance(AugmentationContract):
    part = Unsure


class TestSigns(TaskContract):
    part = SignedTask


class TestCrops(NormalizerContract):
    part = PerCrop


class TestDamage(FormatContract):
    part = PADDED


class TestRefusal(FormatContract):
    part = REFUSING


class TestNumbers(MetricContract):
    part = count_pixels
