import pytest

from unmask.atomic import atomic_path, atomic_write
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


def test_an_impossible_place_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(SaveError, match="could not be written"):
        atomic_write(tmp_path / "file" / "a.json", "x")
