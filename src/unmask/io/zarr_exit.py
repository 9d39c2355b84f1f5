"""End zarr's thread patiently at the end of a process.

zarr itself waits 0.2 s for its event loop and then closes it, running or not. On a busy machine
that ends a finished command with "Cannot close a running event loop".
"""

from __future__ import annotations

import sys
from contextlib import suppress

_SECONDS = 60.0


def end_thread() -> None:
    """Stop zarr's event loop and wait for its thread; nothing happens if it was never started.

    It is registered after zarr's own function, so it runs before it.
    """
    module = sys.modules.get("zarr.core.sync")
    # Names of zarr 3 that are not public; without them zarr ends as it always did.
    loop, thread = (getattr(module, name, [None])[0] for name in ("loop", "iothread"))
    if loop is None or thread is None or not thread.is_alive():
        return
    with suppress(RuntimeError):
        loop.call_soon_threadsafe(loop.stop)
        thread.join(_SECONDS)
