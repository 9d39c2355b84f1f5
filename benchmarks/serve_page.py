"""What `unmask serve` costs: first picture, strokes, memory, and tiles of huge images.

    python benchmarks/serve_page.py --out docs/results/serve.json

Needs the extra ``serve``, playwright and Debian's chromium. Times are wall times of this machine,
with its load noted next to them; the server runs with the priority that it was started with.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from unmask.io import save_image
from unmask.io.zarr import create_zarr

IMAGES = 2000
# Runs in the page: the JavaScript time of every pointer move while a stroke is drawn.
LISTEN = """() => {
  window.moves = [];
  const canvas = document.querySelector('#canvas');
  let begin = 0;
  canvas.addEventListener('pointermove', () => { begin = performance.now(); }, { capture: true });
  window.addEventListener('pointermove', () => window.moves.push(performance.now() - begin));
  window.saves = [];
  const real = window.fetch;
  window.fetch = async (path, options) => {
    const from = performance.now();
    const answer = await real(path, options);
    if (options?.method === 'PUT') window.saves.push(performance.now() - from);
    return answer;
  };
}"""


class Served:
    """``unmask serve`` in a process of its own, and what it takes."""

    def __init__(self, folder: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "unmask", "serve", str(folder), "--port", "0"],
            stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONUNBUFFERED": "1"},
        )  # fmt: skip
        assert self.process.stdout is not None
        self.process.stdout.readline()
        self.address = self.process.stdout.readline().strip()

    def megabytes(self) -> float:
        """Resident memory now."""
        lines = Path(f"/proc/{self.process.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) / 1024

    def cpu(self) -> float:
        """CPU seconds so far."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def end(self) -> None:
        """Stop it."""
        self.process.terminate()
        self.process.wait(60)


def open_page(browser: Any, served: Served) -> tuple[Any, float]:
    """A page that shows its first picture, and the seconds until then."""
    page = browser.new_page(viewport={"width": 1280, "height": 720})
    page.set_default_timeout(300_000)
    begin = time.perf_counter()
    page.goto(served.address)
    page.wait_for_function("() => document.querySelector('#canvas').dataset.drawn === 'all'")
    seconds = time.perf_counter() - begin
    page.wait_for_function("() => document.querySelector('#canvas').dataset.image")
    return page, seconds


def many_images(browser: Any, folder: Path) -> dict[str, Any]:
    """First picture of a folder of 2,000 images; the second time thumbnails are there."""
    noise = np.random.default_rng(0).integers(0, 255, (128, 128), np.uint8)
    for number in range(IMAGES):
        rolled = np.roll(noise, number, 0).repeat(4, 0).repeat(4, 1)
        save_image(folder / f"image_{number:04d}.tif", rolled, axes="YX")
    served = Served(folder)
    try:
        times = []
        for _ in range(3):
            page, seconds = open_page(browser, served)
            times.append(seconds)
            page.close()
        return {"images": IMAGES, "first_picture_s": times, "server_mb": served.megabytes(),
                "server_cpu_s": served.cpu()}  # fmt: skip
    finally:
        served.end()


def strokes(browser: Any, folder: Path) -> dict[str, Any]:
    """JavaScript per pointer move, and the way of a stroke to the disk, on 2048 x 2048 pixels."""
    image = np.random.default_rng(0).integers(0, 255, (2048, 2048), np.uint8)
    save_image(folder / "large.tif", image, axes="YX")
    served = Served(folder)
    try:
        page, _ = open_page(browser, served)
        page.evaluate(LISTEN)
        before = served.cpu()
        page.get_by_test_id("brush-size").fill("30")
        area = page.get_by_test_id("canvas").bounding_box()
        for row in range(5):
            y = area["y"] + area["height"] * (row + 1) / 6
            page.mouse.move(area["x"] + 250, y)
            page.mouse.down()
            page.mouse.move(area["x"] + 550, y, steps=40)
            page.mouse.up()
            page.get_by_test_id("save").click()
            page.wait_for_function(
                "() => document.querySelector('#canvas').dataset.saving === 'saved'"
            )
        moves, saves = page.evaluate("[window.moves, window.saves]")
        cpu, memory = served.cpu() - before, served.megabytes()
        page.close()
    finally:
        served.end()
    return {
        "size": 2048, "moves": len(moves),
        "move_ms": {"median": statistics.median(moves), "p95": float(np.percentile(moves, 95)),
                    "max": max(moves)},
        "save_ms": {"median": statistics.median(saves), "max": max(saves)},
        "server_cpu_ms_per_save": 1000 * cpu / len(saves), "server_mb": memory,
    }  # fmt: skip


def huge(browser: Any, folder: Path, shape: tuple[int, ...]) -> dict[str, Any]:
    """Pan and zoom in an image that no memory holds; only one corner of it is written."""
    axes = "zyx"[-len(shape) :]
    store = folder / "huge.ome.zarr"
    array = create_zarr(store, shape, np.dtype(np.uint8), axes=axes)
    corner = tuple(slice(0, min(n, 256)) for n in shape)
    array[corner] = np.random.default_rng(0).integers(0, 255, [min(n, 256) for n in shape])
    served = Served(folder)
    try:
        before = served.megabytes()
        page = browser.new_page(viewport={"width": 1280, "height": 720})
        page.set_default_timeout(300_000)
        tiles: list[str] = []
        page.on(
            "request", lambda request: tiles.append(request.url) if "/tile" in request.url else 0
        )
        begin = time.perf_counter()
        page.goto(served.address)
        page.wait_for_function("() => document.querySelector('#canvas').dataset.image")
        opened = time.perf_counter() - begin
        area = page.get_by_test_id("canvas").bounding_box()
        middle = (area["x"] + area["width"] / 2, area["y"] + area["height"] / 2)
        page.mouse.move(*middle)
        for _ in range(12):
            page.mouse.wheel(0, -800)
            page.wait_for_timeout(100)
        page.get_by_test_id("tool-pan").click()
        for _ in range(6):
            page.mouse.move(*middle)
            page.mouse.down()
            page.mouse.move(middle[0] - 300, middle[1] - 200, steps=5)
            page.mouse.up()
            page.wait_for_timeout(100)
        page.wait_for_function("() => document.querySelector('#canvas').dataset.drawn === 'all'")
        page.close()
        return {"shape": shape, "open_s": opened, "tiles_asked_for": len(tiles),
                "server_mb_before": before, "server_mb_after": served.megabytes(),
                "server_cpu_s": served.cpu()}  # fmt: skip
    finally:
        served.end()


def main() -> None:
    """Measure what is asked for, and write it."""
    from playwright.sync_api import sync_playwright

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    out: Path = parser.parse_args().out
    chromium = shutil.which("chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        results: dict[str, Any] = {
            "page": "serve.md",
            "cores": os.cpu_count(),
            "load": os.getloadavg(),
        }
        cases = {
            "many": many_images,
            "strokes": strokes,
            "slide": lambda b, f: huge(b, f, (50_000, 50_000)),
            "volume": lambda b, f: huge(b, f, (1024, 1024, 1024)),
        }
        for name, measure in cases.items():
            with tempfile.TemporaryDirectory() as folder:
                results[name] = measure(browser, Path(folder))
            print(name, json.dumps(results[name]))
            out.write_text(json.dumps(results, indent=1) + "\n")
        browser.close()


if __name__ == "__main__":
    main()
