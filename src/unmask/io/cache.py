"""What readers keep between reads, bounded over all open images together.

Random crops ask the same compressed piece again and again, and thousands of images may be open at
once. So every reader has a `Shelf`, the pieces live on it (and go with it), and one ledger per kind
of thing drops old pieces of all shelves when the sum grows over its budget.
"""

from __future__ import annotations

import threading
import weakref
from collections import deque
from collections.abc import Callable, Generator, Hashable
from contextlib import contextmanager
from typing import Any, Generic, TypeVar

import numpy as np

T = TypeVar("T")


class _Entry:
    """A piece on the ledger.

    Attributes:
        shelf: a weak reference, so that the pieces go with their image.
        key: of the piece on its shelf.
        size: in the unit of the ledger; 0 if the piece was replaced.
        used: the piece was asked for since the ledger came past it.
    """

    __slots__ = ("key", "shelf", "size", "used")

    def __init__(self, shelf: Callable[[], Shelf[Any] | None], key: Hashable, size: int) -> None:
        self.shelf, self.key, self.size, self.used = shelf, key, size, False


class Ledger:
    """Sizes of all pieces on all shelves, oldest first.

    What is dropped is old and was not used of late: a piece that was used goes to the young end
    when its turn comes (second chance). To move it at every use took a lock and longer than the
    copy of a small chunk.

    Args:
        budget: sum of sizes to stay under; the newest piece is kept whatever its size.
    """

    def __init__(self, budget: int) -> None:
        self.budget = budget
        self._lock = threading.Lock()
        self._total = 0
        self._entries: deque[_Entry] = deque()

    @property
    def total(self) -> int:
        """Sum of the sizes on record; pieces of images that are gone count until they age out."""
        return self._total

    def enter(self, entry: _Entry) -> None:
        """Record a new piece and drop old ones that no longer fit."""
        with self._lock:
            self._total += entry.size
            while self._total > self.budget and self._entries:
                self._drop(self._entries.popleft())
            self._entries.append(entry)

    def replace(self, entry: _Entry) -> None:
        """Forget the size of a piece that another one takes the place of."""
        with self._lock:
            self._total -= entry.size
            entry.size = 0

    def _drop(self, entry: _Entry) -> None:
        owner = entry.shelf()
        if entry.used and entry.size and owner is not None:
            entry.used = False
            self._entries.append(entry)
            return
        self._total -= entry.size
        if owner is not None:
            owner.drop(entry)


class Shelf(Generic[T]):
    """Pieces of one image; safe for threads.

    Args:
        ledger: the account the pieces are booked on.
        size: size of a piece in the ledger's unit.
    """

    def __init__(self, ledger: Ledger, size: Callable[[T], int]) -> None:
        self._ledger = ledger
        self._size = size
        self._pieces: dict[Hashable, tuple[T, Hashable, _Entry]] = {}
        self._self = weakref.ref(self)
        self._alone = threading.Lock()

    def get(self, key: Hashable, make: Callable[[], T]) -> T:
        """The piece ``key``, made where it is not there; two threads may make it twice."""
        piece = self.find(key)
        return self.keep(key, make()) if piece is None else piece

    def get_alone(self, key: Hashable, make: Callable[[], T]) -> T:
        """As `get`, but threads wait for each other: for pieces too large to be made twice."""
        with self._alone:
            return self.get(key, make)

    def find(self, key: Hashable, version: Hashable = 0) -> T | None:
        """The piece ``key`` of a version, None if there is none."""
        held = self._pieces.get(key)
        if held is None or held[1] != version:
            return None
        held[2].used = True
        return held[0]

    def keep(self, key: Hashable, piece: T, version: Hashable = 0) -> T:
        """Put a piece on the shelf, in the place of any other version."""
        entry = _Entry(self._self, key, self._size(piece))
        old = self._pieces.get(key)
        self._pieces[key] = piece, version, entry
        if old is not None:
            self._ledger.replace(old[2])
        self._ledger.enter(entry)
        return piece

    def drop(self, entry: _Entry) -> None:
        """Forget a piece; anyone who still uses it keeps it."""
        held = self._pieces.get(entry.key)
        if held is not None and held[2] is entry:
            self._pieces.pop(entry.key, None)


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
