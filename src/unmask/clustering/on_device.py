"""The nearest center of features that are on a GPU, so that only labels travel to the host."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float, Float32, Int32
from torch import Tensor

from unmask.errors import DataError, message

# Rows of one product: their scores for 64 centers take 0.25 GB.
_ROWS = 1 << 20


@torch.inference_mode()
def nearest_centers(
    points: Float[Tensor, "n d"], centers: Float32[np.ndarray, "k d"]
) -> Int32[np.ndarray, " n"]:
    """Number of the nearest center of every point, the first of equals.

    Labels differ from `unmask.kmeans.assign` only where two centers are as near up to rounding.

    Args:
        points: on their device.
        centers: of the clusters.

    Raises:
        DataError: points that are not finite.
    """
    exact = centers.astype(np.float64)
    middle = exact.mean(axis=0)
    # As in `unmask.kmeans`: |x - c|^2 is smallest where x . (c - m) - (|c|^2 - |m|^2) / 2 is
    # largest. The middle is subtracted in float64 on the host, because MPS has no float64.
    directions = torch.from_numpy((exact - middle).astype(np.float32)).to(points.device)
    halves = ((exact - middle) * (exact + middle)).sum(axis=1) / 2
    offsets = torch.from_numpy(halves.astype(np.float32)).to(points.device)
    labels = torch.empty(len(points), dtype=torch.int32, device=points.device)
    for part, into in zip(points.split(_ROWS), labels.split(_ROWS), strict=True):
        scores = torch.addmm(offsets, part, directions.T, beta=-1)
        # A score that is not finite says that its point is not.
        finite = torch.isfinite(scores).all(dim=1)
        into.copy_(torch.where(finite, scores.argmax(dim=1), -1))
    found = labels.cpu().numpy()
    if len(found) and found.min() < 0:
        raise DataError(
            message(
                "k-means",
                expected="finite points",
                found="some that are infinite or not a number",
                do="Look for damaged pixels in the images, or for a model that diverged.",
            )
        )
    return found
