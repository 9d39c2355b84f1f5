"""Uncertainty of a model about an image, and features of the image from the model.

Mirrored views of an image have the same true labels. If the predicted labels of the views differ,
the model is uncertain (Gal, Islam & Ghahramani 2017, arXiv:1703.02910, with flips in place of
dropout).
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from unmask.data.source import ImageSource, Known
from unmask.infer.predictor import Predictor
from unmask.infer.views import Views
from unmask.io import Image
from unmask.space.box import Box


def measure_disagreement(predictor: Predictor, image: Image) -> float | None:
    """1 minus the mean agreement of the labels of mirrored images with those of the image.

    Returns:
        0 (sure) to 1; None if nothing is found in any view.

    Raises:
        DataError: the image does not fit the model.
    """
    views = [(), *((axis,) for axis in range(predictor.ndim))]
    labels = [replace(predictor, views=Views((axes,))).predict(image).labels for axes in views]
    if not any(ids.any() for ids in labels):
        return None
    return 1 - float(np.mean([measure_agreement(labels[0], other) for other in labels[1:]]))


def measure_agreement(first: NDArray[np.integer], second: NDArray[np.integer]) -> float:
    """Mean over all voxels of objects of the overlap (IoU) of the objects that own the voxel.

    Object numbers need not agree. 1 for equal divisions, and for two that are empty.

    Examples:
        >>> measure_agreement(np.array([0, 1, 1, 2]), np.array([0, 2, 2, 1]))
        1.0
    """
    # Pairs of one object of each; 0 is background.
    wide = int(second.max(initial=0)) + 1
    pairs, counts = np.unique(first.astype(np.int64) * wide + second, return_counts=True)
    a, b = np.divmod(pairs, wide)
    sizes = [np.bincount(ids, counts) for ids in (a, b)]
    overlap = counts / (sizes[0][a] + sizes[1][b] - counts)
    objects = (a > 0) | (b > 0)
    if not objects.any():
        return 1.0
    overlap[(a == 0) | (b == 0)] = 0
    return float(np.average(overlap[objects], weights=counts[objects]))


@torch.inference_mode()
def embed_image(predictor: Predictor, image: Image) -> NDArray[np.float32]:
    """Mean and spread ``(d,)`` of the coarsest features of the first model in the middle window."""
    seen = predictor.view.place(image).seen(image)
    source = ImageSource(seen, channels=predictor.channels, normalize=predictor.normalize)
    space, window = source.shape[1:], predictor.tiling.window
    size = tuple(min(n, m) for n, m in zip(space, window, strict=True))
    start = tuple((n - s) // 2 for n, s in zip(space, size, strict=True))
    values = source.box(Box(start, tuple(a + s for a, s in zip(start, size, strict=True))))
    missing = [(0, 0), *((0, m - s) for m, s in zip(window, size, strict=True))]
    values = torch.from_numpy(np.pad(values, missing, "symmetric"))[None].to(predictor.device)
    segmenter = predictor.segmenters[0].eval()
    coarsest = segmenter.backbone(values)[-1].float().flatten(2)[0]  # pyright: ignore
    return torch.cat([coarsest.mean(1), coarsest.std(1)]).cpu().numpy()


def normalize_alike(predictor: Predictor, image: Image) -> Predictor:
    """The predictor with the normalization of a whole image, for regions of it."""
    seen = predictor.view.place(image).seen(image)
    source = ImageSource(seen, channels=predictor.channels, normalize=predictor.normalize)
    return replace(predictor, normalize=Known(source.measured))
