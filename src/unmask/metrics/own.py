"""Metrics of other people: plain functions ``(truth, predicted)``.

A function gets two label images ``(*space)`` and returns a number or a dictionary of numbers. If it
has a parameter ``spacing`` (voxel size per axis, None if unknown) or ``overlap`` (the shared table,
`unmask.metrics.Overlap`), it gets these too. A parameter ``threshold`` or ``tolerance`` is set by
the number after ``@``, a parameter ``label`` by the class after ``/``.
"""

from __future__ import annotations

import inspect
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from unmask.errors import RecipeError, UnmaskError, message
from unmask.metrics.overlap_table import Overlap

_TAKES = "(truth, predicted), and perhaps spacing, overlap, threshold, tolerance and label"
Values = float | dict[str, float]


@dataclass(frozen=True)
class OwnFunction:
    """A plain function, called as a `Metric` calls its functions.

    Attributes:
        function: ``(truth, predicted)`` to a number or a dictionary of numbers.
        name: as the user wrote it, for messages.
        parameters: names of its parameters after the first two.
    """

    function: Callable[..., Any]
    name: str
    parameters: tuple[str, ...]

    def __call__(
        self,
        truth: np.ndarray,
        predicted: np.ndarray,
        overlap: Overlap | None,
        spacing: Sequence[float] | None,
        **options: Any,
    ) -> Values:
        """Values of one image.

        Raises:
            RecipeError: the function fails, or returns something else.
        """
        facts = {"overlap": overlap, "spacing": spacing}
        wanted = {key: value for key, value in facts.items() if key in self.parameters}
        try:
            result = self.function(truth, predicted, **wanted, **options)
        except UnmaskError:
            raise
        except Exception as error:
            # Code of other people raises anything; the user needs its name and line.
            line = traceback.extract_tb(error.__traceback__)[-1]
            raise self._refusal(
                f"{type(error).__name__}: {error} ({line.filename}, line {line.lineno})"
            ) from error
        if isinstance(result, Mapping):
            return {str(key): self._number(value) for key, value in result.items()}
        return self._number(result)

    def _number(self, value: Any) -> float:
        try:
            return float(value)
        except (TypeError, ValueError) as error:
            raise self._refusal(f"{type(value).__name__} {value!r:.60}") from error

    def _refusal(self, found: str) -> RecipeError:
        return RecipeError(
            message(
                f"metric={self.name!r}",
                expected="a number, or a dictionary of numbers",
                found=found,
                do="Correct the function.",
            )
        )


def own_function(function: object, name: str) -> OwnFunction:
    """A plain function as a metric.

    Raises:
        RecipeError: not a function, or one that needs other parameters.
    """
    try:
        every = list(inspect.signature(function).parameters.values())  # pyright: ignore[reportArgumentType]
    except (TypeError, ValueError):
        every = []
    known = {"spacing", "overlap", "threshold", "tolerance", "label"}
    needed = [
        each.name for each in every[2:]
        if each.default is each.empty and each.name not in {"spacing", "overlap"}
        and each.kind not in (each.VAR_POSITIONAL, each.VAR_KEYWORD)
    ]  # fmt: skip
    if not callable(function) or isinstance(function, type) or len(every) < 2 or needed:
        shown = f"({', '.join(each.name for each in every)})" if every else type(function).__name__
        raise RecipeError(
            message(
                f"metric={name!r}",
                expected=f"a function of {_TAKES}",
                found=shown,
                do="Give other parameters a default, or use a Metric of unmask.metrics.",
            )
        )
    return OwnFunction(function, name, tuple(p.name for p in every[2:] if p.name in known))
