"""What clustering will take: blocks, memory and time, before the work begins."""

from __future__ import annotations

from collections.abc import Sequence

from unmask.api.values import Say
from unmask.clustering.assign import estimate_seconds, needs
from unmask.clustering.centers import Volume
from unmask.clustering.dense import Dense
from unmask.io.missing_chunks import find_unwritten
from unmask.progress import duration

# Seconds above which the forecast names the fastest quality.
_LONG = 60


def report_needs(dense: Dense, volumes: Sequence[Volume], say: Say) -> None:
    """Report what the labels of each volume will take."""
    for volume in volumes:
        if note := find_unwritten(volume.image.source):
            say(note)
        say(f"{volume.image.source}: {needs(dense, volume)}")
    seconds = estimate_seconds(dense, volumes)
    faster = seconds > _LONG and dense.quality != "draft" and dense.compat != "official"
    say(
        f"Forecast: about {duration(seconds)} for the features, in one process."
        + (" --quality draft takes a small part of it." if faster else "")
    )
