"""MitoEM: mitochondria in electron microscopy of rat and human cortex."""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path

import numpy as np

from unmask.datasets.dataset import DataSet, Item
from unmask.datasets.files import expect_some, list_files, match_files, missing
from unmask.datasets.samples import Sample, sample_item
from unmask.datasets.stored import slices_volume
from unmask.errors import message, raise_problems

_NANOMETERS = (30.0, 8.0, 8.0)


def find(archive: Path) -> list[Item]:
    """List the parts of the volumes R (rat) and H (human), each a stack of slices.

    Raises:
        DataError: no slices, or labels without their slices; all at once.
    """
    files = list_files(archive)
    slices: dict[str, dict[int, Path]] = {}
    for path, match in match_files(files, r"im(\d{4})\.(?:png|tif)").items():
        slices.setdefault(_volume(path), {})[int(match[1])] = path
    expect_some(slices, archive, "slices im0000.png of EM30-R-im.zip or EM30-H-im.zip")
    labels: dict[tuple[str, str], dict[int, Path]] = {}
    pattern = r"mito-(train|val)[^/]*/seg(\d{4})\.(?:tif|png)"
    for path, match in match_files(files, pattern).items():
        labels.setdefault((_volume(path), match[1].lower()), {})[int(match[2])] = path
    if not labels:
        raise_problems(
            [
                message(
                    archive,
                    expected="labels mito-train-v2/seg0000.tif and mito-val-v2/seg0400.tif",
                    found="none",
                    do="Give EM30-R-mito-train-val-v2.zip (or that of H) as well.",
                )
            ]
        )
    items: list[Item] = []
    problems: list[str] = []
    for (volume, part), members in sorted(labels.items(), key=lambda pair: pair[0][::-1]):
        own = slices.get(volume, {})
        absent = [number for number in sorted(members) if number not in own]
        if absent:
            wanted = Path(f"im{absent[0]:04}.png")
            problems.append(missing(wanted, f"{len(absent)} slices, such as", members[absent[0]]))
            continue
        numbers = sorted(members)
        read = partial(_read, [own[each] for each in numbers], [members[each] for each in numbers])
        items.append(sample_item(part, volume, read))
    raise_problems(problems)
    return sorted(items, key=lambda item: item.part) + _tests(slices, labels)


def _tests(
    slices: dict[str, dict[int, Path]], labels: dict[tuple[str, str], dict[int, Path]]
) -> list[Item]:
    """Slices after those with labels."""
    items = []
    for volume, own in slices.items():
        last = max((max(labels[key]) for key in labels if key[0] == volume), default=-1)
        rest = [own[number] for number in sorted(own) if number > last]
        if rest:
            items.append(sample_item("test", volume, partial(_read, rest, [])))
    return items


def _volume(path: Path) -> str:
    """R or H, which stands in the name of the archive; R if no name says it."""
    found = re.findall(
        r"(?:EM30|MitoEM)-?([RH])(?![a-z])", path.absolute().as_posix(), re.IGNORECASE
    )
    return found[-1].upper() if found else "R"


def _read(slices: list[Path], labels: list[Path]) -> Sample:
    given = {"spacing": _NANOMETERS, "unit": "nm"}
    image = slices_volume(slices, **given, dtype=np.dtype(np.uint8))
    ids = slices_volume(labels, **given, dtype=np.dtype(np.uint32)) if labels else None
    return Sample(image, ids)


SET = DataSet(
    name="mitoem",
    title="Electron microscopy of rat and human cortex, mitochondria (MitoEM)",
    license="terms of the challenge",
    citation="doi:10.1007/978-3-030-59722-1_7",
    source="https://mitoem.grand-challenge.org/",
    archive="EM30-R-im.zip, EM30-R-mito-train-val-v2.zip, and those of H; one volume is enough",
    find=find,
    counts={"train": (1, 2), "val": (1, 2), "test": (0, 1, 2)},
    sizes=((400, 4096, 4096), (100, 4096, 4096), (500, 4096, 4096)),
    notes="Slices 0 to 399 are for training, 400 to 499 for validation, 500 to 999 the test. If "
    "both volumes are given as folders, their paths must hold EM30-R and EM30-H.",
)
