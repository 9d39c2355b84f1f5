"""Archives as they are downloaded: folders, zip and tar files, single files, one or several."""

from __future__ import annotations

import contextlib
import errno
import lzma
import os
import shutil
import tarfile
import zipfile
import zlib
from collections.abc import Generator, Sequence
from pathlib import Path

from unmask.atomic import save_error
from unmask.datasets.writing import scratch_folder
from unmask.errors import DataError, SaveError, message, raise_problems

_ARCHIVES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")
# Files that sets read as they are. NumPy's .npz is a zip file by its content.
_SINGLE = (".h5", ".hdf", ".hdf5", ".tif", ".tiff", ".npz", ".json", ".csv", ".txt", ".nii",
           ".nii.gz", ".mhd", ".raw", ".zraw", ".png", ".xml")  # fmt: skip
_FOREIGN = (".7z", ".rar", ".z01", ".001", ".gz", ".bz2", ".xz", ".zst", ".part", ".crdownload")
# Archives inside of archives: those of Kaggle hold one zip file per part.
_DEEPEST = 2
# Bytes in which a web page says what it is.
_START = 200
_BROKEN = (zipfile.BadZipFile, tarfile.TarError, EOFError, zlib.error, lzma.LZMAError)


@contextlib.contextmanager
def unpack_archives(archives: Sequence[Path], out: Path) -> Generator[tuple[Path, bool]]:
    """Give one folder with the contents of all archives, and whether it is temporary.

    A single folder is used as it is, unless it holds nothing but archives and files. Archives are
    unpacked next to the output, into a folder that is removed at the end; folders and single files
    given with them are linked into it.

    Raises:
        DataError: an archive is missing, damaged, encrypted or of an unknown kind; all at once.
        SaveError: there is no place to unpack.
    """
    if len(archives) == 1 and archives[0].is_dir():
        held = _packed_content(archives[0])
        if not held:
            yield archives[0], False
            return
        archives = held
    problems = [problem for path in archives if (problem := _problem(path))]
    raise_problems(problems)
    with scratch_folder(out, "unpacked") as folder:
        _check_space(archives, folder)
        for path in archives:
            _take(path, folder)
        _unpack_inner(folder)
        yield folder, True


def _packed_content(folder: Path) -> list[Path]:
    """Find the files of a folder of downloads; none if anything in it is unpacked."""
    inside = [path for path in sorted(folder.iterdir()) if not path.name.startswith(".")]
    packed = any(_is_archive(path) for path in inside)
    return inside if packed and all(path.is_file() for path in inside) else []


def _is_archive(path: Path) -> bool:
    return path.name.lower().endswith(_ARCHIVES) and path.is_file()


def _problem(path: Path) -> str | None:
    """What is wrong with an archive, before anything is unpacked."""
    if path.is_dir():
        return None
    expected = "a folder, a .zip or .tar file (also .tar.gz), or a file of the set"
    if not path.is_file():
        return message(path, expected=expected, found="nothing", do="Check the path.")
    name = path.name.lower()
    if _is_archive(path):
        return _zip_problem(path) if name.endswith(".zip") else _tar_problem(path)
    if name.endswith(_SINGLE):
        return None
    if zipfile.is_zipfile(path):
        return _zip_problem(path)
    if tarfile.is_tarfile(path):
        return None
    found = "another kind of file"
    if name.endswith(_FOREIGN):
        found = f"{path.suffix}, which is not read, or a download that has not ended"
    return message(path, expected=expected, found=found, do="Unpack it, and give its folder.")


def _zip_problem(path: Path) -> str | None:
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
    except (*_BROKEN, OSError) as error:
        return _damaged(path, error)
    if any(each.flag_bits & 1 for each in members):
        return message(
            path,
            expected="an archive without a password",
            found="encrypted files",
            do="Unpack it with the password of its owners, and give its folder.",
        )
    strange = sorted({each.compress_type for each in members} - _known_compressions())
    if strange:
        known: dict[int, str] = getattr(zipfile, "compressor_names", {})
        names = ", ".join(known.get(each, str(each)) for each in strange)
        return message(
            path,
            expected="compression by deflate, bzip2 or lzma",
            found=names,
            do="Unpack it with another program, such as 7-Zip, and give its folder.",
        )
    return None


