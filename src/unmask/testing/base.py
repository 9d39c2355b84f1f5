"""What all contracts share: how a part is named, built and made small."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import pytest

from unmask.errors import RecipeError
from unmask.lookup import Choice, build, find

# Sizes by the names that options usually have. Tests of small networks take seconds.
_SMALL: Mapping[str, Any] = {
    "width": 4, "depth": 3, "dim": 24, "heads": 2, "hidden": 16, "widths": [4, 8, 12],
    "dims": [8, 12], "depths": [1, 2], "blocks": [1, 2], "patch": 4, "image": 16, "attention": 6,
    "decoder_dim": 16, "decoder_depth": 1, "decoder_heads": 2, "prototypes": 32,
    # At random it takes a block out, whose weights then have no gradient.
    "drop_path": 0.0,
}  # fmt: skip
# Lists of one length each; a part that has "dims" takes one number of heads per level.
_PER_LEVEL: Mapping[str, Any] = {"heads": [1, 2]}
# Values of options that have no default.
_REQUIRED: Mapping[str, Any] = {"low": 0.0, "high": 255.0}


def small_options(constructor: Callable[..., Any], kind: str = "part") -> dict[str, Any]:
    """Options that make a part small, found by their usual names; other options are left alone.

    Args:
        constructor: class or function of the part.
        kind: ``head``, ``decoder`` ...; the channels of a pre-training method are wider.

    Examples:
        >>> def network(ndim, in_channels, *, width=64, slope=0.1): ...
        >>> small_options(network)
        {'width': 4}
    """
    parameters = inspect.signature(constructor).parameters
    sizes = dict(_SMALL)
    if "dims" in parameters:
        sizes |= _PER_LEVEL
    if kind == "method":
        sizes["width"] = 8
    options = {
        name: value
        for name, value in sizes.items()
        # A list cannot stand for a single number.
        if name in parameters
        and not (isinstance(value, list) and isinstance(parameters[name].default, int | float))
    }
    required = {
        name: value
        for name, value in _REQUIRED.items()
        if name in parameters and parameters[name].default is inspect.Parameter.empty
    }
    return options | required


class Contract:
    """Base of all contracts.

    Attributes:
        part: name of a part of unmask or of an installed one, ``path/to/file.py:Name``, or the
            class or function itself.
        options: of its constructor; None: small sizes where it has options of the usual names
            (`small_options`), else its defaults.
        ndims: numbers of spatial axes that the part is for.
    """

    part: ClassVar[Any] = None
    options: ClassVar[Mapping[str, Any] | None] = None
    ndims: ClassVar[tuple[int, ...]] = (2, 3)

    @pytest.fixture(autouse=True)
    def _in_scope(self, request: pytest.FixtureRequest) -> None:
        """Skip axes that the part is not for."""
        ndim = getattr(request.node, "callspec", None) and request.node.callspec.params.get("ndim")
        if ndim is not None and ndim not in self.ndims:
            pytest.skip(f"not for {ndim} axes")

    @property
    def chosen(self) -> Any:
        """``part`` as it was written: a plain function in a class is read as a method."""
        part = inspect.getattr_static(type(self), "part")
        return part.__func__ if isinstance(part, staticmethod) else part

    def build_from(self, table: Mapping[str, Callable[..., Any]], kind: str, **given: Any) -> Any:
        """The part, built as a recipe builds it."""
        return build_part(self.chosen, self.options, table, kind, **given)


def build_part(
    part: Any,
    options: Mapping[str, Any] | None,
    table: Mapping[str, Callable[..., Any]],
    kind: str,
    **given: Any,
) -> Any:
    """A part by name or constructor; see `Contract`."""
    name, known = part, table
    if not isinstance(part, str):
        assert part is not None, "Set the attribute 'part' of the contract."
        name, known = getattr(part, "__name__", "part"), {}
        known = {name: part}
    if options is not None:
        return build(Choice(name, options), known, kind, **given)
    constructor = find(name, known, kind)
    try:
        return build(Choice(name, small_options(constructor, kind)), known, kind, **given)
    except RecipeError:
        # Sizes that do not fit each other; then the part is built as a user builds it.
        return build(Choice(name), known, kind, **given)
