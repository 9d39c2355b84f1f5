"""The tests that the fault table names, each run in a forked child."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from injection.catalog import ROWS
from injection.forks import Limits
from injection.trial import Part, Trial, Verdict

ROOT = Path(__file__).resolve().parents[2]
_LIMITS = Limits(seconds=900, cpu=600, memory=None)
# The quickest ones, for the small form.
_FEW = ("data/test_loader.py", "metrics/test_edge_cases.py")


class _Counter:
    """A plugin that runs the tests of one name and counts their cases."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.counts = {"passed": 0, "failed": 0, "skipped": 0}
        self.first = ""

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Keep the tests of the name, in classes too."""
        items[:] = [item for item in items if item.name.partition("[")[0] == self.name]

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """A case has ended, or its setup has failed or skipped it."""
        if report.when == "call" or not report.passed:
            self.counts[report.outcome] += 1
            if report.failed and not self.first:
                self.first = f"{report.nodeid}: {report.longreprtext[-800:]}"

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """A file that cannot be imported is a failure."""
        if report.failed:
            self.counts["failed"] += 1
            self.first = report.longreprtext[-800:]


def trials(at: Path, tiny: bool) -> list[Trial]:  # noqa: FBT001 - as all parts
    """All tests of the table, once each; two files in the small form."""
    names = dict.fromkeys(name for row in ROWS for name in row.tests)
    return [
        Trial(name, name, partial(_run, at, name), _LIMITS)
        for name in names
        if not tiny or name.startswith(_FEW)
    ]


def prepare(at: Path, tiny: bool) -> None:  # noqa: FBT001 - as all parts
    """Nothing."""


def _run(at: Path, name: str) -> dict[str, Any]:
    # By name, because a test may stand in a class.
    file, _, function = name.partition("::")
    os.chdir(ROOT)
    log = os.open(at / "log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for stream in (1, 2):
        os.dup2(log, stream)
    counter = _Counter(function)
    where = ["-q", "-p", "no:cacheprovider"]
    # Packages of the parent were imported before pytest could rewrite their asserts.
    where += ["-W", "ignore::pytest.PytestAssertRewriteWarning"]
    folder = at / f"tmp-{file.replace('/', '-')}-{function}"[:120]
    code = pytest.main([f"tests/{file}", *where, f"--basetemp={folder}"], plugins=[counter])
    counts = counter.counts
    good = code == 0 and counts["passed"] and not counts["failed"]
    words = ", ".join(f"{count} {word}" for word, count in counts.items() if count)
    detail = f"{words or f'pytest ended with {int(code)}'}; {counter.first}"
    return Verdict(
        name, "passed" if good else "failed", detail, max(1, counts["passed"] + counts["failed"])
    ).json()


PART = Part("suite", prepare, trials)
