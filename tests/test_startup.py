"""What a command imports: a slow start is one import too many."""

from __future__ import annotations

import gc
import json
import os
import subprocess
import sys

import numpy as np
import pytest

from unmask.io import save_image
from unmask.phantoms.cells import nuclei
from unmask.startup import limit_waiting, quick_imports, without_collection

# Runs a verb in a new process and tells which of the given modules it has imported.
PROGRAM = """
import json, os, sys
from unmask.cli import main
names = json.loads(os.environ["LOOKED_FOR"])
try:
    main()
except SystemExit as end:
    assert not end.code, end.code
assert os.environ["GOMP_SPINCOUNT"]
print("imported:", *[name for name in names if name in sys.modules])
"""
TRAINING = ("lightning_fabric", "tensorboard", "unmask.training", "unmask.pretraining",
            "unmask.build", "unmask.data.augment.apply", "torch._dynamo")  # fmt: skip
OTHERS = ("dask", "distributed", "matplotlib", "zarr", "h5py", "nibabel", "pydicom", "skimage",
          "scipy.stats", "scipy.optimize", "scipy.spatial", "pandas")  # fmt: skip
NUMBERS = ("numba", "scipy", "numpy")
# Verb, and what it must not import.
VERBS = {
    "help": (["--help"], ("torch", *TRAINING, *OTHERS, *NUMBERS)),
    "presets": (["presets"], ("torch", *TRAINING, *OTHERS, *NUMBERS)),
    "preset": (["presets", "cells"], ("torch", *TRAINING, *OTHERS, *NUMBERS)),
    "models": (["models"], ("torch", *TRAINING, *OTHERS, *NUMBERS)),
    "card": (["models", "nuclei"], ("torch", *TRAINING, *OTHERS, *NUMBERS)),
    "predict": (
        ["predict", "images/a.tif", "--model", "nuclei", "--out", "out"],
        (
            *(set(TRAINING) - {"unmask.build"}),
            *OTHERS,
            "unmask.metrics",
            "unmask.measurement",
            "unmask.phantoms",
        ),
    ),
    "evaluate": (
        ["evaluate", "--truth", "labels", "--predicted", "labels"],
        ("torch", *TRAINING, *OTHERS, "unmask.models", "unmask.measurement"),
    ),
    "measure": (
        ["measure", "--labels", "labels", "--images", "images", "--out", "table.csv"],
        ("torch", *TRAINING, *(set(OTHERS) - {"scipy.spatial"}), "unmask.metrics"),
    ),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """``images`` and ``labels`` of two small TIFFs."""
    folder = tmp_path_factory.mktemp("startup")
    for number, name in enumerate("ab"):
        phantom = nuclei((64, 48), rng=np.random.default_rng(number))
        save_image(folder / "images" / f"{name}.tif", phantom.image)
        save_image(folder / "labels" / f"{name}.tif", phantom.labels)
    return folder


@pytest.mark.parametrize("verb", VERBS)
def test_verb_imports_only_what_it_needs(verb, folder):
    arguments, unwanted = VERBS[verb]
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *arguments],
        cwd=folder,
        env={**os.environ, "LOOKED_FOR": json.dumps(sorted(unwanted))},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1].split() == ["imported:"]


def test_package_imports_nothing_heavy():
    program = "import sys, unmask; print(*{'torch', 'numpy', 'scipy', 'numba'} & set(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == []


def test_collection_is_switched_on_again_after_an_error():
    def fail():
        with without_collection():
            assert not gc.isenabled()
            raise ValueError("x")

    assert gc.isenabled()
    with pytest.raises(ValueError, match="x"):
        fail()
    assert gc.isenabled()


def test_collection_that_was_off_stays_off():
    gc.disable()
    try:
        with without_collection():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()


def test_quick_imports_keep_what_is_imported_out_of_later_collections():
    before = gc.get_freeze_count()
    try:
        with quick_imports():
            pass
        assert gc.get_freeze_count() > before
    finally:
        gc.unfreeze()


def test_lines_of_libraries_about_files_stay_off_the_terminal():
    program = (
        "import logging, warnings\n"
        "from unmask.cli import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "import tifffile\n"
        "tifffile.tifffile.logger().warning('a line of tifffile')\n"
        "logging.getLogger('nibabel.global').warning('a line of nibabel')\n"
        "warnings.warn_explicit('a warning', UserWarning, 'x.py', 1, module='nibabel.nifti1')\n"
        "warnings.warn_explicit('one of ours', UserWarning, 'x.py', 1, module='unmask.io')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, "presets"], capture_output=True, text=True, check=True
    )
    assert "line of" not in done.stderr
    assert "a warning" not in done.stderr
    assert "one of ours" in done.stderr


def test_threads_wait_as_the_user_says(monkeypatch):
    for name in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("OMP_WAIT_POLICY", "ACTIVE")
    limit_waiting()
    assert "GOMP_SPINCOUNT" not in os.environ
    monkeypatch.delenv("OMP_WAIT_POLICY")
    limit_waiting()
    assert 1000 <= int(os.environ.pop("GOMP_SPINCOUNT")) < 300_000
