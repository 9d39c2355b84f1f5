"""Headers are claims: what they ask for is checked before one byte is allocated.

A file of a kilobyte can claim a terabyte. No honest codec packs better than about 1000:1, so a
claim of more than 10 000 times the file's size is refused, and nothing is read that does not fit
into half of the free memory.
"""

from __future__ import annotations

from math import prod

from unmask.errors import DataError, message
from unmask.memory import free_memory

RATIO = 10_000
# Claims up to this size do no harm, and tiny files have odd ratios.
HARMLESS = 64 * 2**20
# Formats that can only be decoded whole: deflate cannot pack better than 1032:1.
WHOLE_RATIO = 1_000
WHOLE_HARMLESS = 256 * 2**20


def check_claim(
    source: str, claimed: int, stored: int, *, ratio: int = RATIO, harmless: int = HARMLESS
) -> None:
    """Refuse a header that claims far more than the file can hold.

    Args:
        source: name for the message.
        claimed: bytes of the decoded array.
        stored: bytes of the file.
        ratio: the largest believable compression.
        harmless: claims up to this many bytes pass.

    Raises:
        DataError: the claim is not believable.
    """
    if claimed > harmless and claimed > stored * ratio:
        raise DataError(
            message(
                source,
                expected=f"at most {ratio} times as many bytes as the file has ({stored})",
                found=f"a header that claims {_human(claimed)}",
                do="The file is damaged or made to exhaust memory. Export it again, as tiled TIFF "
                "or OME-Zarr where it is honest.",
            )
        )


def check_memory(source: str, nbytes: int, *, what: str = "this read") -> None:
    """Refuse to allocate more than half of the free memory.

    Raises:
        DataError: names what is needed and what is free.
    """
    if nbytes <= HARMLESS:
        return
    free = free_memory()
    if nbytes > free // 2:
        raise DataError(
            message(
                source,
                expected=f"at most {_human(free // 2)} for {what} (half of the free memory)",
                found=f"{_human(nbytes)}",
                do="Read it in blocks, store it with smaller tiles or chunks, or use a machine "
                "with more memory.",
            )
        )


def check_unit(source: str, shape: tuple[int, ...], itemsize: int, *, name: str) -> None:
    """Refuse tiles, strips or chunks that cannot be decoded in memory."""
    check_memory(source, prod(shape) * itemsize, what=f"one {name} of shape {shape}")


def _human(nbytes: int) -> str:
    return f"{nbytes / 2**30:.1f} GiB" if nbytes >= 2**30 else f"{nbytes / 2**20:.1f} MiB"
