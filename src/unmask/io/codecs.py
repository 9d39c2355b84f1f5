"""imagecodecs, where a file needs it: without it, everything else still opens."""

from __future__ import annotations

import importlib
import sys
from types import ModuleType

from unmask.errors import MissingPackageError


def imagecodecs(source: str) -> ModuleType:
    """The package.

    Args:
        source: what needs it, for the message.

    Raises:
        MissingPackageError: it is not installed.
    """
    # This is asked for every chunk; the import system takes longer than a chunk's checks.
    if (loaded := sys.modules.get("imagecodecs")) is not None:
        return loaded
    try:
        return importlib.import_module("imagecodecs")
    except ImportError as error:
        raise MissingPackageError(
            f"{source} needs the package imagecodecs ({error}). "
            "Install it with: pip install imagecodecs"
        ) from error
