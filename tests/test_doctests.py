"""Examples in docstrings give what they show."""

from __future__ import annotations

import doctest
import importlib
from pathlib import Path

import numpy as np
import pytest

import unmask

PACKAGE = Path(unmask.__file__).parent
MODULES = sorted(
    ".".join(("unmask", *path.relative_to(PACKAGE).with_suffix("").parts)).removesuffix(".__init__")
    for path in PACKAGE.rglob("*.py")
    if ">>> " in path.read_text(encoding="utf-8")
)


def test_there_are_examples():
    assert len(MODULES) > 30


@pytest.mark.parametrize("module", MODULES)
def test_examples(module):
    loaded = importlib.import_module(module)
    runner = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE)
    failures = 0
    for example in doctest.DocTestFinder().find(loaded, globs={**vars(loaded), "np": np}):
        failures += runner.run(example).failed
    assert failures == 0
