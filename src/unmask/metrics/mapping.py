"""Clusters against classes: which cluster means which class, and how well that fits.

Clusters have no names, so their quality depends on how they are named. Four ways, each to be
reported under its own name:

================  ===================================================================
one_to_one        every class has at most one cluster, chosen for the largest sum of
                  Dice (Kuhn 1955, doi:10.1002/nav.3800020109)
majority          every cluster means the class that most of its voxels have
transferred       the majority of other, labeled images is applied to these
transferred_dice  the mapping of the highest mean Dice on other, labeled images is
                  applied to these
================  ===================================================================

The first two use the truth that they are measured on (``ORACLES``): they bound what a person who
names clusters could reach. Only the others are results without the images' own labels. A rare
class loses the majority in nearly every cluster; the mean Dice, which counts every class alike,
gives it those that are worth more to it than they cost the others.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from unmask.errors import DataError, message
from unmask.metrics.overlap_table import Overlap

ORACLES = ("one_to_one", "majority")
TRANSFERRED = ("transferred", "transferred_dice")
MAPPINGS = (*ORACLES, *TRANSFERRED)

# Smaller ones are rounding, which could go round in circles.
_LEAST_GAIN = 1e-12


@dataclass(frozen=True)
class Counted:
    """Voxels of every class in every cluster.

    Attributes:
        classes: ``(c,)`` ids of the truth, 0 included where it occurs.
        clusters: ``(k,)`` ids of the clusters.
        voxels: ``(c, k)``.
    """

    classes: NDArray[np.int64]
    clusters: NDArray[np.int64]
    voxels: NDArray[np.int64]


def sum_tables(tables: Iterable[Overlap]) -> Counted:
    """One table of all images together, out of ``overlap(truth, clusters)`` of each.

    Raises:
        DataError: no voxel at all.
    """
    parts = [
        (
            table.truth_ids[table.truth_index].astype(np.int64),
            table.predicted_ids[table.predicted_index].astype(np.int64),
            table.count,
        )
        for table in tables
    ]
    if not sum(count.sum() for _, _, count in parts):
        raise DataError(
            message(
                "mapping", expected="labeled voxels", found="none", do="Give images with truth."
            )
        )
    truth, predicted, count = (np.concatenate(each) for each in zip(*parts, strict=True))
    classes, rows = np.unique(truth, return_inverse=True)
    clusters, columns = np.unique(predicted, return_inverse=True)
    voxels = np.zeros((len(classes), len(clusters)), np.int64)
    np.add.at(voxels, (rows, columns), count)
    return Counted(classes, clusters, voxels)


def one_to_one(table: Counted) -> dict[int, int]:
    """Cluster to class for the best sum of Dice; clusters without a class are left out."""
    from scipy.optimize import linear_sum_assignment  # Only clusters need it.

    sizes = table.voxels.sum(axis=1)[:, None] + table.voxels.sum(axis=0)[None]
    rows, columns = linear_sum_assignment(2 * table.voxels / sizes, maximize=True)
    return {
        int(table.clusters[k]): int(table.classes[c])
        for c, k in zip(rows, columns, strict=True)
        if table.voxels[c, k]
    }


def majority(table: Counted) -> dict[int, int]:
    """Cluster to the class that most of its voxels have, the lowest id of equals."""
    best = table.classes[table.voxels.argmax(axis=0)]
    return {int(k): int(c) for k, c in zip(table.clusters, best, strict=True)}


def best_dice(table: Counted) -> dict[int, int]:
    """Cluster to class for the best mean Dice over classes.

    From the majority on, single clusters change their class as long as one of these changes
    raises the mean: a local optimum, the same each time.
    """
    classes = np.arange(len(table.classes))
    chosen = table.voxels.argmax(axis=0)
    sizes = table.voxels.sum(axis=0)
    member = classes[:, None] == chosen
    hits, mapped = (table.voxels * member).sum(axis=1), member @ sizes
    true = table.voxels.sum(axis=1)
    improved = True
    while improved:
        improved = False
        for cluster, (size, column) in enumerate(zip(sizes, table.voxels.T, strict=True)):
            # The cluster in no class, in the one that it has, and in every other
            away = classes == chosen[cluster]
            rest, room = hits - column * away, mapped - size * away + true
            without, within = 2 * rest / room, 2 * (rest + column) / (room + size)
            gain = within - without
            best = int(gain.argmax())
            if gain[best] > gain[chosen[cluster]] + _LEAST_GAIN:
                hits, mapped = rest, room - true
                hits[best] += column[best]
                mapped[best] += size
                chosen[cluster] = best
                improved = True
    return {int(k): int(table.classes[c]) for k, c in zip(table.clusters, chosen, strict=True)}


def score(
    table: Counted, mapping: dict[int, int], *, classes: Sequence[int] | None = None
) -> dict[str, float]:
    """Dice and IoU of every class after a mapping, and their means.

    Args:
        table: of the images to be measured.
        mapping: cluster to class; clusters that it does not name count as no class.
        classes: the classes to assign; default: those of the truth.

    Returns:
        ``dice/3``, ``iou/3`` ... of every class, NaN where it occurs on neither side; ``dice`` and
        ``iou``, their means over defined classes.
    """
    found: dict[str, float] = {}
    given = np.array([mapping.get(int(k), -1) for k in table.clusters])
    asked = table.classes.tolist() if classes is None else list(classes)
    for each in asked:
        true = table.classes == each
        mapped = given == each
        both = int(table.voxels[np.ix_(true, mapped)].sum())
        total = int(table.voxels[true].sum() + table.voxels[:, mapped].sum())
        found[f"dice/{each}"] = 2 * both / total if total else float("nan")
        found[f"iou/{each}"] = both / (total - both) if total else float("nan")
    for name in ("dice", "iou"):
        values = np.array([found[f"{name}/{each}"] for each in asked])
        found[name] = float(np.nanmean(values)) if np.isfinite(values).any() else float("nan")
    return found
