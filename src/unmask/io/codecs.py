"""imagecodecs, where a file needs it: without it, everything else still opens."""

from __future__ import annotations

from types import ModuleType

from unmask.errors import MissingPackageError


def imagecodecs(source: str) -> ModuleType:
    """The package.

    Args:
        source: what needs it, for the message.

    Raises:
        MissingPackageError: it is not installed.
    """
    try:
        # sys.modules may have it half imported by another thread; an import waits for that one.
        import imagecodecs as package
    except ImportError as error:
        raise MissingPackageError(
            f"{source} needs the package imagecodecs ({error}). "
            "Install it with: pip install imagecodecs"
        ) from error
    return package
