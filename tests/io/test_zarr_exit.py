"""The end of a process that has used zarr, on a machine that is too busy to end threads at once."""

from __future__ import annotations

import asyncio
import sys
import threading
import time
from types import SimpleNamespace

from unmask.io.zarr_exit import end_thread


def test_the_loop_can_be_closed_after_a_slow_end(monkeypatch):
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    # Longer than zarr waits.
    loop.call_soon_threadsafe(time.sleep, 0.4)
    monkeypatch.setitem(
        sys.modules, "zarr.core.sync", SimpleNamespace(loop=[loop], iothread=[thread])
    )
    end_thread()
    assert not thread.is_alive()
    loop.close()
    # A second call, and a process without zarr, find nothing to do.
    end_thread()
    monkeypatch.setitem(sys.modules, "zarr.core.sync", SimpleNamespace(loop=[None]))
    end_thread()
