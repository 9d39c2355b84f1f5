"""Labels of clusters, block by block: volumes of any size, on one machine or many, resumable.

Every block is encoded, each voxel gets the nearest center, and the features are discarded. A block
is a pure function of model, image, centers and its number.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np

from unmask.blocks.base import Facts, Output, Plan
from unmask.blocks.engine import run
from unmask.blocks.grid import Grid
from unmask.blocks.ship import ImageFile, ModelFile, in_memory, ship_image
from unmask.clustering.centers import Centers, Volume, prepare
from unmask.clustering.dense import Dense
from unmask.clustering.on_device import nearest_centers
from unmask.data.normalize import Measured
from unmask.data.source import Known
from unmask.errors import DataError
from unmask.io.identity import image_identity
from unmask.kmeans import assign
from unmask.progress import Progress
from unmask.space.box import Tile
from unmask.wording import format_count

# Windows whose time is measured for the forecast.
_TIMED = 16


@dataclass(frozen=True)
class Counts:
    """Of every cluster of one volume.

    Attributes:
        voxels: ``(k,)``.
        intensity: ``(k,)`` mean of the network's input, all channels; NaN if there is none.
    """

    voxels: np.ndarray
    intensity: np.ndarray


@dataclass(frozen=True)
class AssignWork:
    """The nearest center of every voxel of one volume, for ``unmask.blocks.engine``.

    Attributes:
        dense: computes features.
        centers: of the clusters.
        volume: the image.
        classes: ``(k,)`` label of each cluster.
        origin: where other processes get ``dense``; None: nowhere.
        axes: of images whose files do not say themselves.
    """

    dense: Dense
    centers: Centers
    volume: Volume
    classes: np.ndarray
    origin: ModelFile[Dense] | None = None
    axes: str | None = None

    @property
    def grid(self) -> Grid:
        """The blocks of the volume."""
        return Grid(self.volume.space, self.dense.block(self.volume.space), 0)

    def plan(self) -> Plan:
        """What decides about the labels."""
        image, place = self.volume.original, self.volume.place
        facts = {
            "features": self.centers.facts,
            "precision": self.dense.precision,
            "centres": self.centers.digest,
            "classes": self.classes.tolist(),
            "image": Path(image.source).name,
            "file": image_identity(image),
            "shape": list(image.shape),
            "block": list(self.grid.block),
            "unmask": version("unmask"),
        }
        if place is not None:
            facts["grid"] = [place.box.start, place.box.stop, place.shape]
        facts = json.loads(json.dumps(facts))
        windows = self.dense.windows(self.volume.space)
        steps = max(1, windows // len(self.grid))
        return Plan(facts, facts, largest=int(self.classes.max()), steps=steps)

    @contextmanager
    def labeler(
        self,
        folder: Path,  # noqa: ARG002 - the protocol
        *,
        missing: int,  # noqa: ARG002 - the protocol
        remote: bool,
        progress: Progress | None,  # noqa: ARG002 - the protocol
    ) -> Generator[CenterLabeler, None, None]:
        """What assigns the voxels of blocks; it needs no shared work.

        Raises:
            RecipeError: other processes cannot get the model or the image.
        """
        volume = self.volume
        # A mean taken from all features is as well added to all centers.
        values = self.centers.values
        centers = values if volume.mean is None else values + volume.mean
        if not remote:
            yield CenterLabeler(lambda: self.dense, lambda: volume, centers, self.classes)
            return
        if self.origin is None:
            raise in_memory()
        image = ship_image(volume.original, self.axes, volume.place)
        file = VolumeFile(image, self.origin, volume.channels, volume.measured)
        yield CenterLabeler(self.origin, file, centers, self.classes)

    def finish(self, folder: Path) -> None:
        """There are no results other than labels."""


@dataclass(frozen=True)
class VolumeFile:
    """A volume in a file; call it to get the volume.

    Attributes:
        image: the image.
        dense: computes features.
        channels: channels that the network sees.
        measured: what brings the image to the network's range.
    """

    image: ImageFile
    dense: ModelFile[Dense]
    channels: int
    measured: Measured

    def __call__(self) -> Volume:
        """The volume."""
        normalize = Known(self.measured)
        return prepare(self.dense(), self.image(), channels=self.channels, normalize=normalize)


@dataclass(frozen=True)
class CenterLabeler:
    """Labels of a block from its features: a function of model, image, centers and block.

    Attributes:
        dense: gives what computes features.
        volume: gives the image.
        centers: ``(k, d)``.
        classes: ``(k,)`` label of each cluster.
    """

    dense: Callable[[], Dense]
    volume: Callable[[], Volume]
    centers: np.ndarray
    classes: np.ndarray

    def label(self, tile: Tile, *, progress: Progress | None = None) -> tuple[np.ndarray, Facts]:
        """Labels of a block; facts are the voxels of each cluster, and the sum of their intensity.

        Raises:
            DataError: a part of the image that cannot be read, values or features that are not
                finite.
        """
        dense, volume, box = self.dense(), self.volume(), tile.write
        features = dense.compute(volume.read, volume.space, box, progress=progress).flatten(0, -2)
        try:
            if features.device.type == "cpu":
                clusters = assign(features.numpy(), self.centers)[0]
            else:
                clusters = nearest_centers(features, self.centers)
        except DataError as error:
            raise DataError(f"{volume.image.source}: {error}") from error
        del features
        gray = volume.inside(box).mean(axis=0).ravel()
        count = len(self.centers)
        facts = {
            "voxels": np.bincount(clusters, minlength=count).tolist(),
            "sums": np.bincount(clusters, gray, minlength=count).tolist(),
        }
        return self.classes[clusters].reshape(box.shape), facts


def needs(dense: Dense, volume: Volume) -> str:
    """What the labels of a volume will take, for people."""
    grid = Grid(volume.space, dense.block(volume.space), 0)
    size = " x ".join(map(str, grid.block))
    # Features as they are computed, as k-means sees them, and on the way from one to the other.
    memory = grid.tile(0).write.size * (3 * 4 * dense.dim + 32)
    return (
        f"{format_count(len(grid), 'block')} of {size} voxels, about {memory / 1e9:.1f} GB of "
        f"memory per block in work in addition to the model, {dense.windows(volume.space)} windows"
    )


def estimate_seconds(dense: Dense, volumes: Sequence[Volume]) -> float:
    """Time for the features of all volumes in this process, from that for a few windows."""
    first = volumes[0]
    windows = dense.windows(first.space)
    numbers = np.linspace(0, windows - 1, min(windows, _TIMED)).astype(np.int64)
    begin = time.perf_counter()
    dense.compute_windows(first.read, first.space, numbers)
    whole = sum(dense.windows(volume.space) for volume in volumes)
    return (time.perf_counter() - begin) / len(numbers) * whole


def label_volume(
    work: AssignWork,
    out: Path,
    *,
    cluster: str | None = None,
    resume: bool = False,
    progress: Progress | None = None,
) -> Counts:
    """Write the label image of a volume, block by block; finished blocks outlive a kill.

    Args:
        work: model, centers and image.
        out: label file.
        cluster: None for this process, else see ``unmask.blocks.scheduler``.
        resume: keep the finished blocks of a run that was ended.
        progress: called with (windows done, windows in all), about.

    Raises:
        CheckpointError: another run works on this output, or an ended one had other settings.
        RecipeError: workers elsewhere cannot get the model or the image.
        SaveError: the disk is full; finished blocks are kept.
    """
    output = Output(out, work.volume.original, work.volume.place, name="clusters")
    outcome = run(work, work.grid, output, cluster=cluster, resume=resume, progress=progress)
    voxels, sums = (
        np.sum([facts[name] for facts in outcome.facts], axis=0) for name in ("voxels", "sums")
    )
    with np.errstate(invalid="ignore", divide="ignore"):
        return Counts(voxels, sums / voxels)
