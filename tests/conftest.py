"""Fixtures shared by all tests; shapes in annotations are checked while tests run."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

import pytest
from jaxtyping import install_import_hook

# Kernels compiled by numba cannot be wrapped, so labels, metrics and data are left out.
_CHECKED = [
    "unmask.models",
    "unmask.pretraining",
    "unmask.tasks",
    "unmask.infer",
    "unmask.training",
]
install_import_hook(_CHECKED, "beartype.beartype")

_SHARED = Path(__file__).resolve().parents[2] / "shared"


def _folder(variable: str, default: Path) -> Path:
    folder = Path(os.environ.get(variable, default))
    if not folder.is_dir():
        pytest.skip(f"{variable}: there is no folder {folder}")
    return folder


@pytest.fixture(scope="session")
def golden() -> Path:
    """Folder of numbers that the official programs gave."""
    return _folder("UNMASK_GOLDEN", _SHARED / "golden")


@pytest.fixture(scope="session")
def data_root() -> Path:
    """Folder of real data sets."""
    return _folder("UNMASK_DATA", _SHARED / "data")


@pytest.fixture(scope="session")
def fill(golden: Path):
    """The module that fills weights and inputs by formula."""
    spec = importlib.util.spec_from_file_location("golden_fill", golden / "fill.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
