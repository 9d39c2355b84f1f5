"""Pictures of phantoms for docs/phantoms, next to real images where a data set is at hand.

Writes docs/images/phantoms/<family>.jpg: a row of phantoms and a row with the borders of their
objects. Real images come from the folder in UNMASK_DATA (training images only). Those of data sets
in the public domain, or under CC BY, become a third row; sheets with all others go to the folder
``--sheets``, which is for looking at and not for the repository.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Picture
from skimage.segmentation import find_boundaries

from unmask.io import list_files, open_image
from unmask.phantoms import FAMILIES, Phantom, draw_one

TARGET = Path(__file__).resolve().parents[1] / "docs" / "images" / "phantoms"
SIDE, COLUMNS = 160, 6
# Families by the data set they are compared with, and how many pixels of it a tile shows.
REAL = {
    "nuclei": ("dsb2018_nuclei", 256),
    "stained_tissue": ("dsb2018_nuclei", 256),
    "crowded_nuclei": ("germline_nuclei", 200),
    "deep_nuclei": ("plant_nuclei_3d_mini", 100),
    "phase_contrast": ("usiigaci_phase", 320),
    "bacteria": ("bacteria_dapi", 200),
    "worms": ("worms_bbbc010", 400),
    "neurons": ("neuron_fluo", 500),
    "em_tissue": ("isbi2012_em", 320),
    "neurites": ("fib25_em3d", 200),
    "mitochondria": ("mito_sbem_nc", 256),
    "axons": ("axon_sem", 400),
    "precipitates": ("superalloy_sem", 400),
    "organs_mr": ("cardiac_cine_mri", 256),
    "organs_ct": ("totalseg_mini", 110),
}
# Public domain, or CC BY with the citation on the page: these may be shown.
SHOWN = {"dsb2018_nuclei", "worms_bbbc010", "fib25_em3d"}
COLOR = {"stained_tissue"}
VOLUMES = {"deep_nuclei", "neurites", "mitochondria"}


def to_rgb(image: NDArray[np.generic]) -> NDArray[np.uint8]:
    """``(C, y, x)`` of any type as ``(y, x, 3)`` bytes; Hounsfield units in a soft window."""
    values = image.astype(np.float32)
    if image.dtype == np.int16:
        values = np.clip((values + 200) / 600, 0, 1) * 255
    elif image.dtype != np.uint8:
        low, high = np.percentile(values, [0.5, 99.5])
        values = np.clip((values - low) / max(high - low, 1e-6), 0, 1) * 255
    planes = [values[min(c, len(values) - 1)] for c in range(3)]
    return np.stack(planes, axis=-1).astype(np.uint8)


def tile(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A square picture of ``SIDE`` pixels."""
    picture = Picture.fromarray(pixels)
    return np.asarray(picture.resize((SIDE, SIDE), Picture.Resampling.LANCZOS))


def phantom_tiles(name: str) -> tuple[list[NDArray[np.uint8]], list[NDArray[np.uint8]]]:
    """Pictures of phantoms, and the same with yellow borders."""
    shape = (8, SIDE, SIDE) if name in VOLUMES else (SIDE, SIDE)
    plain, outlined = [], []
    for index in range(COLUMNS):
        sample: Phantom = draw_one(name, shape, seed=20, index=index)
        middle = (0,) if name in VOLUMES else ()
        labels = sample.labels[middle]
        pixels = to_rgb(sample.image[(slice(None), *middle)])
        plain.append(pixels)
        marked = pixels.copy()
        marked[find_boundaries(labels, mode="inner")] = (255, 220, 0)
        outlined.append(marked)
    return plain, outlined


def real_tiles(data: Path, name: str) -> list[NDArray[np.uint8]]:
    """Cut-outs of training images, those with most contrast of a few random ones."""
    folder, size = REAL[name]
    files = list_files(data / folder / "train" / "images")
    rng = np.random.default_rng(1)
    tiles: list[NDArray[np.uint8]] = []
    for at in rng.permutation(10 * len(files)):
        if len(tiles) == COLUMNS:
            break
        array = open_image(files[at % len(files)]).read()
        while array.ndim > 3:
            array = array[:, int(rng.integers(array.shape[1]))]
        color = len(array) >= 3 and float(np.ptp(array[:3].astype(float), axis=0).mean()) > 4
        if folder == "dsb2018_nuclei" and color != (name in COLOR):
            continue
        corner = [int(rng.integers(max(1, n - size + 1))) for n in array.shape[1:]]
        cut = array[:, corner[0] : corner[0] + size, corner[1] : corner[1] + size]
        if cut.astype(float).std() > 2:
            tiles.append(tile(to_rgb(cut)))
    return tiles


def sheet(rows: Sequence[Sequence[NDArray[np.uint8]]]) -> Picture.Image:
    """Rows of tiles with white gaps."""
    step = SIDE + 4
    canvas = np.full((step * len(rows) - 4, step * COLUMNS - 4, 3), 255, np.uint8)
    for y, row in enumerate(rows):
        for x, pixels in enumerate(row):
            canvas[y * step : y * step + SIDE, x * step : x * step + SIDE] = pixels
    return Picture.fromarray(canvas)


def main() -> None:
    """Write all pictures."""
    options = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    options.add_argument("--sheets", type=Path, help="folder for sheets with all real images")
    options.add_argument("--family", action="append", help="only this one")
    given = options.parse_args()
    data = Path(os.environ.get("UNMASK_DATA", "../shared/data"))
    TARGET.mkdir(parents=True, exist_ok=True)
    for name in given.family or FAMILIES:
        plain, outlined = phantom_tiles(name)
        rows = [plain, outlined]
        known = name in REAL and (data / REAL[name][0]).is_dir()
        real = real_tiles(data, name) if known else []
        shown = [*rows, real] if known and REAL[name][0] in SHOWN else rows
        sheet(shown).save(TARGET / f"{name}.jpg", quality=82, optimize=True)
        if given.sheets is not None:
            given.sheets.mkdir(parents=True, exist_ok=True)
            sheet([*rows, real]).save(given.sheets / f"{name}.png")
        print(name)


if __name__ == "__main__":
    main()
