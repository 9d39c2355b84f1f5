"""Choose the next image to label: a typical one of a kind without labels, or an uncertain one.

The choice is that of ``unmask select``. A call describes a few images and then more for one second
at most, so that a person does not wait for thousands of them; a thread describes the others
meanwhile, for the next call.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from unmask.errors import UnmaskError
from unmask.serve.pictures import Pictures
from unmask.serve.workspace import Entry

# Seconds of a call in which images are described, and the number that are described however long
# it takes: on a busy machine one second is not enough for any.
_PATIENCE, _FEWEST = 1.0, 16
# The thread rests so many times as long as it has worked, because requests come first.
_REST = 2.0


class Selection:
    """Chooses images; caches their descriptors. Thread-safe.

    Args:
        pictures: opens the images.
        closing: set when the server ends.
    """

    def __init__(self, pictures: Pictures, closing: threading.Event | None = None) -> None:
        self._pictures = pictures
        self._known: dict[tuple[Path, int], np.ndarray | None] = {}
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._closing = closing or threading.Event()

    def choose(
        self,
        fresh: Sequence[Entry],
        done: Sequence[Entry],
        count: int,
        doubts: Mapping[str, float] | None = None,
    ) -> list[Entry]:
        """Choose images, typical ones of unlabeled kinds first; fewer if few are described yet.

        Args:
            fresh: images without labels.
            done: images with labels.
            count: number of images to choose.
            doubts: uncertainty of a model about images without labels, by id.
        """
        # At the first call nothing is compiled or imported yet: the server starts without it.
        from unmask.selection.choose import choose

        # Labels of an image that is not described would not count, so these come first.
        groups = [_spread(done), _spread(fresh)]
        with self._lock:
            ends, known = time.monotonic() + _PATIENCE, []
            for number, entry in (pair for group in groups for pair in enumerate(group)):
                wait = number < _FEWEST or time.monotonic() < ends
                known.append((entry, self._describe(entry, wait=wait)))
        self._continue([entry for group in groups for entry in group])
        known = [(entry, found) for entry, found in known if found is not None]
        known = [(e, found) for e, found in known if found.shape == known[0][1].shape]
        labeled = {entry.id for entry in done}
        indices = [n for n, (entry, _) in enumerate(known) if entry.id in labeled]
        if len(known) - len(indices) < 1 or len(known) < 2:
            return []
        weights = None
        if doubts:
            # Images that were not predicted yet are as uncertain as the others on average.
            mean = sum(doubts.values()) / len(doubts)
            weights = np.array([doubts.get(entry.id, mean) for entry, _ in known])
        rows = np.stack([found for _, found in known])
        chosen = choose(rows, count, labeled=indices, doubts=weights)
        return [known[each.index][0] for each in chosen]

    def _continue(self, entries: Sequence[Entry]) -> None:
        """Describe the images while the person labels; does not wait."""
        if self._thread is None or not self._thread.is_alive():
            self._thread = threading.Thread(target=self._run, args=(entries,), daemon=True)
            self._thread.start()

    def _run(self, entries: Sequence[Entry]) -> None:
        for entry in entries:
            begin = time.monotonic()
            with self._lock:
                self._describe(entry, wait=True)
            if self._closing.wait(_REST * (time.monotonic() - begin)):
                return

    def _describe(self, entry: Entry, *, wait: bool) -> np.ndarray | None:
        try:
            key = (entry.path, entry.path.stat().st_mtime_ns)
        except OSError:
            return None
        if key not in self._known and wait:
            from unmask.selection.descriptors import describe

            try:
                self._known[key] = describe(self._pictures.open(entry))
            except (UnmaskError, OSError):
                self._known[key] = None
        return self._known.get(key)


def _spread(entries: Sequence[Entry]) -> list[Entry]:
    """In a random order, so that the first ones are spread over the folder."""
    order = np.random.default_rng(0).permutation(len(entries))
    return [entries[n] for n in order]
