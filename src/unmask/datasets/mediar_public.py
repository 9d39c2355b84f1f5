"""The public images that MEDIAR is pre-trained on: four sets in one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from unmask.datasets import cellpose, dsb2018, livecell, omnipose
from unmask.datasets.combined import gather_sets
from unmask.datasets.dataset import DataSet, Item
from unmask.errors import raise_problems

# Images of OmniPose, LIVECell and the Data Science Bowl in MEDIAR's own list, without Cellpose.
_OTHERS = 611 + 5239 + 841
# Cellpose has 608 images; MEDIAR has 551 of them, and says that it leaves out 58. LIVECell's JSON
# lists 5387 images, its publication 5239.
_COUNTS = tuple(_OTHERS + cells + more for more in (0, 5387 - 5239) for cells in (551, 608, 550))


def find(archive: Path, *, drop: Path | None = None) -> list[Item]:
    """List all images of the four sets, tests included, as one part for training.

    Args:
        archive: folder with the archives of all four.
        drop: file with images of Cellpose to leave out, such as train/539, one per line.

    Raises:
        DataError: a set that is missing or wrong; all at once.
    """
    members = [
        (omnipose.SET, {}),
        (cellpose.SET, {"gray": True, "drop": drop}),
        (livecell.SET, {}),
        (dsb2018.SET, {}),
    ]
    found, problems = gather_sets(archive, members, what="mediar_public")
    raise_problems(problems)
    return [
        replace(item, part="train", name=f"{member.name}_{item.part}_{item.name}")
        for member, item in found
    ]


SET = DataSet(
    name="mediar_public",
    title="Public images of MEDIAR's pre-training: OmniPose, Cellpose, LIVECell, DSB 2018",
    license="those of the four sets; Cellpose and LIVECell exclude commercial use",
    citation="arXiv:2212.03465",
    source="the sources of omnipose, cellpose, livecell and dsb2018",
    archive="the archives of all four sets",
    find=find,
    counts={"train": _COUNTS},
    preset="mediar_pretrain_public",
    notes="MEDIAR leaves out 58 photographs of Cellpose that are not microscopy; their names are "
    "not published. `--set drop=FILE` leaves out those of a list.",
)
