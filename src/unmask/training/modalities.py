"""Kinds of images in a training set, found by clustering what a network sees in them.

The modality discovery of MEDIAR (Lee et al. 2022, arXiv:2212.03465) on any data set: one vector for
each image, k-means, and an order in which images of small clusters come more often. The clusters
are written into the run's folder, one line per image, to be looked at; a resumed run reads them.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from lightning_fabric import Fabric
from torch import distributed, nn

from unmask.atomic import atomic_write
from unmask.data.crops import Crops
from unmask.data.sampling import Modalities, oversample
from unmask.errors import CheckpointError, RecipeError, message
from unmask.kmeans import kmeans
from unmask.plain_text import from_cell, guard_formula

FILE = "modalities.csv"
# Shares whose percentiles describe the brightness of an image.
_SHARES = (5, 25, 50, 75, 95)
# Distances in voxels over which texture is measured.
_SCALES = (1, 2, 4, 8)


def check_start(options: Modalities, folder: Path, *, init: bool, resume: bool) -> None:
    """Refuse to compare images by a network that has learned nothing.

    Raises:
        RecipeError: features of the backbone without weights to start from.
    """
    if options.features == "backbone" and not init and not (resume and (folder / FILE).is_file()):
        raise RecipeError(
            "data.sampling modalities: expected --init with a pre-trained model, whose features "
            "tell images apart, found none. Give one, or compare brightness, color and texture: "
            "--set data.sampling.features=statistics."
        )


def discover(
    crops: Crops,
    backbone: nn.Module,
    options: Modalities,
    *,
    folder: Path,
    fabric: Fabric,
    resume: bool = False,
) -> list[int]:
    """Numbers of the images of an epoch, small clusters repeated up to the floor.

    Processes divide the images, so that none waits for another longer than its share takes. The
    main process finds the clusters, or reads those of the run that is resumed; all use them.

    Args:
        crops: the training images.
        backbone: network whose coarsest features are compared, unless statistics are.
        options: how many clusters, and how often each.
        folder: of the run; gets ``modalities.csv``.
        fabric: device and processes.
        resume: take the clusters of the folder where it has some.

    Raises:
        RecipeError: no fewer clusters than images.
        DataError: images too alike for so many clusters.
        CheckpointError: the clusters in the folder are of other images.
    """
    path, names = folder / FILE, crops.sources
    # What the main process sees counts: others may look at a folder a moment later.
    known = fabric.broadcast(resume and path.is_file())
    vectors = None
    if not known:
        _check_count(options, len(names))
        vectors = describe(crops, backbone, options, fabric)
    clusters: list[int] = []
    if fabric.is_global_zero:
        if vectors is None:
            clusters = _read(path, names)
        else:
            clusters = _clusters(vectors, options.clusters, seed=crops.plan.seed)
            atomic_write(path, _table(names, clusters).encode("utf-8", "surrogateescape"))
    return oversample(fabric.broadcast(clusters), options.floor)


def _check_count(options: Modalities, count: int) -> None:
    """Refuse as many clusters as images."""
    if options.clusters >= count:
        raise RecipeError(
            f"data.sampling.clusters={options.clusters}: expected fewer than the {count} training "
            f"images, found no fewer. Set it lower, e.g. --set data.sampling.clusters="
            f"{max(1, count // 10)}, or leave out data.sampling."
        )


def _clusters(vectors: Float[np.ndarray, "n d"], count: int, *, seed: int) -> list[int]:
    """Number of the cluster of each image; the largest one has number 0."""
    found = kmeans(standardize(vectors), count, seed=seed).labels
    order = np.argsort(-np.bincount(found, minlength=count), kind="stable")
    return np.argsort(order)[found].tolist()


def describe(
    crops: Crops, backbone: nn.Module, options: Modalities, fabric: Fabric
) -> Float[np.ndarray, "n d"]:
    """A vector for each image; every process computes some batches and gets the others' rows."""
    size, count = crops.plan.batch_size, len(crops.sources)
    batches = [range(start, min(start + size, count)) for start in range(0, count, size)]
    own = batches[fabric.global_rank :: fabric.world_size]
    if options.features == "statistics":
        rows = [np.stack([statistics(crops.middle(n)) for n in numbers]) for numbers in own]
    else:
        rows = embeddings(crops, backbone, fabric, own)
    parts = [rows]
    if fabric.world_size > 1:
        parts = [[] for _ in range(fabric.world_size)]
        distributed.all_gather_object(parts, rows)
    # Batches were dealt to the processes in turn.
    turns = range(max(map(len, parts)))
    return np.concatenate([part[turn] for turn in turns for part in parts if turn < len(part)])


