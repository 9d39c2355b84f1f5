"""Progress of a job as a stream of server-sent events."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

_PAUSE = 0.5


async def follow(
    path: Path,
    state: Callable[[], dict[str, Any]],
    *,
    offset: int = 0,
    closing: threading.Event,
) -> AsyncIterator[str]:
    """Lines of a journal as they are written, then the final state.

    Every event carries the position in the file, from which a reader that was cut off continues.

    Args:
        path: the ``journal.jsonl``; it may not exist yet.
        state: describes the job.
        offset: position to start at.
        closing: set when the server ends.
    """
    last: dict[str, Any] = {}
    while True:
        # The state first: what was written before the end is then read for certain.
        now = await asyncio.to_thread(state)
        lines, offset = await asyncio.to_thread(_lines, path, offset)
        for line in lines:
            yield _event("journal", line, offset)
        if now != last:
            yield _event("state", json.dumps(now), offset)
            last = now
        if now["state"] != "running" or closing.is_set():
            return
        await asyncio.sleep(_PAUSE)


def _lines(path: Path, offset: int) -> tuple[list[str], int]:
    """Complete lines after a position, and the position after them."""
    try:
        with path.open("rb") as file:
            # A run that continues cuts its journal back.
            if offset > file.seek(0, 2):
                offset = 0
            file.seek(offset)
            content = file.read()
    except OSError:
        return [], 0
    end = content.rfind(b"\n") + 1
    lines = content[:end].decode(errors="replace").splitlines()
    return [line for line in lines if line.strip()], offset + end


def _event(kind: str, data: str, position: int) -> str:
    return f"event: {kind}\nid: {position}\ndata: {data}\n\n"
