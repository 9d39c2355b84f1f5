"""OmniPose: bacteria in phase contrast and fluorescence; the worms are left out."""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path

from unmask.datasets.dataset import DataSet, Item
from unmask.datasets.files import expect_some, list_files, match_files, missing
from unmask.datasets.samples import Sample, read_image, read_labels, sample_item
from unmask.errors import raise_problems

_BACTERIA = r"bact_(?:phase|fluor)/(?:train|test)_sorted/.+"
_WORMS = r"worm(?:_high_res)?/(?:train|test)/.+"
_PATH = re.compile(
    r"(?P<kind>bact_phase|bact_fluor|worm|worm_high_res)/(?P<part>train|test)(?:_sorted)?/"
    r"(?P<rest>.+)\.(?:tif|tiff|png)$",
    re.IGNORECASE,
)


def find(archive: Path, *, worms: bool = False) -> list[Item]:
    """List the images, which lie next to their masks ``*_masks.tif``.

    Args:
        archive: the unpacked archive, with ``bact_phase`` and ``bact_fluor``.
        worms: take the images of worms too; MEDIAR leaves them out.

    Raises:
        DataError: no images, or images without masks.
    """
    kinds = f"(?:{_BACTERIA}|{_WORMS})" if worms else _BACTERIA
    files = [*match_files(list_files(archive), rf"{kinds}\.(?:tif|tiff|png)")]
    images = [path for path in files if not path.stem.endswith(("_masks", "_flows"))]
    expect_some(images, archive, "images below bact_phase/train_sorted and bact_fluor/train_sorted")
    known = {path.with_suffix(""): path for path in files}
    items, problems = [], []
    for path in images:
        masks = known.get(path.with_name(f"{path.stem}_masks"))
        if masks is None:
            problems.append(missing(path.with_name(f"{path.stem}_masks.tif"), "the masks", path))
            continue
        for found in _PATH.finditer(path.as_posix()):
            name = re.sub(r"[^\w.-]+", "_", f"{found['kind']}_{found['rest']}")
            items.append(sample_item(found["part"].lower(), name, partial(_read, path, masks)))
    raise_problems(problems)
    return items


def _read(path: Path, masks: Path) -> Sample:
    return Sample(read_image(path)[:3], read_labels(masks))


SET = DataSet(
    name="omnipose",
    title="Bacteria in phase contrast and fluorescence (OmniPose)",
    license="terms of the source",
    citation="doi:10.1038/s41592-022-01639-4",
    source="https://osf.io/xmury/",
    archive="datasets.zip: {bact_phase,bact_fluor}/{train,test}_sorted/SPECIES/*.tif, *_masks.tif",
    find=find,
    counts={"train+test": (611,)},
    preset="cells",
)