@torch.no_grad()
def embeddings(
    crops: Crops, backbone: nn.Module, fabric: Fabric, batches: Sequence[Sequence[int]]
) -> list[Float[np.ndarray, "b d"]]:
    """Mean of the coarsest features over the middle of each image, of the size of a crop."""
    training = backbone.training
    backbone.to(fabric.device).eval()
    rows: list[np.ndarray] = []
    for numbers in batches:
        images = torch.from_numpy(np.stack([crops.middle(number) for number in numbers]))
        with fabric.autocast():
            coarsest = backbone(images.to(fabric.device))[-1]
        rows.append(coarsest.flatten(2).float().mean(2).cpu().numpy())
    backbone.train(training)
    return rows


def statistics(image: Float[np.ndarray, "c *space"]) -> Float[np.ndarray, " d"]:
    """Brightness, color and texture of a normalized image as a vector."""
    axes = tuple(range(1, image.ndim))
    spread = image.std(axis=axes)
    brightness = np.percentile(image, _SHARES)
    texture = [
        np.mean([_change(image, axis, scale) for axis in axes]) / (image.std() + 1e-6)
        for scale in _SCALES
    ]
    color = image.std(axis=0).mean()
    return np.concatenate([image.mean(axis=axes), spread, brightness, texture, [color]])


def _change(image: np.ndarray, axis: int, scale: int) -> float:
    """Mean difference of voxels so far apart along an axis; 0 where it is too short."""
    if image.shape[axis] <= scale:
        return 0.0
    later = np.take(image, range(scale, image.shape[axis]), axis)
    earlier = np.take(image, range(image.shape[axis] - scale), axis)
    return float(np.abs(later - earlier).mean())


def standardize(vectors: Float[np.ndarray, "n d"]) -> Float[np.ndarray, "n e"]:
    """Components of mean 0 and deviation 1, so that none rules the distances; float32.

    Components that are equal for all images, up to rounding, are left out.
    """
    vectors = vectors.astype(np.float64)
    deviation = vectors.std(axis=0)
    useful = deviation > 1e-6 * (np.abs(vectors).max(axis=0) + 1e-12)
    if not useful.any():
        return np.zeros((len(vectors), 1), np.float32)
    chosen = vectors[:, useful]
    return ((chosen - chosen.mean(axis=0)) / deviation[useful]).astype(np.float32)


def _table(names: Sequence[str], clusters: Sequence[int]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["image", "cluster"])
    rows = sorted(zip(clusters, range(len(names)), names, strict=True))
    writer.writerows([guard_formula(name), cluster] for cluster, _, name in rows)
    return text.getvalue()


def _read(path: Path, names: Sequence[str]) -> list[int]:
    try:
        text = path.read_text(encoding="utf-8", errors="surrogateescape")
        rows = list(csv.reader(io.StringIO(text, newline="")))[1:]
        found = {from_cell(name): int(cluster) for name, cluster in rows}
    except ValueError as error:
        raise _unusable(path, f"a line of another form ({error})") from error
    if found.keys() != set(names):
        differ = sorted(found.keys() ^ set(names))
        raise _unusable(path, f"other images: {', '.join(differ[:4])}")
    return [found[name] for name in names]


def _unusable(path: Path, found: str) -> CheckpointError:
    return CheckpointError(
        message(
            path,
            expected="a line for each training image: image,cluster",
            found=found,
            do="Restore the file, or start a new run.",
        )
    )
