"""Former names of public arguments and functions: they still work for one release, and warn."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar

Class = TypeVar("Class")


def accept_former_names(**names: str) -> Callable[[type[Class]], type[Class]]:
    """Let a class take and show arguments by their former names, with a ``FutureWarning``.

    Args:
        names: the new name of each former one.

    Examples:
        >>> from dataclasses import dataclass
        >>> @accept_former_names(colour="color")
        ... @dataclass(frozen=True)
        ... class Paint:
        ...     color: str
    """

    def decorate(cls: type[Class]) -> type[Class]:
        construct = cls.__init__

        def warn(former: str) -> str:
            text = f"{cls.__name__}: {former} is now called {names[former]}."
            warnings.warn(text, FutureWarning, stacklevel=3)
            return names[former]

        @wraps(construct)
        def accept(self: Any, *args: Any, **given: Any) -> None:
            construct(self, *args, **{warn(n) if n in names else n: v for n, v in given.items()})

        cls.__init__ = accept
        for former in names:
            read = property(lambda self, former=former: getattr(self, warn(former)))
            setattr(cls, former, read)
        return cls

    return decorate


def load_former_names(load: Callable[[str], Any], **names: str) -> Callable[[str], Any]:
    """Let a package that loads its members on request give them by former names, and warn.

    Args:
        load: the ``__getattr__`` of the package.
        names: the new name of each former one.

    Examples:
        >>> load = load_former_names({"summarize": sum}.__getitem__, summarise="summarize")
        >>> load("summarize")([1, 2])
        3
    """

    def get(name: str) -> Any:
        if name in names:
            text = f"{name} is now called {names[name]}."
            warnings.warn(text, FutureWarning, stacklevel=2)
        return load(names.get(name, name))

    return get
