"""The contracts find parts that break them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from unmask.testing import small_options

BROKEN = Path(__file__).with_name("broken_parts.py")
FOUND = {
    "TestGradients": ["test_gradient_reaches_every_parameter"],
    "TestInput": ["test_input_stays_as_it_is"],
    "TestChance": ["test_chance_comes_from_the_generator"],
    "TestSigns": ["test_flips_of_scores", "test_ignored_voxels_have_no_influence"],
    "TestCrops": ["test_crops_fit_together"],
    "TestDamage": ["test_values_come_back", "test_a_truncated_file_is_refused"],
    "TestRefusal": ["test_something_can_be_written"],
    "TestNumbers": ["test_numbers"],
}


def test_broken_parts_are_found(tmp_path):
    """Each of these parts breaks one promise, and its contract says which."""
    (tmp_path / BROKEN.name).write_bytes(BROKEN.read_bytes())
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", BROKEN.name]
    done = subprocess.run(
        command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=600
    )
    failed = [line for line in done.stdout.splitlines() if line.startswith("FAILED")]
    for title, tests in FOUND.items():
        for test in tests:
            assert any(f"{title}::{test}" in line for line in failed), done.stdout


def test_small_options_are_those_of_the_constructor():
    def network(ndim, *, width=64, heads=(1, 2), depth=4, slope=0.1, low): ...

    assert small_options(network) == {"width": 4, "heads": 2, "depth": 3, "low": 0.0}


def test_importing_needs_pytest_alone():
    program = (
        "import sys; [sys.modules.setdefault(name, None) for name in ('hypothesis', 'beartype')]; "
        "from unmask.testing import *; from unmask.testing import TaskContract"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
