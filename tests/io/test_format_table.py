"""The table of formats: what a path tells before a file is read, and formats of others."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import EntryPoint, EntryPoints
from pathlib import Path

import numpy as np
import pytest

from unmask import parts
from unmask.io import added, list_files, open_image, save_image
from unmask.io.contract import Content, Format, Location, Stored
from unmask.io.formats import FORMATS, find_format, is_container, is_folder, match_suffix
from unmask.io.paths import locate, stem


@pytest.mark.parametrize("suffix", FORMATS)
def test_a_path_tells_what_its_format_says(suffix):
    form = find_format(suffix)
    assert is_container(f"a{suffix}") == form.container
    assert is_folder(f"a{suffix}") == form.folder
    assert match_suffix(f"folder/A{suffix.upper()}") == suffix


def test_reading_a_png_imports_no_other_format(tmp_path):
    save_image(tmp_path / "a.png", np.zeros((3, 4), np.uint8))
    program = (
        "import sys; from unmask.io import open_image, list_files; "
        "open_image(list_files('.')[0]).read(); "
        "print(*{'zarr', 'h5py', 'nibabel', 'pydicom', 'tifffile'} & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == []


def _open(location: Location, *, level: int = 0, labels: bool = False) -> Stored:
    values = np.frombuffer(location.path.read_bytes(), np.uint8).reshape(2, -1)
    return Stored(values.shape, values.dtype, "YX", lambda index: values[index].copy())


def _save(location: Location, content: Content) -> None:
    location.path.write_bytes(content.array.tobytes())


TWO_ROWS = Format("two rows", _open, _save, family=".rows", suffixes=(".rows",))
BOX = Format("box of rows", _open, _save, family=".rows", container=True, suffixes=(".box",))


@pytest.fixture
def installed(monkeypatch):
    """``installed({"rows": "TWO_ROWS"})``: objects of this file as another distribution's."""

    def install(entries: dict[str, str]) -> None:
        found = [
            EntryPoint(name, f"{__name__}:{it}", "unmask.formats") for name, it in entries.items()
        ]
        monkeypatch.setitem(sys.modules, __name__, sys.modules.get(__name__) or _this_module())
        monkeypatch.setattr(parts, "entry_points", lambda **by: EntryPoints(found).select(**by))
        added.installed_formats.cache_clear()

    yield install
    monkeypatch.undo()
    added.installed_formats.cache_clear()


def _this_module():
    module = type(sys)(__name__)
    module.__dict__.update(globals())
    return module


def test_an_installed_format_is_read_written_listed_and_named(installed, tmp_path):
    installed({"rows": "TWO_ROWS"})
    values = np.arange(8, dtype=np.uint8).reshape(2, 4)
    save_image(tmp_path / "a.rows", values)
    (tmp_path / "notes.txt").write_text("no image")
    assert [Path(file).name for file in list_files(tmp_path)] == ["a.rows"]
    assert stem(tmp_path / "a.rows") == "a"
    np.testing.assert_array_equal(open_image(tmp_path / "a.rows", ndim=2).read()[0], values)


def test_an_installed_container_takes_keys(installed):
    installed({"box": "BOX"})
    assert locate("x.box:inner/a").key == "inner/a"
    assert locate("x.tif:1").key == "1"
