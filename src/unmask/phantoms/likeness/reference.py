"""Mean statistics of the phantoms of every family, from a file that is shipped with the package.

Drawing a few phantoms of every family takes half a minute; the file holds their mean statistics and
the metric. `write_reference` makes it again after a family has changed:
``python -m unmask.phantoms.likeness.reference``.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from unmask.phantoms.families import FAMILIES
from unmask.phantoms.likeness.bank import Bank, Canvas, draw_bank
from unmask.phantoms.likeness.statistics import Statistics

# Size of the phantoms that stand for their family, per number of axes; and how many there are.
CANVASES = {2: Canvas((160, 160), (1.0, 1.0)), 3: Canvas((12, 96, 96))}
_COUNTS = {2: 48, 3: 24}
# Share of a spherical metric, which keeps the metric of few phantoms stable.
_SHRINKAGE = 0.3
# Share of the pairs of phantoms of a family that are no farther apart than "one kind of image".
_ONE_KIND = 0.9


@dataclass(frozen=True)
class Metric:
    """Distance of statistics in units of the spread within families.

    Attributes:
        middle: mean of the phantoms.
        low: smallest statistics; values below are as far away as these.
        high: largest statistics.
        whiten: ``(d, d)``.
    """

    middle: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    whiten: NDArray[np.float64]

    def __call__(self, rows: Statistics) -> NDArray[np.float64]:
        """Points whose Euclidean distances are meant, of statistics ``(n, d)``."""
        return (np.clip(rows, self.low, self.high) - self.middle) @ self.whiten

    def scale(self, rows: Statistics) -> NDArray[np.float64]:
        """Statistics in units of their range over all phantoms, each as important as another.

        Whitened distances divide families best, but they weigh what hardly varies within a family.
        What looks alike is alike in these.
        """
        return np.clip(rows, self.low, self.high) / (self.high - self.low)


@dataclass(frozen=True)
class Reference:
    """All families in the metric.

    Attributes:
        names: families.
        middles: ``(families, d)`` mean points.
        spread: ``(families,)`` median distance of the phantoms of a family to its mean.
        one_kind: distance that images of one kind do not exceed.
        metric: of the statistics.
    """

    names: tuple[str, ...]
    middles: NDArray[np.float64]
    spread: NDArray[np.float64]
    one_kind: float
    metric: Metric

    def rank(self, rows: Statistics) -> list[tuple[str, float]]:
        """Families and their distances to images ``(n, d)``, nearest first.

        The nearest is found in a common unit; the distance is in the unit of the family, so that 1
        is that of a phantom of the family itself.
        """
        median = self._apart(rows)
        order = np.argsort(median, kind="stable").tolist()
        return [(self.names[k], float(median[k] / self.spread[k])) for k in order]

    def near(self, rows: Statistics, factor: float) -> list[str]:
        """Families that are at most ``factor`` times as far as the nearest, nearest first."""
        median = self._apart(rows)
        order = np.argsort(median, kind="stable").tolist()
        return [self.names[k] for k in order if median[k] <= factor * median[order[0]]]

    def _apart(self, rows: Statistics) -> NDArray[np.float64]:
        apart = np.linalg.norm(self.metric(rows)[:, None] - self.middles[None], axis=-1)
        return np.median(apart, axis=0)


def summarize(bank: Bank) -> Reference:
    """Linear discriminant analysis with shrinkage of the phantoms of all families."""
    rows = bank.rows.astype(np.float64)
    families = range(len(bank.names))
    inside = np.concatenate([rows[bank.of(k)] - rows[bank.of(k)].mean(axis=0) for k in families])
    deviation = inside.std(axis=0) + 1e-3
    scaled = inside / deviation
    spread = (1 - _SHRINKAGE) * (scaled.T @ scaled) / len(scaled)
    values, axes = np.linalg.eigh(spread + _SHRINKAGE * np.eye(len(spread)))
    low, high = rows.min(axis=0) - deviation, rows.max(axis=0) + deviation
    metric = Metric(rows.mean(axis=0), low, high, axes / np.sqrt(values) / deviation[:, None])
    points = metric(bank.rows)
    middles = np.stack([points[bank.of(k)].mean(axis=0) for k in families])
    apart = np.linalg.norm(points - middles[bank.kind], axis=1)
    own = np.array([np.median(apart[bank.of(k)]) for k in families])
    pairs = np.concatenate([_pairs(points[bank.of(k)]) for k in families])
    return Reference(bank.names, middles, own, float(np.quantile(pairs, _ONE_KIND)), metric)


def _pairs(points: NDArray[np.float64]) -> NDArray[np.float64]:
    apart = np.linalg.norm(points[:, None] - points[None], axis=-1)
    return apart[np.triu_indices(len(points), 1)]


@cache
def load_reference(ndim: int) -> Reference:
    """The families as images (2) or as volumes (3)."""
    with np.load(_file(ndim), allow_pickle=False) as held:
        metric = Metric(held["middle"], held["low"], held["high"], held["whiten"])
        return Reference(
            tuple(held["names"].tolist()), held["middles"], held["spread"],
            float(held["one_kind"]), metric,
        )  # fmt: skip


def write_reference(ndim: int) -> None:
    """Draw phantoms of every family and write their summary into the package."""
    names = tuple(FAMILIES)
    found = summarize(draw_bank(names, CANVASES[ndim], _COUNTS[ndim], seed=0))
    metric = found.metric
    arrays = {
        "middles": found.middles, "spread": found.spread, "one_kind": found.one_kind,
        "middle": metric.middle, "low": metric.low, "high": metric.high, "whiten": metric.whiten,
    }  # fmt: skip
    single = {key: np.asarray(value, np.float32) for key, value in arrays.items()}
    np.savez_compressed(_file(ndim), allow_pickle=False, names=np.array(names), **single)


def _file(ndim: int) -> Path:
    return Path(__file__).with_name(f"reference{ndim}.npz")


if __name__ == "__main__":
    for axes in CANVASES:
        write_reference(axes)
