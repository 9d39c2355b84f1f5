"""Tracks of objects in movies as files: the table of TrackMate and the text of the CTC.

CTC is the Cell Tracking Challenge (Ulman et al. 2017, doi:10.1038/nmeth.4473), whose folders are
read by TrackMate, Trackastra and most programs that compare tracks.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from unmask.atomic import atomic_write
from unmask.labels.linking import Frame, Tracks

_COLUMNS = (
    *("LABEL", "ID", "TRACK_ID", "QUALITY", "POSITION_X", "POSITION_Y", "POSITION_Z"),
    *("POSITION_T", "FRAME", "RADIUS"),
)


@dataclass(frozen=True)
class TrackTable:
    """Every object of a movie with its track.

    Attributes:
        frame: ``(n,)`` point in time.
        track: ``(n,)`` number of the track, the id in the label image.
        center: ``(n, ndim)`` slow axis first.
        radius: ``(n,)`` of a circle or ball of the same size.
        parents: track of the mother by track.
    """

    frame: NDArray[np.int64]
    track: NDArray[np.int64]
    center: NDArray[np.float64]
    radius: NDArray[np.float64]
    parents: dict[int, int]

    @classmethod
    def of(cls, frames: Sequence[Frame], tracks: Tracks) -> TrackTable:
        """The table of objects that were followed, see `unmask.labels.linking`."""
        ids = np.concatenate([frame.ids for frame in frames])
        ndim = max(frame.center.shape[1] for frame in frames)
        centers = [frame.center.reshape(len(frame.ids), ndim) for frame in frames]
        return cls(
            np.repeat(np.arange(len(frames)), [len(frame.ids) for frame in frames]),
            np.concatenate([[0], tracks.number])[ids],
            np.concatenate(centers),
            np.concatenate([frame.diameter / 2 for frame in frames]),
            tracks.parents,
        )

    def lines(self) -> list[tuple[int, int, int, int]]:
        """Track, first frame, last frame and parent (0: none) of every track."""
        tracks, place = np.unique(self.track, return_inverse=True)
        last = np.zeros(len(tracks), np.int64)
        first = np.full(len(tracks), np.iinfo(np.int64).max)
        np.maximum.at(last, place, self.frame)
        np.minimum.at(first, place, self.frame)
        parents = [self.parents.get(track, 0) for track in tracks.tolist()]
        return list(zip(tracks.tolist(), first.tolist(), last.tolist(), parents, strict=True))


def write_ctc(table: TrackTable, path: Path) -> None:
    """Write ``res_track.txt``: track, first frame, last frame and parent, one line per track.

    Raises:
        SaveError: the file cannot be written.
    """
    atomic_write(path, "".join(f"{' '.join(map(str, line))}\n" for line in table.lines()))


def write_trackmate(table: TrackTable, path: Path) -> None:
    """Write the spots as CSV with the columns of TrackMate, one row per object.

    Raises:
        SaveError: the file cannot be written.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_COLUMNS)
    for number in range(len(table.frame)):
        frame, track = int(table.frame[number]), int(table.track[number])
        x, y, z = [*map(float, table.center[number][::-1]), 0.0][:3]
        radius = float(table.radius[number])
        writer.writerow((f"ID{number}", number, track, 1, x, y, z, frame, frame, radius))
    atomic_write(path, text.getvalue())
