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
from unmask.metrics.own import Values, own_function
from unmask.metrics.surface import Surfaces
from unmask.parts import Parts

Kind = Literal["instance", "semantic", "scores", "any"]
_NAME = re.compile(
    r"(?P<base>\w+|.+\.py(?:#[0-9a-f]{16})?:\w+)(@(?P<at>[0-9.eE+-]+))?(/(?P<label>\d+))?",
    re.DOTALL,
)
_INSTALLED = Parts("unmask.metrics", {})


@dataclass(frozen=True)
class Metric:
    """One metric.

    Attributes:
        function: ``(truth, predicted, overlap, spacing, **options)`` to a number, or to several
            by name.
        higher_is_better: None for a signed number that is best at 0.
        kind: whether labels are ids of objects, classes, or the prediction is scores; ``any`` if
            the metric takes objects and classes.
        at: option that a number after ``@`` sets; None where the name takes none.
        classes: whether the name takes a class after ``/`` (option ``label``).
        table: whether ``overlap`` is needed; it is None otherwise.
        arrays: whether ``truth`` and ``predicted`` are needed although there is a table.
        surfaces: whether the function gets `Surfaces` as ``truth`` and None as ``predicted``.
    """

    function: Callable[..., Values]
    higher_is_better: bool | None = True
    kind: Kind = "instance"
    at: str | None = None
    classes: bool = False
    table: bool = True
    arrays: bool = False
    surfaces: bool = False

    def __call__(
        self,
        truth: np.ndarray,
        predicted: np.ndarray,
        overlap: Overlap | None,
        spacing: Sequence[float] | None,
        **options: Any,
    ) -> Values:
        """Value for one image, or several by name; NaN where it is not defined."""
        value = self.function(truth, predicted, overlap, spacing, **options)
        return value if isinstance(value, dict) else float(value)


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
        name: ``base``, ``base@number`` or ``base/class``. The base is a name of ``table``, the name
            of an installed metric (entry points ``unmask.metrics``), or ``path/to/file.py:Name``;
            the last two are a `Metric` or a plain function, see `unmask.metrics.own`.
        table: metrics by base name.

    Raises:
        RecipeError: no such metric, or one that takes no number or class.
    """
    parts = _NAME.fullmatch(name)
    base = parts["base"] if parts else name
    metric = table[base] if base in table else _own_metric(base, table)
    options: dict[str, float] = {}
    if parts and parts["at"]:
        if metric.at is None:
            raise _name_error(name, "no number after @", [k for k, m in table.items() if m.at])
        options[metric.at] = _number(name, parts["at"])
    if parts and parts["label"]:
        if not metric.classes:
            raise _name_error(name, "no class after /", [k for k, m in table.items() if m.classes])
        options["label"] = int(parts["label"])
    return replace(metric, function=partial(metric.function, **options)) if options else metric


def _own_metric(name: str, table: Mapping[str, Metric]) -> Metric:
    """A metric that does not come with unmask."""
    found = None if ":" in name else _INSTALLED.find_installed(name)
    if found is None:
        found = find(name, table, "metric")
    if isinstance(found, Metric):
        return found
    function = own_function(found, name)
    at = [option for option in ("threshold", "tolerance") if option in function.parameters]
    return Metric(
        function,
        kind="any",
        at=at[0] if at else None,
        classes="label" in function.parameters,
        table="overlap" in function.parameters,
        arrays=True,
    )


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
    values: dict[str, float] = {}
    surfaces: Surfaces | None = None
    for name, metric in metrics.items():
        arrays: tuple[Any, Any] = (truth, predicted)
        if ignore is not None and (metric.arrays or not metric.table):
            arrays = _without(truth, predicted, ignore, metric.kind)
        if metric.surfaces:
            surfaces = surfaces or Surfaces(*arrays, spacing=spacing)
            arrays = (surfaces, None)
        value = metric(*arrays, table, spacing)
        if isinstance(value, dict):
            values |= {f"{name}/{key}": each for key, each in value.items()}
        else:
            values[name] = value
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


def _name_error(name: str, what: str, able: Sequence[str]) -> RecipeError:
    return RecipeError(
        f"metric={name!r}: this metric takes {what}; expected that only with "
        f"{', '.join(able)}. Leave it out."
    )
