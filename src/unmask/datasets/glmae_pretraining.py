"""The CT scans that GL-MAE is pre-trained on: BTCV and TCIA Covid-19, and LUNA16 if it is there."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from unmask.datasets import btcv, luna16, tcia_covid19
from unmask.datasets.combined import gather_sets
from unmask.datasets.dataset import DataSet, Item
from unmask.datasets.files import list_files, match_files
from unmask.datasets.volumes import case_item, divide, find_cases, hold_out
from unmask.errors import raise_problems

_BTCV, _LUNA = 24, 888


def find(
    archive: Path, *, drop: Path | None = None, luna: bool | None = None, copy: bool = False
) -> list[Item]:
    """List the scans of all sets, as one part for training without labels.

    Args:
        archive: folder with the archives of all sets.
        drop: file with scans of TCIA to leave out, one per line: GL-MAE is trained on 722 of 771.
        luna: take LUNA16; None: if it is in the archive. The table of the paper has 746 scans
            without it, its program lists it.
        copy: copy volumes instead of linking them.

    Raises:
        DataError: a set that is missing or wrong; all at once.
    """
    members: list[tuple[DataSet, dict[str, Any]]] = [
        (replace(btcv.SET, find=_find_btcv), {"copy": copy}),
        (tcia_covid19.SET, {"drop": drop, "copy": copy}),
    ]
    if luna or (luna is None and match_files(list_files(archive), r"subset\d+/[^/]+\.mhd")):
        members.append((luna16.SET, {}))
    found, problems = gather_sets(archive, members, what="glmae_pretraining")
    raise_problems(problems)
    return [replace(item, name=f"{member.name}_{item.name}") for member, item in found]


def _find_btcv(archive: Path, *, copy: bool) -> list[Item]:
    """List the cases for training of fold 0, without their labels."""
    layout = btcv.LAYOUT
    cases = find_cases(archive, layout)
    held_out = hold_out(cases, 0, layout.folds, backwards=layout.backwards)
    return [
        case_item(part, replace(case, labels=None), copy=copy)
        for part, case in divide(cases, held_out)
        if part == "train"
    ]


SET = DataSet(
    name="glmae_pretraining",
    title="CT scans of GL-MAE's pre-training: BTCV, TCIA Covid-19, LUNA16",
    license="those of btcv, tcia_covid19 and luna16",
    citation="doi:10.1109/TMI.2025.3569782",
    source="the sources of btcv, tcia_covid19 and luna16",
    archive="the archives of BTCV and TCIA Covid-19, optionally of LUNA16",
    find=find,
    counts={"train": tuple(_BTCV + ct + luna for ct in (722, 771) for luna in (0, _LUNA))},
    preset="glmae",
    verb="pretrain",
    notes="Of BTCV the 24 cases for training of fold 0 are taken (img0035 to img0040 are not).",
)
