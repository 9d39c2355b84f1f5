"""What readers keep between reads, bounded over all open images together.

Random crops ask the same compressed piece again and again, and thousands of images may be open at
once. So every reader has a `Shelf`, the pieces live on it (and go with it), and one ledger per kind
of thing drops the least recently used pieces of all shelves when the sum grows over its budget.
"""

from __future__ import annotations

import threading
import weakref
from collections import OrderedDict
from collections.abc import Callable, Generator, Hashable
from contextlib import contextmanager
from typing import Any, Generic, TypeVar

import numpy as np

T = TypeVar("T")


class Ledger:
    """Sizes of all pieces on all shelves, oldest first.

    Args:
        budget: sum of sizes to stay under; the newest piece is kept whatever its size.
    """

    def __init__(self, budget: int) -> None:
        self.budget = budget
        self._lock = threading.Lock()
        self._total = 0
        self._entries: OrderedDict[tuple[int, Hashable], tuple[weakref.ref[Shelf[object]], int]] = (
            OrderedDict()
        )

    @property
    def total(self) -> int:
        """Sum of the sizes on record; pieces of images that are gone count until they age out."""
        return self._total

    def touch(self, shelf: Shelf[T], key: Hashable) -> None:
        """Move a piece to the young end."""
        with self._lock:
            try:
                self._entries.move_to_end((id(shelf), key))
            except KeyError:
                # Another thread has dropped the piece since. ``suppress`` would take longer than
                # the rest of this function, which runs for every chunk of every read.
                return

    def enter(self, shelf: Shelf[T], key: Hashable, size: int) -> None:
        """Record a new piece and drop old ones that no longer fit."""
        with self._lock:
            name = (id(shelf), key)
            _, old = self._entries.pop(name, (None, 0))
            self._entries[name] = (weakref.ref(shelf), size)  # type: ignore[assignment]
            self._total += size - old
            while self._total > self.budget and len(self._entries) > 1:
                (_, stale), (reference, freed) = self._entries.popitem(last=False)
                self._total -= freed
                owner = reference()
                if owner is not None:
                    owner.drop(stale)


class Shelf(Generic[T]):
    """Pieces of one image; safe for threads.

    Args:
        ledger: the account the pieces are booked on.
        size: size of a piece in the ledger's unit.
    """

    def __init__(self, ledger: Ledger, size: Callable[[T], int]) -> None:
        self._ledger = ledger
        self._size = size
        self._pieces: dict[Hashable, T] = {}
        self._alone = threading.Lock()

    def get(self, key: Hashable, make: Callable[[], T]) -> T:
        """The piece ``key``, made where it is not there; two threads may make it twice."""
        piece = self._pieces.get(key)
        if piece is not None:
            self._ledger.touch(self, key)
            return piece
        piece = make()
        self._pieces[key] = piece
        self._ledger.enter(self, key, self._size(piece))
        return piece

    def get_alone(self, key: Hashable, make: Callable[[], T]) -> T:
        """As `get`, but threads wait for each other: for pieces too large to be made twice."""
        with self._alone:
            return self.get(key, make)

    def drop(self, key: Hashable) -> None:
        """Forget a piece; anyone who still uses it keeps it."""
        self._pieces.pop(key, None)


def _bytes(piece: np.ndarray) -> int:
    return piece.nbytes


def _one(_: object) -> int:
    return 1


# The two accounts are caches, not state: a reader gives the same values with any budget.
_BUDGETS = [256 * 2**20]
_DECODED = Ledger(_BUDGETS[0])
_CHANGING = threading.Lock()
# Half of the common limit of 256 open files is left to others; a mapping holds one.
_OPENED = Ledger(64)


def make_decoded_shelf() -> Shelf[np.ndarray]:
    """A shelf for decoded arrays, 256 MiB for all images together."""
    return Shelf(_DECODED, _bytes)


@contextmanager
def sparing(budget: int) -> Generator[None, None, None]:
    """Keep fewer decoded arrays for a while: what is read once, front to back, is not asked again.

    Args:
        budget: bytes for all images together; the smallest of those in force counts.
    """
    with _CHANGING:
        _BUDGETS.append(budget)
        _DECODED.budget = min(_BUDGETS)
    try:
        yield
    finally:
        with _CHANGING:
            _BUDGETS.remove(budget)
            _DECODED.budget = min(_BUDGETS)


def make_opened_shelf() -> Shelf[Any]:
    """A shelf for open files or mappings, 64 for all images together."""
    return Shelf(_OPENED, _one)
