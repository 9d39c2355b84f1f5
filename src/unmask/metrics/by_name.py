"""The metrics of this package by name, and the evaluation of images by names of metrics."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial

import numpy as np
from numpy.typing import ArrayLike

from unmask.metrics.cellseg import cellseg_f1
from unmask.metrics.instance import ap, dq, f1, pq, sq
from unmask.metrics.jaccard import aji, aji_cellpose, aji_pea, aji_plus
from unmask.metrics.leaves import abs_dic, best_dice, dic, fgbg_dice, sbd, sbd_max
from unmask.metrics.metric import Metric, find_metric, measure, of_arrays, of_table
from unmask.metrics.partition import arand, cremi, voi, voi_merge, voi_split
from unmask.metrics.report import summarize
from unmask.metrics.semantic import accuracy, auc, balanced_accuracy, dice, iou
from unmask.metrics.surface import hd95, nsd

METRICS: dict[str, Metric] = {
    "f1": Metric(of_table(f1), at="threshold"),
    "ap": Metric(of_table(ap), at="threshold"),
    "pq": Metric(of_table(pq)),
    "sq": Metric(of_table(sq)),
    "dq": Metric(of_table(dq)),
    "aji": Metric(of_table(aji)),
    "aji_plus": Metric(of_table(aji_plus)),
    "aji_cellpose": Metric(of_table(aji_cellpose)),
    "aji_pea": Metric(of_table(aji_pea)),
    "cellseg_f1": Metric(of_arrays(cellseg_f1), at="threshold", table=False),
    "sbd": Metric(of_table(sbd)),
    "sbd_max": Metric(of_table(sbd_max)),
    "best_dice": Metric(of_table(best_dice)),
    "dic": Metric(of_table(dic), higher_is_better=None),
    "abs_dic": Metric(of_table(abs_dic), higher_is_better=False),
    "fgbg_dice": Metric(of_table(fgbg_dice)),
    "voi": Metric(of_table(voi), higher_is_better=False),
    "voi_split": Metric(of_table(voi_split), higher_is_better=False),
    "voi_merge": Metric(of_table(voi_merge), higher_is_better=False),
    "arand": Metric(of_table(arand), higher_is_better=False),
    "arand_cremi": Metric(of_table(partial(arand, convention="cremi")), higher_is_better=False),
    "cremi": Metric(of_table(cremi), higher_is_better=False),
    "cremi_challenge": Metric(of_table(partial(cremi, convention="cremi")), higher_is_better=False),
    "dice": Metric(of_table(dice), kind="semantic", classes=True),
    "iou": Metric(of_table(iou), kind="semantic", classes=True),
    "accuracy": Metric(of_table(accuracy), kind="semantic", classes=True),
    "balanced_accuracy": Metric(of_table(balanced_accuracy), kind="semantic"),
    "hd95": Metric(
        of_arrays(hd95),
        higher_is_better=False,
        kind="semantic",
        classes=True,
        table=False,
        surfaces=True,
    ),
    "nsd": Metric(
        of_arrays(nsd),
        kind="semantic",
        at="tolerance",
        classes=True,
        table=False,
        surfaces=True,
    ),
    "auc": Metric(of_arrays(auc), kind="scores", classes=True, table=False),
}
INSTANCE = ("f1@0.5", "f1@0.75", "ap", "pq", "sq", "dq", "aji", "sbd", "dic", "voi", "arand")
SEMANTIC = ("dice", "iou", "accuracy", "hd95", "nsd")


def evaluate_pair(
    truth: ArrayLike,
    predicted: ArrayLike,
    names: Sequence[str],
    *,
    spacing: Sequence[float] | None = None,
    ignore: int | None = None,
) -> dict[str, float]:
    """Measure one image; all metrics of objects and classes share one overlap table.

    Args:
        truth: label image ``(*space)``, any number of axes.
        predicted: label image of the same shape; for ``auc`` scores of that shape or
            ``(C, *space)``.
        names: names of metrics, see `unmask.metrics`.
        spacing: voxel size of every axis, for distances.
        ignore: voxels with this id in ``truth`` count nowhere.

    Returns:
        Value by name, NaN where a metric is not defined. A metric that gives several values has
        them as ``name/key``.

    Raises:
        RecipeError: an unknown metric; the nearest name is suggested.
        DataError: the arrays do not fit to each other or to the metric.

    Examples:
        >>> evaluate_pair([[0, 1, 1]], [[0, 7, 7]], ["f1@0.5", "dic"])
        {'f1@0.5': 1.0, 'dic': 0.0}
    """
    metrics = {name: find_metric(name, METRICS) for name in names}
    return measure(
        np.asarray(truth), np.asarray(predicted), metrics, spacing=spacing, ignore=ignore
    )


def evaluate_pairs(
    pairs: Iterable[tuple[ArrayLike, ArrayLike]],
    names: Sequence[str],
    *,
    spacing: Sequence[float] | None = None,
    ignore: int | None = None,
) -> dict[str, float]:
    """Mean over images ``(truth, predicted)`` of every metric where it is defined, else NaN."""
    rows = [
        evaluate_pair(truth, predicted, names, spacing=spacing, ignore=ignore)
        for truth, predicted in pairs
    ]
    summary = summarize(rows)
    if not rows:
        return dict.fromkeys(names, float("nan"))
    return {name: entry["mean"] for name, entry in summary.items()}


def default_metrics(truth: ArrayLike) -> tuple[str, ...]:
    """The metric set that fits a label image: `INSTANCE` or `SEMANTIC`.

    Objects have one piece each, so an image of many more pieces than ids shows classes; one or two
    ids are taken as classes too.
    """
    from scipy import ndimage  # Most evaluations need nothing of scipy.

    labels = np.asarray(truth)
    ids = np.count_nonzero(np.unique(labels))
    _, pieces = ndimage.label(labels > 0)  # pyright: ignore[reportGeneralTypeIssues]
    return SEMANTIC if ids <= 2 or pieces > 2 * ids else INSTANCE
