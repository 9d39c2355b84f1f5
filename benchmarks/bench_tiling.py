"""Tiled prediction: what it adds to the bare forward passes, in time and in memory.

A 1x1 convolution from 3 to 3 channels stands for the network, so that everything else shows. "bare"
is cutting the same windows and running the convolution on each. Scores go to a sink that counts
lines, to memory and to Zarr; the peer (``pip install --no-deps monai``) can only keep them in
memory. Before the clock starts, both results are compared with the convolution of the whole image.
"""

from __future__ import annotations

import ctypes
import gc
import importlib
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

import harness
from unmask.data.source import ArraySource
from unmask.infer.sinks import MemorySink, ZarrSink
from unmask.infer.tiles import Sink, run_tiles
from unmask.space.box import Box
from unmask.space.tiling import Tiling

WINDOW = (512, 512)
OVERLAP = 0.6
STATUS = Path("/proc/self/status")
CLEAR = Path("/proc/self/clear_refs")


class CountingSink:
    """Takes lines in pieces of 64, as a file would, and forgets them."""

    def open(self, shape: tuple[int, ...]) -> int:  # noqa: ARG002 - the protocol
        self.lines = 0
        return 64

    def room(self, box: Box) -> None:  # noqa: ARG002 - the protocol
        return None

    def write(self, box: Box, scores: np.ndarray) -> None:  # noqa: ARG002 - the protocol
        self.lines += scores.shape[1]


def find_peer() -> Callable[..., Tensor] | None:
    try:
        return importlib.import_module("monai.inferers").sliding_window_inference
    except ImportError:
        return None


def bare(network: Callable[[Tensor], Tensor], image: np.ndarray, tiling: Tiling) -> int:
    """Cut and run all windows; their number."""
    whole, count = torch.from_numpy(image), 0
    rows, columns = tiling.positions(image.shape[1:])
    with torch.inference_mode():
        for y in rows:
            for x in columns:
                batch = torch.empty((1, len(image), *WINDOW))
                batch[0] = whole[:, y : y + WINDOW[0], x : x + WINDOW[1]]
                network(batch)
                count += 1
    return count


def extra_memory(fn: Callable[[], object]) -> float:
    """MB that one call adds to the resident memory at its peak; NaN if it cannot be measured."""
    gc.collect()
    try:
        # what earlier calls freed would otherwise be taken again unseen
        ctypes.CDLL(None).malloc_trim(0)
        CLEAR.write_text("5", encoding="ascii")
    except (OSError, AttributeError):
        return float("nan")
    before = _status("VmRSS")
    fn()
    return (_status("VmHWM") - before) / 1e3


def _status(key: str) -> float:
    lines = STATUS.read_text(encoding="ascii").splitlines()
    return float(next(line.split()[1] for line in lines if line.startswith(key)))


def rows_of(side: int, network: torch.nn.Conv2d, folder: Path) -> list[dict[str, Any]]:
    image = np.random.default_rng(0).random((3, side, side), dtype=np.float32)
    tiling = Tiling(WINDOW, overlap=OVERLAP, batch_size=1)
    peer = find_peer()

    def ours(sink: Sink) -> Sink:
        run_tiles(network, ArraySource(image), sink, tiling=tiling)
        return sink

    def theirs() -> Tensor:
        whole = torch.from_numpy(image)[None]
        with torch.inference_mode():
            return peer(whole, WINDOW, 1, network, overlap=OVERLAP, mode="gaussian")  # pyright: ignore[reportOptionalCall]

    kept = ours(MemorySink())
    assert isinstance(kept, MemorySink)
    with torch.inference_mode():
        direct = network(torch.from_numpy(image[:, :1024]))[:, :512].numpy()
    assert np.abs(kept.array[:, :512] - direct).max() < 1e-5
    if peer is not None:
        assert np.abs(theirs()[0].numpy() - kept.array).max() < 1e-5
    del kept
    runs: dict[str, Callable[[], object]] = {
        "bare": lambda: bare(network, image, tiling),
        "counted": lambda: ours(CountingSink()),
        "memory": lambda: ours(MemorySink()),
        "zarr": lambda: ours(ZarrSink(folder / "scores.zarr")),
    }
    if peer is not None:
        runs["peer"] = theirs
    seconds = harness.interleave(runs, 3)
    windows = bare(network, image, tiling)
    added = (seconds["counted"] - seconds["bare"]) / windows * 1e3
    note = f"{windows} windows, {added:.2f} ms each over the bare pass"
    what = f"{side}^2 x 3, window 512, overlap {OVERLAP}"
    rows = [
        harness.row(
            f"{what}, to {name}",
            {"ours": seconds[key], **({"peer": seconds["peer"]} if peer is not None else {})},
            floor=seconds["bare"],
            note=note,
        )
        for key, name, note in (
            ("counted", "a sink that counts", note),
            ("memory", "memory", ""),
            ("zarr", "Zarr with checksum", "the peer keeps scores in memory"),
        )
    ]
    memory = {"ours": extra_memory(runs["counted"])}
    if peer is not None:
        memory["peer"] = extra_memory(theirs)
    note = f"Zarr: {extra_memory(runs['zarr']):.0f} MB"
    return [*rows, harness.row(f"{what}, extra memory", memory, unit="MB", note=note)]


def main() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    network = torch.nn.Conv2d(3, 3, 1)
    with tempfile.TemporaryDirectory() as folder:
        rows = [row for side in (2048, 8192) for row in rows_of(side, network, Path(folder))]
    harness.write("tiling", rows)


if __name__ == "__main__":
    main()
