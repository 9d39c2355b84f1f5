"""Depth, strides and kernels of the network, batch size, and the schedule."""

from __future__ import annotations

from collections.abc import Sequence

from unmask.planning.decision import Decision
from unmask.shipped.starts import ShippedStart

# Voxels that the coarsest level keeps along an axis, and levels at most, by number of axes.
_COARSE = {2: 8, 3: 4}
_LEVELS = {2: 6, 3: 5}
# An axis is halved once its voxels are at most so much longer than the shortest (nnU-Net,
# doi:10.1038/s41592-020-01008-z, keeps axes of twice the spacing).
_LONG = 2.0
# Fewest updates of a training, as far as smaller batches allow it.
_UPDATES, _SMALLEST = 500, 2
# Fewest updates, as far as smaller crops allow it. On half of a volume of neurites (fib25_em3d),
# 114 updates with crops of 64 voxels gave F1 0.191 and 288 updates with crops of 48 gave 0.435.
_LEAST = 250
# Peak learning rate of a training that starts from weights that know its objects, that of one whose
# start does not, and the F1 before the training that tells them apart. On other training images of
# nuclei, one labeled image and 300 updates gave F1 0.845 with it, 0.831 with 0.001, and
# 0.819 with 0.002; without a label it was 0.863. On phase contrast: 0.694, 0.694, 0.687; 0.537.
# One image of worms, 400 updates: 0.631 with it, 0.737 with 0.001, 0.824 with 0.002; 0.38 before.
# One of crowded nuclei, two draws: 0.832, 0.838, 0.813, and 0.876, none, 0.895; 0.15 before.
# For planes only: between the two halves of a volume of nuclei (plant_nuclei_3d_mini), 193 updates
# gave 0.741 and 0.738 with it, 0.852 and 0.812 with 0.002.
_GENTLE, _BOLD, _KNOWN = 5e-4, 1e-3, 0.7
# Smallest crop for the network of the shipped weights, along its two longest axes (two coarse
# voxels), and along the axis of few slices. On two synthetic stacks of ten slices (cytoplasm, 2.5
# CPU minutes), its weights gave F1 0.87, a network made for long voxels 0.45; on halves of real
# volumes, 0.66 and 0.65 (every fourth plane of plant_nuclei_3d_mini, 150 CPU seconds), and 0.39 and
# 0.37 (mito_sbem_nc, boundaries, 200 CPU seconds). Neurites: 0.10 and 0.13 (every fourth plane of
# fib25_em3d, affinities, 200 CPU seconds).
_START_CROP, _START_SLICES = 32, 8


def strides_of(crop: Sequence[int], voxel: Sequence[float]) -> list[list[int]]:
    """Strides of the levels, fine to coarse: long axes are halved once the others caught up."""
    ndim = len(crop)
    coarse, most = _COARSE.get(ndim, 4), _LEVELS.get(ndim, 5)
    strides = [[1] * ndim]
    while len(strides) < most:
        last = strides[-1]
        lengths = [v * s for v, s in zip(voxel, last, strict=True)]
        # Axes that can be halved without losing the last voxels.
        able = [n >= 2 * s * coarse for n, s in zip(crop, last, strict=True)]
        least = min((length for length, can in zip(lengths, able, strict=True) if can), default=0)
        new = [
            s * 2 if can and length < _LONG * least else s
            for s, can, length in zip(last, able, lengths, strict=True)
        ]
        if new == last:
            break
        strides.append(new)
    return strides


def kernels_of(strides: Sequence[Sequence[int]], voxel: Sequence[float]) -> list[list[int]]:
    """Kernels of the levels: 1 along an axis while its voxels are far longer than the others, or 3.

    An axis keeps its 3 at coarser levels: others may have stopped there because they are short.

    Examples:
        >>> kernels_of([[1, 1], [1, 2], [1, 4]], [4, 1]), kernels_of([[1, 1], [1, 4]], [1, 1])
        ([[1, 3], [1, 3], [3, 3]], [[3, 3], [3, 3]])
    """
    kernels: list[list[int]] = []
    for stride in strides:
        lengths = [v * s for v, s in zip(voxel, stride, strict=True)]
        near = [length < _LONG * min(lengths) for length in lengths]
        before = kernels[-1] if kernels else [1] * len(voxel)
        kernels.append([3 if n or k == 3 else 1 for n, k in zip(near, before, strict=True)])
    return kernels


