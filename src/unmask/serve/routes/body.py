"""Bodies of requests: limited before they are read, and exactly as long as announced."""

from __future__ import annotations

from collections.abc import AsyncIterator
from math import prod

import numpy as np
from fastapi import Request

from unmask.errors import message
from unmask.serve.labels import MOST, Patch
from unmask.serve.refusal import RefusedError
from unmask.serve.upload import too_large
from unmask.serve.versions import ABSENT

_DTYPES = {"uint16": np.dtype("<u2"), "uint32": np.dtype("<u4")}


def announced(request: Request, limit: int) -> None:
    """Refuse a body that says that it is too long.

    Raises:
        RefusedError: 413; 400 for a length that is not a number.
    """
    length = request.headers.get("content-length")
    if length is not None and not length.isdecimal():
        raise wrong("content-length", "a number", length)
    if length is not None and int(length) > limit:
        raise too_large("request", limit)


async def read_body(stream: AsyncIterator[bytes], size: int) -> bytes:
    """Exactly ``size`` bytes.

    Raises:
        RefusedError: the body has another length.
    """
    parts, total = [], 0
    async for chunk in stream:
        total += len(chunk)
        if total > size:
            break
        parts.append(chunk)
    if total != size:
        raise wrong("body", f"{size} bytes, as X-Shape and X-Dtype say", f"{total}")
    return b"".join(parts)


async def read_patch(request: Request, shape: tuple[int, ...]) -> Patch:
    """A patch from raw little-endian values with the headers X-Shape, X-Dtype, X-Offset, If-Match.

    Raises:
        RefusedError: headers that do not describe a box inside ``shape``.
    """
    headers = request.headers
    size = numbers("x-shape", headers.get("x-shape", ""))
    start = numbers("x-offset", headers.get("x-offset") or ",".join("0" * len(shape)))
    dtype = _DTYPES.get(headers.get("x-dtype", ""))
    if dtype is None:
        raise wrong("x-dtype", "uint16 or uint32", headers.get("x-dtype", "none"))
    if "x-offset" not in headers and size != shape:
        raise wrong("x-shape", f"{shape}, or X-Offset", f"{size}")
    inside = len(start) == len(size) == len(shape) and all(
        a >= 0 and n > 0 and a + n <= most for a, n, most in zip(start, size, shape, strict=True)
    )
    if not inside:
        raise wrong("x-shape", f"a box inside {shape}", f"{start} + {size}")
    nbytes = prod(size) * dtype.itemsize
    if nbytes > MOST:
        raise too_large("labels", MOST)
    announced(request, nbytes)
    content = await read_body(request.stream(), nbytes)
    values = np.frombuffer(content, dtype).reshape(size).astype(dtype.newbyteorder("="))
    return Patch(start, values, expected_version(request))


def expected_version(request: Request) -> str:
    """The version in If-Match; without one, that of what does not exist yet."""
    return request.headers.get("if-match", ABSENT).strip().strip('"') or ABSENT


def numbers(name: str, text: str) -> tuple[int, ...]:
    """Whole numbers with commas between.

    Raises:
        RefusedError: something else.
    """
    words = [word.strip() for word in text.split(",")]
    if not all(word.isdecimal() and len(word) < 16 for word in words):
        raise wrong(name, "whole numbers such as 512,512", text or "none")
    return tuple(map(int, words))


def inside(box: tuple[tuple[int, ...], tuple[int, ...]], shape: tuple[int, ...]) -> bool:
    """Whether a box lies in an image and is not empty."""
    start, stop = box
    return len(start) == len(stop) == len(shape) and all(
        0 <= a < b <= n for a, b, n in zip(start, stop, shape, strict=True)
    )


def wrong(name: str, expected: str, found: str) -> RefusedError:
    """What to raise for a header or parameter that means nothing."""
    return RefusedError(
        400, message(name, expected=expected, found=found[:200], do="Correct the request.")
    )
