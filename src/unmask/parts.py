"""Tables of named parts, such as tasks or backbones, that are imported when they are first used.

A table lists its own parts as ``"module:Name"``, so that a command imports only the parts that its
recipe names. Parts of other distributions come from entry points, which are looked up only when a
name is not in the table: reading the metadata of all installed packages takes longer than any
lookup here.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from unmask.errors import RecipeError


class Parts(Mapping[str, Any]):
    """Constructors, or other objects, by name.

    Args:
        group: group of entry points in which other distributions register such parts, for example
            ``unmask.tasks``.
        own: ``"module:Name"`` of each part of this package by the name that recipes use.

    Examples:
        >>> tasks = Parts("unmask.tasks", {"semantic": "unmask.tasks.semantic:Semantic"})
        >>> list(tasks)
        ['semantic']
        >>> tasks["semantic"].__name__
        'Semantic'
    """

    def __init__(self, group: str, own: Mapping[str, str]) -> None:
        self.group = group
        self._own = dict(own)

    def __getitem__(self, name: str) -> Any:
        module, _, attribute = self._own[name].partition(":")
        return getattr(importlib.import_module(module), attribute)

    def __contains__(self, name: object) -> bool:
        # The inherited test would import the part.
        return name in self._own

    def __iter__(self) -> Iterator[str]:
        return iter(self._own)

    def __len__(self) -> int:
        return len(self._own)

    def __repr__(self) -> str:
        return f"Parts({self.group!r}: {', '.join(self)})"

    def find_installed(self, name: str) -> Any:
        """The part that another distribution registers as ``name``; None if there is none.

        Raises:
            RecipeError: two distributions register the name, or the part cannot be imported.
        """
        # One distribution may be found twice, for example in two folders of sys.path.
        matches = {entry.value: entry for entry in entry_points(group=self.group, name=name)}
        if not matches:
            return None
        if len(matches) > 1:
            raise RecipeError(
                f"{self.group}: expected one installed part named {name!r}, found {len(matches)} "
                f"({', '.join(sorted(matches))}). Uninstall all but one of the packages."
            )
        return self._load(*matches.values())

    def installed_names(self) -> list[str]:
        """Names that other distributions register; nothing is imported."""
        return sorted({entry.name for entry in entry_points(group=self.group)})

    def _load(self, entry: EntryPoint) -> Any:
        try:
            return entry.load()
        except Exception as error:
            # Code of other people: whatever it raises, the user needs the name of the package.
            package = entry.dist.name if entry.dist else entry.value
            raise RecipeError(
                f"{self.group}: the installed part {entry.name!r} of {package} cannot be imported "
                f"({type(error).__name__}: {error}). Repair or uninstall the package."
            ) from error
