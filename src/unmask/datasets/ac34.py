"""AC3 and AC4: electron microscopy of mouse cortex, the published slices of both volumes."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from unmask.datasets.dataset import DataSet, Item
from unmask.datasets.files import list_files, match_files
from unmask.datasets.samples import Sample, sample_item
from unmask.datasets.stored import hdf5_volume
from unmask.errors import message, raise_problems

_NANOMETERS = (30.0, 6.0, 6.0)
# Volume, first and last slice of each part; None counts as the end.
_PARTS = {"train": ("AC4", 0, 80), "val": ("AC4", -20, None), "test": ("AC3", -100, None)}


def find(archive: Path) -> list[Item]:
    """List the parts of Pixel-Embedded Affinity (doi:10.1609/aaai.v36i1.19984).

    Raises:
        DataError: volumes that are missing; all at once.
    """
    found = match_files(list_files(archive), r"(AC[34])_(inputs|labels)\.h5")
    paths = {(match[1].upper(), match[2].lower()): path for path, match in found.items()}
    absent = [
        f"{volume}_{kind}.h5"
        for volume in ("AC3", "AC4")
        for kind in ("inputs", "labels")
        if (volume, kind) not in paths
    ]
    raise_problems(
        [
            message(
                archive,
                expected=name,
                found="none",
                do="Put the four files of AC3 and AC4 into one folder, or give all four.",
            )
            for name in absent
        ]
    )
    return [
        sample_item(
            part,
            f"{volume}_{part}",
            partial(_read, paths[volume, "inputs"], paths[volume, "labels"], (first, last)),
        )
        for part, (volume, first, last) in _PARTS.items()
    ]


def _read(inputs: Path, labels: Path, slices: tuple[int, int | None]) -> Sample:
    """Open the published slices of a volume, with voxels of 6 x 6 x 30 nm."""
    image, ids = (
        hdf5_volume(path, "main", slices=slices, spacing=_NANOMETERS, unit="nm")
        for path in (inputs, labels)
    )
    return Sample(image, ids)


SET = DataSet(
    name="ac34",
    title="Electron microscopy of mouse cortex, all neurites",
    license="terms of the source",
    citation="doi:10.1016/j.cell.2015.06.054",
    source="Kasthuri et al. 2015, volumes AC3 and AC4",
    archive="AC3_inputs.h5, AC3_labels.h5, AC4_inputs.h5, AC4_labels.h5, data set main",
    find=find,
    counts={"train": (1,), "val": (1,), "test": (1,)},
    sizes=((80, 1024, 1024), (20, 1024, 1024), (100, 1024, 1024)),
    preset="pea_ac34",
    notes="Training takes slices 0 to 79 of AC4, validation its last 20, the test the last 100 of "
    "AC3, as Pixel-Embedded Affinity does; other works take the first 100.",
)
