import os

import pytest

from unmask.atomic import aside_name, atomic_path, atomic_write, fit_name, replace_folder
from unmask.errors import SaveError


def test_a_file_is_replaced_whole(tmp_path):
    path = tmp_path / "new" / "a.json"
    atomic_write(path, "old")
    atomic_write(path, b"new")
    assert path.read_text() == "new"
    assert [p.name for p in path.parent.iterdir()] == ["a.json"]


def test_a_failure_leaves_the_older_file(tmp_path):
    path = tmp_path / "a.tif"
    atomic_write(path, "old")

    def fail():
        with atomic_path(path) as aside:
            assert aside.suffix == ".tif"
            aside.write_text("half")
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        fail()
    assert path.read_text() == "old"
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("name", ["a" * 255, "a" * 251 + ".tif", "é" * 127, "b" * 100 + ".c" * 77])
def test_every_name_that_a_file_can_have_can_be_written(tmp_path, name):
    atomic_write(tmp_path / name, "old")
    atomic_write(tmp_path / name, "new")
    assert (tmp_path / name).read_text() == "new"
    (tmp_path / "folder" / name).mkdir(parents=True)
    replace_folder(tmp_path / "folder" / name, tmp_path / name[:-1])
    assert {path.name for path in tmp_path.iterdir()} == {"folder", name, name[:-1]}


def test_long_names_that_end_differently_stay_apart(tmp_path):
    names = [tmp_path / f"{'a' * 240}{number}.tif" for number in range(2)]
    assert len({aside_name(name) for name in names}) == 2
    assert len({fit_name("é" * 127 + end, ".ome.zarr") for end in "xy"}) == 2
    assert len(os.fsencode(fit_name("é" * 127, ".ome.zarr"))) <= 255
    assert fit_name("a" * 246, ".ome.zarr") == "a" * 246 + ".ome.zarr"
    with pytest.raises(SaveError, match="Shorten the name"):
        atomic_write(tmp_path / ("a" * 256), "x")


def test_a_file_in_place_of_the_folder_is_named(tmp_path):
    (tmp_path / "out").write_text("a file")
    for path in (tmp_path / "out" / "a.json", tmp_path / "out" / "b" / "a.json"):
        with pytest.raises(SaveError, match=r"expected a folder to write into, found .*out, which"):
            atomic_write(path, "{}")
    with pytest.raises(SaveError, match="expected the name of a file to write, found a folder"):
        atomic_write(tmp_path, "{}")
