"""Files that change under a run, and images that are the same under two names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from math import prod
from pathlib import Path

import numpy as np
import xxhash

from unmask.data.pairing import Pair
from unmask.errors import DataError, gather
from unmask.io import Image
from unmask.io.identity import UNKNOWN, file_identity
from unmask.io.multi_file import files_of
from unmask.io.paths import locate
from unmask.io.remote import is_remote
from unmask.space.box import Box

# Edge of the box that is compared before whole images are, and bytes that are compared at most.
_LOOK, _MOST = 64, 256 << 20


def fingerprint(pairs: Sequence[Pair]) -> dict[str, str]:
    """Size and time of change of every file of ``pairs``, to notice files that change under a run.

    Arrays in memory and stores of many files count by name alone.
    """
    marks: dict[str, str] = {}
    for pair in pairs:
        for image in (pair.image, pair.labels):
            if image is None:
                continue
            if is_remote(image.source):
                marks[image.source] = UNKNOWN
                continue
            named = [locate(file).path for file in files_of(image.source)]
            paths = [Path(file) for file in image.meta.get("files", ())] or named
            found = [file_identity(path) for path in paths if path.is_file()]
            marks[image.source] = ";".join(found) if len(found) == len(paths) else UNKNOWN
    return marks


def check_unchanged(before: Mapping[str, str], pairs: Sequence[Pair]) -> None:
    """Refuse files that were replaced, changed or removed.

    Raises:
        DataError: every such file at once.
    """
    try:
        now = fingerprint(pairs)
    except OSError as error:
        raise DataError(f"{error.filename}: the file can no longer be read ({error}).") from error
    changed = sorted(source for source in {*before, *now} if before.get(source) != now.get(source))
    if changed:
        problems = [f"{source}: expected it unchanged since the run began" for source in changed]
        raise DataError(
            gather(problems, heading="Input files changed. Restore them, or start a new run.")
        )


class Digest:
    """Digest of pixels that are read in parts, and of their shape and type.

    It is equal for equal images, whatever their files are, if both are read in the same parts.
    """

    def __init__(self, image: Image | np.ndarray) -> None:
        self._state = xxhash.xxh3_128(f"{tuple(image.shape)} {np.dtype(image.dtype).str}".encode())

    def add(self, part: np.ndarray) -> None:
        """Include the next part."""
        self._state.update(np.ascontiguousarray(part).reshape(-1).view(np.uint8).data)

    def value(self) -> str:
        """The digest of all parts so far, in hexadecimal digits."""
        return self._state.hexdigest()


def digest(image: np.ndarray) -> str:
    """Digest of an array in memory."""
    whole = Digest(image)
    whole.add(image)
    return whole.value()


def same_images(pairs: Sequence[Pair], others: Sequence[Pair]) -> list[tuple[Pair, Pair]]:
    """Images that are in both, under whatever name: the same file, or equal pixels.

    Few pixels are read: images are compared whole only where size, type and middle are equal.
    """
    known: dict[object, list[Pair]] = {}
    for pair in pairs:
        known.setdefault(_kind(pair.image), []).append(pair)
    found: list[tuple[Pair, Pair]] = []
    seen: dict[int, _Seen] = {}
    for other in others:
        for pair in known.get(_kind(other.image), ()):
            each = [seen.setdefault(id(p.image), _Seen(p.image)) for p in (pair, other)]
            if _same(*each):
                found.append((pair, other))
                break
    return found


class _Seen:
    """What is known of an image that is compared with many others; read when it is needed."""

    def __init__(self, image: Image) -> None:
        self.image = image
        path = locate(image.source).path
        # Equal pixels take equal room in files of one format that are decoded whole.
        packed = image.whole and path.is_file()
        self.packed = (path.suffix.lower(), path.stat().st_size) if packed else None
        self.file = image.source if path.exists() else None

    @cached_property
    def middle(self) -> str:
        """Digest of the middle."""
        return digest(self.image.read(_middle(self.image)))


def _kind(image: Image) -> tuple[object, ...]:
    return image.shape, image.dtype.str


def _same(one: _Seen, two: _Seen) -> bool:
    image, other = one.image, two.image
    if image is other or (one.file is not None and one.file == two.file):
        return True
    here, there = one.packed, two.packed
    if here and there and here[0] == there[0] and here[1] != there[1]:
        return False
    if one.middle != two.middle:
        return False
    if prod(image.shape) * image.dtype.itemsize > _MOST:
        return True
    return np.array_equal(image.read(), other.read())


def _middle(image: Image) -> Box:
    start = [max(0, (length - _LOOK) // 2) for length in image.shape[1:]]
    return Box(
        tuple(start), tuple(min(a + _LOOK, n) for a, n in zip(start, image.shape[1:], strict=True))
    )
