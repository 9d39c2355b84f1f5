"""The table of data sets, archives as files, and the verb ``prepare``."""

from __future__ import annotations

import json
import tarfile
import zipfile

import nibabel
import numpy as np
import pytest

from unmask.datasets import NAMES, archives, find_set, prepare, set_options
from unmask.errors import DataError, RecipeError
from unmask.recipe import presets


@pytest.mark.parametrize("name", NAMES)
def test_every_set_describes_itself(name):
    chosen = find_set(name)
    assert chosen.name == name
    for text in (chosen.title, chosen.license, chosen.source, chosen.archive):
        assert text
    assert chosen.citation.startswith(("doi:10.", "arXiv:"))
    assert chosen.preset is None or chosen.preset in presets()
    assert "partial" in set_options(chosen)
    assert all(isinstance(numbers, tuple) for numbers in chosen.counts.values())


@pytest.fixture
def spleen(tmp_path):
    """A tiny archive, as a folder."""
    folder = tmp_path / "Task09_Spleen"
    for number in range(10):
        for kind in ("imagesTr", "labelsTr"):
            path = folder / kind / f"spleen_{number}.nii.gz"
            path.parent.mkdir(parents=True, exist_ok=True)
            volume = np.full((3, 4, 5), number, np.int16)
            nibabel.save(nibabel.Nifti1Image(volume, np.eye(4)), path)
    return folder


def packed(folder, kind):
    path = folder.with_suffix(f".{kind}")
    if kind == "zip":
        with zipfile.ZipFile(path, "w") as archive:
            for file in folder.rglob("*.gz"):
                archive.write(file, file.relative_to(folder.parent))
    else:
        with tarfile.open(path, "w:gz" if kind == "tar.gz" else "w") as archive:
            archive.add(folder, folder.name)
    return path


@pytest.mark.parametrize("kind", ["folder", "zip", "tar", "tar.gz", "two folders"])
def test_archives_of_every_kind(kind, spleen, tmp_path):
    given = [spleen] if kind == "folder" else [spleen / "imagesTr", spleen / "labelsTr"]
    if kind.startswith(("zip", "tar")):
        given = [packed(spleen, kind)]
    out = tmp_path / "out"
    assert prepare("spleen", given, out=out, settings=["fold=1", "partial=true"]).counts == {
        "train": 8,
        "val": 2,
    }
    files = sorted((out / "val" / "images").iterdir())
    assert [path.name for path in files] == ["spleen_2.nii.gz", "spleen_3.nii.gz"]
    assert all(path.is_symlink() == (kind == "folder") for path in files)
    assert np.asarray(nibabel.load(files[0]).dataobj).mean() == 2
    assert sorted(path.name for path in out.iterdir()) == ["README.md", "train", "val"]


def test_wrong_archives(tmp_path, spleen):
    text = tmp_path / "readme.pdf"
    text.write_text("hello")
    for path, found in ((text, "another kind"), (tmp_path / "none.zip", "nothing")):
        with pytest.raises(DataError, match=found):
            prepare("spleen", [path], out=tmp_path / "out")
    damaged = packed(spleen, "tar.gz")
    damaged.write_bytes(damaged.read_bytes()[:-200])
    with pytest.raises(DataError, match="Download it again"):
        prepare("spleen", [damaged], out=tmp_path / "out")
    assert not (tmp_path / "out" / "train").exists()


def test_nothing_is_unpacked_outside(tmp_path):
    outside = tmp_path / "outside.tar"
    with tarfile.open(outside, "w") as archive:
        archive.add(__file__, "../escaped.py")
    with (
        pytest.raises(DataError, match=r"outside\.tar"),
        archives.unpack_archives([outside], tmp_path / "a" / "b"),
    ):
        pass
    assert not list(tmp_path.rglob("escaped.py"))


def test_wrong_names_and_options(tmp_path):
    with pytest.raises(RecipeError, match="Did you mean 'spleen'"):
        prepare("spleeen", [tmp_path], out=tmp_path / "out")
    with pytest.raises(RecipeError, match="Did you mean 'fold'"):
        prepare("spleen", [tmp_path], out=tmp_path / "out", settings=["fould=1"])
    with pytest.raises(RecipeError, match="option fold"):
        prepare("spleen", [tmp_path], out=tmp_path / "out", settings=["fold=first"])
    with pytest.raises(RecipeError, match="of ac34 \\(partial\\)"):
        prepare("ac34", [tmp_path], out=tmp_path / "out", settings=["fold=1"])


def test_the_verb(command, spleen, tmp_path):
    listed = command("prepare")
    assert listed.code == 0
    assert [line.split()[0] for line in listed.out.splitlines()] == list(NAMES)
    details = command("prepare", "spleen").out
    assert "CC BY-SA 4.0" in details
    assert "fold=0" in details
    assert "--out" in command("prepare", "spleen", spleen).err
    out = tmp_path / "out"
    answer = command("prepare", "spleen", spleen, "--out", out, "--set", "partial=true", "--json")
    assert answer.code == 0, answer.err
    *records, last = [json.loads(line) for line in answer.out.splitlines()]
    assert "--preset glmae_spleen" in last["command"]
    assert {record["part"]: record["images"] for record in records} == {"train": 8, "val": 2}
    answer = command("prepare", "spleen", tmp_path / "nowhere", "--out", out)
    assert answer.code == 2
    assert "nowhere" in answer.err


@pytest.mark.parametrize("name", NAMES)
def test_a_wrong_archive_is_named(name, tmp_path):
    """Not the folder that it is unpacked into, nor a file that it should have alone."""
    path = tmp_path / "photos.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("holiday/a.txt", "x")
    with pytest.raises(DataError) as error:
        prepare(name, [path], out=tmp_path / "out")
    assert str(path) in str(error.value)
    assert ".." not in str(error.value).replace(str(path), "")
    assert "unpacked/" not in str(error.value)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("ending", "found"),
    [
        (".zip", "bytes that are not those of a zip file, or only the first part of it."),
        (".tar.gz", "bytes that are not those of a tar file."),
        (".tar", "bytes that are not those of a tar file."),
    ],
)
def test_another_file_with_the_ending_of_an_archive(ending, found, tmp_path):
    path = tmp_path / f"photos{ending}"
    path.write_text("hello")
    with pytest.raises(DataError) as error:
        prepare("pets", [path], out=tmp_path / "out")
    assert error.value.problems == (
        f"{path}: expected a whole archive that can be unpacked, found {found} Download it again, "
        "or unpack it and give its folder.",
    )
