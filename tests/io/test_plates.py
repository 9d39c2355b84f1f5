"""Plates, wells and files of several series: one image per field, each with a name of its own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import zarr

from unmask.data.pairs import Layout, open_pairs
from unmask.errors import DataError
from unmask.io import list_files, open_image, output_name
from unmask.io.paths import named_files

AXES = [{"name": a, "type": "space"} for a in "yx"]


def image(path: Path, value: int, version: Any = 2) -> None:
    group = zarr.open_group(path, mode="a", zarr_format=version)
    tree = {"multiscales": [{"version": "0.4", "axes": AXES, "datasets": [{"path": "0"}]}]}
    group.attrs.update(tree if version == 2 else {"ome": tree})
    array: Any = group.create_array("0", shape=(9, 10), dtype="u1", chunks=(9, 10))
    array[...] = value


def plate(path: Path, version: Any = 2) -> Path:
    """Wells A/1 with two fields and B/10 with one, labeled."""

    def group(folder: Path, **attributes: Any) -> None:
        found = zarr.open_group(folder, mode="a", zarr_format=version)
        found.attrs.update(attributes if version == 2 else {"ome": attributes})

    group(path, plate={"wells": [{"path": "A/1"}, {"path": "B/10"}]})
    for number, (well, fields) in enumerate({"A/1": 2, "B/10": 1}.items()):
        group(path / well, well={"images": [{"path": str(field)} for field in range(fields)]})
        for field in range(fields):
            image(path / well / str(field), 10 * number + field, version)
            image(path / well / str(field) / "labels" / "nuclei", 1, version)
    return path


NAMES = ["p_A_1_0", "p_A_1_1", "p_B_10_0"]


@pytest.mark.parametrize("version", [2, 3])
def test_a_plate_is_its_fields(tmp_path: Path, version: int) -> None:
    path = plate(tmp_path / "p.zarr", version)
    for given in (path, tmp_path, f"{path}/*/*/*", f"{path}/**", f"{tmp_path}/*.zarr/[AB]/*/*"):
        found = named_files(given)
        assert [name for name, _ in found] == NAMES, given
        values = [int(open_image(file, ndim=2).read().max()) for _, file in found]
        assert values == [0, 1, 10]
    assert list_files(path / "A" / "1") == [f"{path}/A/1/0", f"{path}/A/1/1"]
    assert [name for name, _ in named_files(path / "B" / "10")] == ["p_B_10_0"]
    images = [open_image(file) for file in list_files(path)]
    assert len({output_name(each, tmp_path) for each in images}) == 3


def test_labels_of_fields_pair_with_them(tmp_path: Path) -> None:
    path = plate(tmp_path / "p.zarr")
    pairs = open_pairs(path, f"{path}/*/*/*/labels/nuclei", Layout(2))
    assert [pair.name for pair in pairs] == NAMES
    assert [pair.image.name for pair in pairs] == NAMES


def test_a_plate_is_not_one_image(tmp_path: Path) -> None:
    path = plate(tmp_path / "p.zarr")
    with pytest.raises(DataError, match=r"a collection of 3: .*p\.zarr/A/1/0"):
        open_image(path)
    with pytest.raises(DataError, match="a collection of 2"):
        open_image(path / "A" / "1")
    assert open_image(path / "B" / "10", ndim=2).read().max() == 10


@pytest.mark.parametrize("wells", [[{"path": "A/2"}], [], [3], "x", None, [{"path": "../q"}]])
def test_damaged_plates_are_named(tmp_path: Path, wells: Any) -> None:
    path = plate(tmp_path / "p.zarr")
    zarr.open_group(path).attrs["plate"] = {"wells": wells}
    with pytest.raises(DataError, match=r"p\.zarr"):
        open_pairs(path, None, Layout(2))


def test_series_of_one_file(tmp_path: Path) -> None:
    path = tmp_path / "scan.zarr"
    zarr.open_group(path, mode="w", zarr_format=2).attrs["bioformats2raw.layout"] = 3
    image(path / "0", 5)
    assert named_files(path) == [("scan", str(path))]
    assert named_files(path / "0") == [("scan", str(path / "0"))]
    assert open_image(path, ndim=2).read().max() == 5
    image(path / "1", 6)
    assert [name for name, _ in named_files(path)] == ["scan_0", "scan_1"]
    with pytest.raises(DataError, match=r"collection of 2: .*scan\.zarr/0, .*scan\.zarr/1"):
        open_image(path)


def test_globs_leave_out_groups_and_levels(tmp_path: Path) -> None:
    root = zarr.open_group(tmp_path / "a.zarr", mode="w")
    for name in ("x/raw", "y/raw"):
        array: Any = root.create_array(name, shape=(9, 10), dtype="u1")
        array[...] = 1
    image(tmp_path / "a.zarr" / "z", 1, 3)
    found = [Path(file).relative_to(tmp_path).as_posix() for file in list_files(
        f"{tmp_path}/a.zarr/**"
    )]  # fmt: skip
    assert sorted(found) == ["a.zarr/x/raw", "a.zarr/y/raw", "a.zarr/z"]
    with pytest.raises(DataError, match="no image that matches"):
        list_files(f"{tmp_path}/a.zarr/q*")