def network_decisions(
    crop: Sequence[int],
    voxel: Sequence[float],
    *,
    width: int,
    why: str,
    start: ShippedStart | None = None,
) -> list[Decision]:
    """Backbone options; those of the start weights, if there are any."""
    if start is not None:
        text = f"the network of {start.name}, the weights that a training starts from (--init)"
        return [Decision("model.backbone", dict(start.backbone), text)]
    strides = strides_of(crop, voxel)
    even, depth = all(len(set(stride)) == 1 for stride in strides), len(strides)
    coarse = " x ".join(str(n // s) for n, s in zip(crop, strides[-1], strict=True))
    text = f"the coarsest of {depth} levels has {coarse} voxels of a crop; {why}"
    backbone: dict[str, object] = {"name": "resunet", "width": width}
    if even:
        backbone["depth"] = depth
        return [Decision("model.backbone", backbone, text)]
    backbone["strides"] = strides
    backbone["kernel"] = kernels_of(strides, voxel)
    if max(voxel) >= _LONG:
        text += f"; voxels measure {' x '.join(f'{v:.3g}' for v in voxel)}, "
        text += "so long axes are halved later"
    else:
        text += "; axes of few voxels are halved less often"
    return [Decision("model.backbone", backbone, text)]


def suits_start(crop: Sequence[int], voxel: Sequence[float], *, single: bool) -> bool:
    """Whether crops suit the network of the shipped weights.

    Args:
        crop: voxels per axis.
        voxel: length of a voxel per axis, relative to the shortest one.
        single: whether objects lie on a background, which are found in thin stacks and with long
            voxels too. Organs need more context there than this network sees, and neurites were
            not better.

    Examples:
        >>> suits_start([12, 96, 96], [4, 1, 1], single=True)
        True
    """
    if not single:
        return max(voxel) < _LONG and min(crop) >= _START_CROP
    return min(crop) >= _START_SLICES and min(sorted(crop)[-2:]) >= _START_CROP


def rate_decision(model: str, known: float | None) -> Decision:
    """The learning rate of a training that starts from a model of the same network and task.

    Args:
        model: its name.
        known: F1 of the model on the labeled images before the training; None: not measured.
    """
    if known is None:
        text = f"the start weights ({model}) know the task; larger steps would forget it"
        return Decision("train.lr", _GENTLE, text)
    found = (
        f"before the training, the start weights ({model}) have F1 {known:.2f} on labeled images"
    )
    if known >= _KNOWN:
        return Decision("train.lr", _GENTLE, f"{found}; larger steps would forget what they know")
    return Decision("train.lr", _BOLD, f"{found}, so they have much to learn, in larger steps")


def fit_batch(size: int, updates: int) -> int:
    """Batch size that leaves at least 500 updates within the given time, 2 at least.

    In a short training, many small updates learn more than few large ones that see as many voxels:
    the learning rate, not the noise of the gradients, limits how far the weights move.

    Args:
        size: batch size that was timed.
        updates: number of updates of this size that fit into the time.

    Examples:
        >>> fit_batch(8, 5000), fit_batch(8, 300), fit_batch(8, 30)
        (8, 4, 2)
    """
    while updates < _UPDATES and size > _SMALLEST:
        smaller = max(_SMALLEST, size // 2)
        updates, size = updates * size // smaller, smaller
    return size


def share_for(updates: int) -> float:
    """Voxels of a crop that leave at least 250 updates within the given time, as a share.

    Examples:
        >>> share_for(1000), share_for(125)
        (1.0, 0.5)
    """
    return min(1.0, max(1, updates) / _LEAST)


def schedule_decisions(steps: int, why: str) -> list[Decision]:
    """Number of updates, and what depends on it."""
    # Averaged weights look back over a twentieth of the run, 200 updates at most.
    ema = round(1 - 1 / max(10.0, min(200.0, steps / 20)), 4)
    return [
        Decision("train.steps", steps, why),
        Decision("train.warmup", max(1, min(100, steps // 10)), "a tenth of the run, 100 at most"),
        Decision("train.ema", ema, "averages over a twentieth of the run, 200 updates at most"),
    ]
