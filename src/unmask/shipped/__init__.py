"""Models that come with the package: files next to this one, resolved by name.

Each explains itself like any model file; ``benchmarks/ship.py`` makes them.
"""

from __future__ import annotations

from pathlib import Path


def names() -> dict[str, Path]:
    """Shipped models: name to file."""
    return {path.stem: path for path in sorted(Path(__file__).parent.glob("*.safetensors"))}


def find(model: str | Path) -> Path:
    """The file of a shipped model; a path that exists, or another name, is returned as it is."""
    path = Path(model)
    return path if path.exists() else names().get(str(model), path)


def hint(model: str | Path) -> str:
    """The names that a model that was not found could have."""
    shipped = names()
    if str(model) in shipped:
        return f"This path hides the shipped model {str(model)!r}: rename one of them."
    return f"Shipped models: {', '.join(shipped)}."
