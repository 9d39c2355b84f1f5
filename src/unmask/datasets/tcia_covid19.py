"""CT Images in COVID-19 of The Cancer Imaging Archive, for pre-training."""

from __future__ import annotations

from pathlib import Path

from unmask.datasets.dataset import DataSet, Item
from unmask.datasets.files import expect_some, list_files, match_files
from unmask.datasets.lists import read_names
from unmask.datasets.volumes import Case, case_item


def find(archive: Path, *, drop: Path | None = None, copy: bool = False) -> list[Item]:
    """List the scans; they are linked or copied.

    Args:
        archive: the unpacked archive, or a folder above it.
        drop: file with scans to leave out, one per line: GL-MAE is trained on 722 of 771.
        copy: copy volumes instead of linking them.

    Raises:
        DataError: no scans, or names in ``drop`` that do not exist.
    """
    pattern = r"(volume-covid19-A-\d+(?:_day\d+)?)\.nii(?:\.gz)?"
    found = {match[1]: path for path, match in match_files(list_files(archive), pattern).items()}
    expect_some(found, archive, "scans volume-covid19-A-NNNN.nii.gz")
    dropped = set() if drop is None else read_names(drop, known=list(found))
    return [
        case_item("train", Case(name, name, path, None), copy=copy)
        for name, path in found.items()
        if name not in dropped
    ]


SET = DataSet(
    name="tcia_covid19",
    title="CT of the chest of patients with COVID-19, without labels (TCIA)",
    license="CC BY 4.0 (not confirmed)",
    citation="doi:10.7937/TCIA.2020.GQRY-NC81",
    source="https://www.cancerimagingarchive.net/collection/ct-images-in-covid-19/",
    archive="volume-covid19-A-NNNN.nii.gz, volume-covid19-A-NNNN_dayNNN.nii.gz",
    find=find,
    counts={"train": (771, 722)},
    preset="glmae",
    verb="pretrain",
)
