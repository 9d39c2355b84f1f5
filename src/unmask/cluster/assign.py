"""Labels of clusters, block by block: volumes of any size, on one machine or many, resumable.

Every block is encoded, each voxel gets the nearest centre, and the vectors are forgotten. A block
is a pure function of model, image, centres and its number.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from importlib.metadata import version
from pathlib import Path

import numpy as np

from unmask.blocks.engine import ImageFile, Known, numbered
from unmask.blocks.grid import Grid
from unmask.blocks.resume import Plan, block_file, files_mark, workplace
from unmask.blocks.scheduler import scheduler
from unmask.blocks.store import read_array, write_arrays
from unmask.blocks.write import Result, assemble
from unmask.cluster.centers import Centres, Volume, prepare
from unmask.cluster.dense import Dense
from unmask.cluster.encoder import load_encoder
from unmask.data.normalize import Measured
from unmask.errors import CheckpointError, DataError, RecipeError, message
from unmask.infer.tiles import Progress
from unmask.io.multi_file import files_of
from unmask.io.paths import locate
from unmask.kmeans import assign


@dataclass(frozen=True)
class Counts:
    """Of every cluster of one volume.

    Attributes:
        voxels: ``(k,)``.
        intensity: ``(k,)`` mean of the network's input, all channels; NaN where there is none.
    """

    voxels: np.ndarray
    intensity: np.ndarray


@dataclass(frozen=True)
class EncoderFile:
    """Where a worker gets what computes vectors; a process loads it once.

    Attributes:
        model: model file as every worker sees it.
        settings: changes to its recipe.
        digest: of the weights that the run began with.
        quality: of the vectors.
        compat: of the vectors.
        surround: of the vectors.
        turns: of the vectors.
        axes: of images whose files do not say themselves.
        allow_code: the user allows that code of the model runs.
    """

    model: str
    settings: tuple[str, ...]
    digest: str
    quality: str
    compat: str
    surround: float
    turns: bool
    axes: str | None
    allow_code: bool = False

    def __call__(self) -> Dense:
        """What computes vectors."""
        return _loaded(self)


@dataclass(frozen=True)
class VolumeFile:
    """Where a worker gets a volume; a process opens it once.

    Attributes:
        file: the image.
        dense: what computes vectors.
        channels: that the network sees.
        measured: figures of the whole image.
    """

    file: ImageFile
    dense: EncoderFile
    channels: int
    measured: Measured

    def __call__(self) -> Volume:
        """The volume."""
        normalize = Known(self.measured)
        return prepare(self.dense(), self.file(), channels=self.channels, normalize=normalize)


@dataclass(frozen=True)
class Job:
    """Everything that the work on a block needs.

    Attributes:
        dense: gives what computes vectors.
        volume: gives the image.
        centres: ``(k, d)``.
        classes: ``(k,)`` label of each cluster.
        grid: the blocks.
        folder: where the files of blocks are.
    """

    dense: Callable[[], Dense]
    volume: Callable[[], Volume]
    centres: np.ndarray
    classes: np.ndarray
    grid: Grid
    folder: Path


def grid_of(dense: Dense, volume: Volume) -> Grid:
    """The blocks of a volume."""
    return Grid(volume.space, dense.block(volume.space), 0)


def needs(dense: Dense, volume: Volume) -> str:
    """What the labels of a volume will take, for people."""
    grid = grid_of(dense, volume)
    size = " x ".join(map(str, grid.block))
    # Vectors as they are computed, as k-means sees them, and on the way from one to the other.
    memory = grid.tile(0).write.size * (3 * 4 * dense.dim + 32)
    return (
        f"{len(grid)} block(s) of {size} voxels, about {memory / 1e9:.1f} GB of memory for each in "
        f"work beside the model, {dense.windows(volume.space)} windows"
    )


def plan_labels(dense: Dense, centres: Centres, volume: Volume, classes: np.ndarray) -> Plan:
    """What decides about the labels of every block of a volume."""
    grid = grid_of(dense, volume)
    facts = {
        "features": centres.facts,
        "precision": dense.precision,
        "centres": centres.digest,
        "classes": classes.tolist(),
        "image": Path(volume.image.source).name,
        "file": files_mark(volume.image),
        "shape": list(volume.image.shape),
        "block": list(grid.block),
        "unmask": version("unmask"),
    }
    facts = json.loads(json.dumps(facts))
    return Plan(facts, facts, len(grid))


def label_volume(  # noqa: PLR0913 - what a run is given, each once
    dense: Dense,
    centres: Centres,
    volume: Volume,
    out: Path,
    *,
    classes: np.ndarray | None = None,
    cluster: str | None = None,
    origin: EncoderFile | None = None,
    resume: bool = False,
    progress: Progress | None = None,
) -> Counts:
    """Write the label image of a volume, block by block; finished blocks outlive a kill.

    Args:
        dense: gives vectors.
        centres: of the clusters.
        volume: the image.
        out: label file.
        classes: ``(k,)`` label of each cluster; default 1 ... k.
        cluster: None for this process, else see ``dispatch.scheduler``.
        origin: where workers elsewhere get ``dense``.
        resume: keep the finished blocks of a run that was ended.
        progress: called with (blocks done, blocks in all).

    Raises:
        CheckpointError: another run works on this output, or an ended one had other settings.
        RecipeError: workers elsewhere cannot get the model or the image.
        SaveError: the disk is full; finished blocks are kept.
    """
    count = len(centres.values)
    classes = np.arange(1, count + 1) if classes is None else classes
    grid = grid_of(dense, volume)
    plan = plan_labels(dense, centres, volume, classes)
    with workplace(out, plan, resume=resume) as (folder, finished):
        ready = set(finished)
        place = folder.absolute()
        # A mean taken from every vector is as well added to every centre.
        values = centres.values if volume.mean is None else centres.values + volume.mean
        job = Job(lambda: dense, lambda: volume, values, classes, grid, place)
        if cluster is not None:
            job = _sent(job, volume, origin)

        def done(number: int) -> None:
            ready.add(number)
            if progress is not None:
                progress(len(ready), len(grid))

        with scheduler(cluster) as run:
            run(partial(label_block, job), [n for n in range(len(grid)) if n not in ready], done)
            dtype = np.min_scalar_type(int(classes.max()))
            result = Result(out.absolute(), grid, dtype, volume.image, plan.provenance)
            voxels, sums = (_total(folder, grid, name) for name in ("voxels", "sums"))
            assemble(result, place, partial(numbered, place), run)
    with np.errstate(invalid="ignore", divide="ignore"):
        return Counts(voxels, sums / voxels)


def label_block(job: Job, number: int) -> int:
    """Label one block and keep it with its counts.

    Raises:
        DataError: a part of the image that cannot be read, values or vectors that are not finite.
        SaveError: the result could not be kept.
    """
    dense, volume, box = job.dense(), job.volume(), job.grid.tile(number).write
    vectors = dense.vectors(volume.read, volume.space, box).flatten(0, -2).cpu().numpy()
    try:
        clusters = assign(vectors, job.centres)[0]
    except DataError as error:
        raise DataError(f"{volume.image.source}: {error}") from error
    del vectors
    grey = volume.inside(box).mean(axis=0).ravel()
    labels = job.classes[clusters].reshape(box.shape)
    count = len(job.centres)
    arrays = {
        "labels": labels.astype(np.min_scalar_type(int(job.classes.max()))),
        "voxels": np.bincount(clusters, minlength=count),
        "sums": np.bincount(clusters, grey, minlength=count),
    }
    write_arrays(block_file(job.folder, number), arrays, {"top": int(labels.max())})
    return number


def _total(folder: Path, grid: Grid, name: str) -> np.ndarray:
    """Sum of an array ``(k,)`` over all blocks."""
    parts = (read_array(block_file(folder, number), name) for number in range(len(grid)))
    return np.sum(list(parts), axis=0)


def _sent(job: Job, volume: Volume, origin: EncoderFile | None) -> Job:
    """The job as workers elsewhere can do it: with paths in place of what is in memory."""
    image = volume.image
    there = all(locate(file).path.exists() for file in files_of(image.source))
    if origin is None or not there:
        raise RecipeError(
            "--workers: expected the model and images in files that every worker can read, found "
            "some in memory. Give paths, or leave out the cluster."
        )
    source, mark = str(Path(image.source).absolute()), files_mark(image)
    file = ImageFile(source, origin.axes, image.shape, mark=mark)
    return replace(
        job,
        dense=origin,
        volume=VolumeFile(file, origin, volume.channels, volume.measured),
    )


@lru_cache(maxsize=1)
def _loaded(file: EncoderFile) -> Dense:
    encoder = load_encoder(file.model, file.settings, allow_code=file.allow_code)
    if encoder.digest != file.digest:
        raise CheckpointError(
            message(
                file.model,
                expected="the weights that the run began with",
                found="others",
                do="Do not replace a model during a run; give every worker the same files.",
            )
        )
    return encoder.dense(
        quality=file.quality, compat=file.compat, surround=file.surround, turns=file.turns
    )
