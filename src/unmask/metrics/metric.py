"""A metric with a name: how it is called, which direction is better, what it is measured on."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal

import numpy as np

from unmask.errors import RecipeError
from unmask.lookup import find
from unmask.metrics.overlap_table import Overlap, overlap, same_shape
from unmask.metrics.surface import Surfaces

Kind = Literal["instance", "semantic", "scores"]
_NAME = re.compile(r"(?P<base>\w+)(@(?P<at>[0-9.eE+-]+))?(/(?P<label>\d+))?")


@dataclass(frozen=True)
class Metric:
    """One metric.

    Attributes:
        function: ``(truth, predicted, overlap, spacing, **options) -> float``.
        higher_is_better: None for a signed number that is best at 0.
        kind: whether labels are ids of objects, classes, or the prediction is scores.
        at: option that a number after ``@`` sets; None where the name takes none.
        classes: whether the name takes a class after ``/`` (option ``label``).
        table: whether ``overlap`` is needed; it is None otherwise.
        surfaces: whether the function gets `Surfaces` as ``truth`` and None as ``predicted``.
    """

    function: Callable[..., float]
    higher_is_better: bool | None = True
    kind: Kind = "instance"
    at: str | None = None
    classes: bool = False
    table: bool = True
    surfaces: bool = False

    def __call__(
        self,
        truth: np.ndarray,
        predicted: np.ndarray,
        overlap: Overlap | None,
        spacing: Sequence[float] | None,
        **options: Any,
    ) -> float:
        """Value for one image; NaN where it is not defined."""
        return float(self.function(truth, predicted, overlap, spacing, **options))


def of_table(function: Callable[..., float]) -> Callable[..., float]:
    """Adapter for a function of one overlap table."""

    def call(
        truth: np.ndarray,  # noqa: ARG001
        predicted: np.ndarray,  # noqa: ARG001
        overlap: Overlap,
        spacing: Sequence[float] | None,  # noqa: ARG001
        **options: Any,
    ) -> float:
        return function(overlap, **options)

    return call


def of_arrays(function: Callable[..., float]) -> Callable[..., float]:
    """Adapter for a function of both arrays, or of surfaces in place of the first."""

    def call(
        truth: np.ndarray | Surfaces,
        predicted: np.ndarray | None,
        overlap: Overlap | None,  # noqa: ARG001
        spacing: Sequence[float] | None,  # noqa: ARG001
        **options: Any,
    ) -> float:
        return function(truth, predicted, **options)

    return call


def find_metric(name: str, table: Mapping[str, Metric]) -> Metric:
    """The metric called ``name``, its options filled in.

    Args:
        name: ``base``, ``base@number``, ``base/class``, or ``path/to/file.py:Name`` of a `Metric`
            or of a function ``(truth, predicted, overlap, spacing) -> float``.
        table: metrics by base name.

    Raises:
        RecipeError: no such metric, or one that takes no number or class.
    """
    if ":" in name:
        found = find(name, table, "metric")
        return found if isinstance(found, Metric) else Metric(found)
    parts = _NAME.fullmatch(name)
    base = parts["base"] if parts else name
    if base not in table:
        find(base, table, "metric")  # raises, and names the nearest
    metric = table[base]
    options: dict[str, float] = {}
    if parts and parts["at"]:
        if metric.at is None:
            raise _refused(name, "no number after @", [k for k, m in table.items() if m.at])
        options[metric.at] = _number(name, parts["at"])
    if parts and parts["label"]:
        if not metric.classes:
            raise _refused(name, "no class after /", [k for k, m in table.items() if m.classes])
        options["label"] = int(parts["label"])
    return replace(metric, function=partial(metric.function, **options)) if options else metric


def measure(
    truth: np.ndarray,
    predicted: np.ndarray,
    metrics: Mapping[str, Metric],
    *,
    spacing: Sequence[float] | None = None,
    ignore: int | None = None,
) -> dict[str, float]:
    """Value of every metric for one image, from one overlap table."""
    table = None
    if any(metric.table for metric in metrics.values()):
        table = overlap(truth, predicted, ignore=ignore)
    values = {}
    surfaces: Surfaces | None = None
    for name, metric in metrics.items():
        arrays: tuple[Any, Any] = (truth, predicted)
        if ignore is not None and not metric.table:
            arrays = _without(truth, predicted, ignore, metric.kind)
        if metric.surfaces:
            surfaces = surfaces or Surfaces(*arrays, spacing=spacing)
            arrays = (surfaces, None)
        values[name] = metric(*arrays, table, spacing)
    return values


def _without(
    truth: np.ndarray, predicted: np.ndarray, ignore: int, kind: Kind
) -> tuple[np.ndarray, np.ndarray]:
    """Both arrays without the ignored voxels: background in labels, left out of scores."""
    known = truth != ignore
    if kind == "scores":
        return truth[known], predicted[..., known]
    same_shape(truth, predicted)
    return np.where(known, truth, 0), np.where(known, predicted, 0)


def _number(name: str, text: str) -> float:
    try:
        return float(text)
    except ValueError as error:
        raise RecipeError(
            f"metric={name!r}: expected a number after @, found {text!r}. Write for example f1@0.5."
        ) from error


def _refused(name: str, what: str, able: Sequence[str]) -> RecipeError:
    return RecipeError(
        f"metric={name!r}: this metric takes {what}; expected that only with "
        f"{', '.join(able)}. Leave it out."
    )
