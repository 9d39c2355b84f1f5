"""Archives as they are downloaded: inside of each other, cut off, encrypted, or of other kinds."""

import errno
import os
import shutil
import zipfile

import pytest

from unmask.datasets import archives
from unmask.datasets.archives import unpack_archives
from unmask.errors import DataError, SaveError


def packed(path, members):
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in members.items():
            archive.writestr(name, text)
    return path


def changed(path, *, flag=0, method=None):
    """Set a flag or the method of compression in all headers of a zip file."""
    data = bytearray(path.read_bytes())
    for mark, place in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        at = data.find(mark)
        while at >= 0:
            data[at + place] |= flag
            if method is not None:
                data[at + place + 2] = method
            at = data.find(mark, at + 4)
    path.write_bytes(data)
    return path


def contents(given, out):
    with unpack_archives(given, out) as (folder, temporary):
        assert temporary
        files = [path for path in folder.rglob("*") if path.is_file()]
        return sorted(path.relative_to(folder).as_posix() for path in files)


def test_several_archives_do_not_mix(tmp_path):
    """Files of one name in two archives, an archive inside of another, and single files."""
    first = packed(tmp_path / "R.zip", {"im/0.png": "a"})
    second = packed(tmp_path / "H.zip", {"im/0.png": "b"})
    inner = packed(tmp_path / "x" / "inner.zip", {"c.txt": "c"}).read_bytes()
    outer = packed(tmp_path / "outer.zip", {"stage.zip": inner, "__MACOSX/._stage.zip": "junk"})
    single = tmp_path / "volume.h5"
    single.write_bytes(b"h5")
    found = contents([first, second, outer, single], tmp_path / "out")
    assert found == ["H/im/0.png", "R/im/0.png", "outer/__MACOSX/._stage.zip",
                     "outer/stage/c.txt", "volume.h5"]  # fmt: skip
    assert not (tmp_path / "out").exists()


def test_a_folder_of_downloads(tmp_path):
    folder = tmp_path / "downloads"
    packed(folder / "images.zip", {"a.png": "a"})
    (folder / "list.csv").write_text("a")
    assert contents([folder], tmp_path / "out") == ["images/a.png", "list.csv"]


@pytest.mark.parametrize("kind", ["encrypted", "deflate64", "half", "rar", "missing"])
def test_archives_that_cannot_be_unpacked(kind, tmp_path):
    path = packed(tmp_path / "set.zip", {"a.txt": "a" * 900, "b.txt": "b" * 900})
    given, expected = {
        "encrypted": (lambda: changed(path, flag=1), "found encrypted files. Unpack it with the"),
        "deflate64": (lambda: changed(path, method=9), "found deflate64. Unpack it with another"),
        "half": (lambda: path.write_bytes(path.read_bytes()[:90]) and path, "Download it again"),
        "rar": (lambda: path.rename(tmp_path / "set.rar.part"), "a download that has not ended"),
        "missing": (lambda: tmp_path / "none.zip", "found nothing. Check the path"),
    }[kind]
    if kind == "rar":
        path.write_bytes(b"Rar!")
    with pytest.raises(DataError, match=expected):
        contents([given()], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_no_space_to_unpack(tmp_path, monkeypatch):
    path = packed(tmp_path / "set.zip", {"a.txt": "a" * 9000})
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(archives.shutil, "disk_usage", lambda _: usage._replace(free=4000))
    with pytest.raises(SaveError, match="free space to unpack the archives"):
        contents([path], tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EFBIG])
def test_a_disk_that_takes_no_more_is_not_a_damaged_archive(number, tmp_path, monkeypatch):
    def fail(*_, **__):
        raise OSError(number, os.strerror(number))

    path = packed(tmp_path / "set.zip", {"a.txt": "a"})
    monkeypatch.setattr(archives.zipfile.ZipFile, "extractall", fail)
    with pytest.raises(SaveError, match=r"could not be written .*Nothing was written\. Free space"):
        contents([path], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_web_page_instead_of_an_archive(tmp_path):
    path = tmp_path / "images.zip"
    path.write_text("\n<!DOCTYPE html><html>Sign in</html>")
    with (
        pytest.raises(DataError, match=r"found a web page.*Download it again"),
        unpack_archives([path], tmp_path / "out"),
    ):
        pass
