"""What every part gives: trials with a key, and a verdict for each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from injection.forks import Limits, Outcome, shortened

# Verdicts that are as promised; all others count as failures.
GOOD = ("equal", "noticed", "harmless", "spacing", "refused", "read", "message", "nothing",
        "passed")  # fmt: skip


@dataclass(frozen=True)
class Verdict:
    """What came of a trial.

    Attributes:
        group: row of the table.
        verdict: one of ``GOOD``, or a word for the failure.
        detail: what a developer needs to repeat it.
        count: tries that this stands for.
    """

    group: str
    verdict: str
    detail: str = ""
    count: int = 1

    def json(self) -> dict[str, Any]:
        """For a pipe or file."""
        return asdict(self) | {"detail": shortened(self.detail)}


@dataclass(frozen=True)
class Trial:
    """One injected fault.

    Attributes:
        key: unique in its part; the same in every run.
        group: row of the table.
        run: does it, in a child; returns ``Verdict.json()``.
        limits: of the child; exceeding them is a failure.
        growth: bytes by which the memory may grow.
        cpu: CPU seconds that it may take.
    """

    key: str
    group: str
    run: Callable[[], dict[str, Any]]
    limits: Limits = field(default_factory=Limits)
    growth: int | None = None
    cpu: float | None = None

    def judge(self, outcome: Outcome) -> Verdict:
        """The verdict, with what the child used taken into account."""
        if outcome.how != "done":
            word = outcome.how.partition(" ")[0]
            return Verdict(self.group, {"exit": "traceback"}.get(word, word), f"{outcome.value}")
        found = Verdict(**outcome.value)
        if self.growth is not None and outcome.growth > self.growth:
            size = f"{outcome.growth / 2**20:.0f} MiB more memory; {found.verdict}"
            return Verdict(found.group, "memory", f"{size} {found.detail}")
        if self.cpu is not None and outcome.cpu > self.cpu:
            time = f"{outcome.cpu:.1f} CPU s; {found.verdict}"
            return Verdict(found.group, "slow", f"{time} {found.detail}")
        return found


@dataclass(frozen=True)
class Part:
    """A kind of fault.

    Attributes:
        name: as in ``--parts``.
        prepare: makes inputs and references in a folder; runs in a child.
        trials: the trials over such a folder. In both the second argument asks for the small form.
    """

    name: str
    prepare: Callable[[Path, bool], None]
    trials: Callable[[Path, bool], list[Trial]]
