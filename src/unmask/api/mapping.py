"""``evaluate_clusters``: clusters against true classes, under several ways to name them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from unmask.api.evaluation import open_compared
from unmask.api.values import Settings
from unmask.data.pairs import Paths, pairing
from unmask.errors import RecipeError, message
from unmask.metrics import Overlap, Report, overlap
from unmask.metrics.mapping import (
    MAPPINGS,
    ORACLES,
    TRANSFERRED,
    best_dice,
    majority,
    one_to_one,
    score,
    sum_tables,
)
from unmask.wording import join_names

_FOUND_BY = {
    "one_to_one": one_to_one,
    "majority": majority,
    "transferred": majority,
    "transferred_dice": best_dice,
}


def evaluate_clusters(
    *,
    truth: Paths,
    predicted: Paths,
    mappings: Sequence[str] | None = None,
    fit_truth: Paths | None = None,
    fit_predicted: Paths | None = None,
    ignore: int | None = None,
    settings: Settings = (),
) -> Report:
    """Dice and IoU of clusters under one or several ways to name them; see ``metrics.mapping``.

    All images count together. Columns of mappings that look at the measured truth end in
    ``(oracle)``.

    Args:
        truth: true classes; 0 is a class like the others.
        predicted: clusters; they pair by stem.
        mappings: some of ``one_to_one``, ``majority``, ``transferred`` and ``transferred_dice``;
            default: all, the last two where there are images to fit them on.
        fit_truth: classes of other images, for the transferred mappings.
        fit_predicted: clusters of these.
        ignore: value of the truth that counts nowhere.
        settings: ``data.image_suffix`` (of predicted), ``data.label_suffix`` (of truth) and
            ``data.formats``.

    Raises:
        RecipeError: an unknown mapping or setting, or a transferred one without images to fit on.
        DataError: labels without a partner or of another size; all problems at once.
    """
    fitting = fit_truth is not None and fit_predicted is not None
    asked = tuple(mappings) if mappings is not None else MAPPINGS if fitting else ORACLES
    transferred = set(asked) & set(TRANSFERRED)
    _check_mappings(
        asked, transferred, {"--fit-truth": fit_truth, "--fit-predicted": fit_predicted}
    )
    rules = list(settings)
    table = fitted = sum_tables(_overlaps(truth, predicted, ignore, rules))
    if transferred and fit_truth is not None and fit_predicted is not None:
        fitted = sum_tables(_overlaps(fit_truth, fit_predicted, ignore, rules))
    row: dict[str, Any] = {"name": "all images"}
    for name in asked:
        mapping = _FOUND_BY[name](fitted if name in TRANSFERRED else table)
        mark = " (oracle)" if name in ORACLES else ""
        row |= {f"{key} {name}{mark}": value for key, value in score(table, mapping).items()}
    return Report.of([row], settings={"mappings": list(asked), "ignore": ignore})


def _check_mappings(
    asked: Sequence[str], transferred: Collection[str], fit: Mapping[str, Paths | None]
) -> None:
    """Refuse unknown mappings, and transferred ones without images to fit them on.

    Raises:
        RecipeError: names what is wrong or missing.
    """
    if (unknown := [name for name in asked if name not in MAPPINGS]) or not asked:
        raise RecipeError(
            message(
                "mapping",
                expected=f"some of {', '.join(MAPPINGS)}",
                found=", ".join(unknown) or "none",
                do="Correct the name.",
            )
        )
    missing = [option for option, paths in fit.items() if paths is None]
    if transferred and missing:
        raise RecipeError(
            message(
                f"mapping {', '.join(sorted(transferred))}",
                expected="other images with truth, on which this mapping is fitted",
                found=f"no {' and no '.join(missing)}",
                do=f"Give {join_names(missing)}, or use a mapping that needs none: "
                f"{', '.join(ORACLES)}.",
            )
        )


def _overlaps(
    truth: Paths, predicted: Paths, ignore: int | None, settings: Sequence[str]
) -> list[Overlap]:
    opened, _ = open_compared(truth, predicted, pairing(settings))
    return [
        overlap(each.truth.read()[0], each.predicted.read()[0], ignore=ignore) for each in opened
    ]