def _known_compressions() -> set[int]:
    known = {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA}
    return known | {each for each in [getattr(zipfile, "ZIP_ZSTANDARD", None)] if each}


def _tar_problem(path: Path) -> str | None:
    try:
        with tarfile.open(path) as archive:
            archive.next()
    except (*_BROKEN, OSError) as error:
        return _damaged(path, error)
    return None


def _damaged(path: Path, error: BaseException) -> str:
    start = b""
    with contextlib.suppress(OSError), path.open("rb") as file:
        start = file.read(_START).lstrip().lower()
    page = start.startswith((b"<!doctype html", b"<html"))
    return message(
        path,
        expected="a whole archive that can be unpacked",
        found="a web page, such as a request to sign in" if page else _describe(error),
        do="Download it again, or unpack it and give its folder.",
    )


def _describe(error: BaseException) -> str:
    """What is wrong with an archive. Of a tar, Python lists what each kind of reader says."""
    text = str(error).partition("\n")[0].removesuffix(":").removeprefix("File ")
    unknown = isinstance(error, tarfile.ReadError) and "opened successfully" in text
    if isinstance(error, zipfile.BadZipFile) and text == "is not a zip file":
        return "bytes that are not those of a zip file, or only the first part of it"
    if unknown:
        return "bytes that are not those of a tar file"
    return text or type(error).__name__


def _check_space(archives: Sequence[Path], folder: Path) -> None:
    """Refuse archives that do not fit on the disk.

    Raises:
        SaveError: they need more than is free.
    """
    needed = sum(_unpacked_size(path) for path in archives)
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise SaveError(
            message(
                folder.parent,
                expected=f"{needed / 1e6:,.1f} MB of free space to unpack the archives",
                found=f"{free / 1e6:,.1f} MB",
                do="Free space, choose an --out on another disk, or unpack them elsewhere and give "
                "their folder.",
            )
        )


def _unpacked_size(path: Path) -> int:
    if path.is_dir() or not (_is_archive(path) or zipfile.is_zipfile(path)):
        return 0
    if path.name.lower().endswith(_ARCHIVES[1:]):
        # The sizes inside of a compressed tar are known only after all of it is read.
        return path.stat().st_size
    with zipfile.ZipFile(path) as archive:
        return sum(each.file_size for each in archive.infolist())


def _take(path: Path, folder: Path) -> None:
    if path.is_dir():
        for file in path.rglob("*"):
            if file.is_file():
                _link(file, folder / path.name / file.relative_to(path))
    elif path.name.lower().endswith(_SINGLE):
        _link(path, folder / path.name)
    else:
        _unpack(path, _own_folder(path, folder))


def _own_folder(path: Path, folder: Path) -> Path:
    """A folder of the name of an archive, as several archives may hold files of the same names."""
    stem = path.name.partition(".")[0]
    taken = sum(each.is_dir() and each.name.startswith(stem) for each in folder.iterdir())
    return folder / (f"{stem}_{taken}" if taken else stem)


def _link(file: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if os.path.lexists(target):
        raise DataError(
            message(
                file,
                expected="files of different names",
                found=f"{target.name} twice",
                do="Give each file once.",
            )
        )
    target.symlink_to(file.resolve())


def _unpack_inner(folder: Path) -> None:
    """Unpack archives inside of archives, each into a folder of its name."""
    for _ in range(_DEEPEST):
        inner = [path for path in folder.rglob("*") if _is_archive(path) and _is_shown(path)]
        for path in inner:
            problem = _problem(path)
            raise_problems([problem] if problem else [])
            _check_space([path], folder)
            _unpack(path, _own_folder(path, path.parent))
            path.unlink()


def _is_shown(path: Path) -> bool:
    return not path.name.startswith(".") and "__MACOSX" not in path.parts


def _unpack(path: Path, folder: Path) -> None:
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                archive.extractall(folder)
        else:
            with tarfile.open(path) as archive:
                # The filter refuses members outside the folder, links out of it and devices.
                archive.extractall(folder, filter="data")
    except (*_BROKEN, RuntimeError, NotImplementedError) as error:
        raise DataError(_damaged(path, error)) from error
    except OSError as error:
        # EFBIG is what a disk says that holds no file of 4 GB, such as FAT32.
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES):
            raise save_error(folder, error, "Nothing was written. ") from error
        raise DataError(_damaged(path, error)) from error
