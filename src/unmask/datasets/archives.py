"""Archives as they are downloaded: folders, zip and tar files, one or several."""

from __future__ import annotations

import contextlib
import tarfile
import tempfile
import zipfile
from collections.abc import Generator, Sequence
from pathlib import Path

from unmask.errors import DataError, SaveError, message


@contextlib.contextmanager
def unpack_archives(archives: Sequence[Path], out: Path) -> Generator[tuple[Path, bool]]:
    """Give one folder with the contents of all archives, and whether it is temporary.

    A single folder is used as it is. Files are unpacked next to the output, into a folder that is
    removed at the end; folders given with them are linked into it.

    Raises:
        DataError: an archive is missing, damaged or of an unknown kind.
        SaveError: there is no place to unpack.
    """
    if len(archives) == 1 and archives[0].is_dir():
        yield archives[0], False
        return
    for path in archives:
        _check(path)
    try:
        out.mkdir(parents=True, exist_ok=True)
        scratch = tempfile.TemporaryDirectory(prefix=".unpacked-", dir=out)
    except OSError as error:
        raise SaveError(
            f"{out}: expected a place to unpack archives, found: {error.strerror}. Choose another "
            "--out."
        ) from error
    with scratch as folder:
        for path in archives:
            _unpack(path, Path(folder))
        yield Path(folder), True


def _check(path: Path) -> None:
    known = path.is_dir() or (
        path.is_file() and (zipfile.is_zipfile(path) or tarfile.is_tarfile(path))
    )
    if not known:
        raise DataError(
            message(
                path,
                expected="the unpacked archive, or a .zip or .tar file (also .tar.gz)",
                found="another kind of file" if path.exists() else "nothing",
                do="Check the path, or unpack the file and give its folder.",
            )
        )


def _unpack(path: Path, folder: Path) -> None:
    try:
        if path.is_dir():
            for file in path.rglob("*"):
                if file.is_file():
                    target = folder / path.name / file.relative_to(path)
                    target.parent.mkdir(parents=True, exist_ok=True)
                    target.symlink_to(file.resolve())
        elif zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                archive.extractall(folder)
        else:
            with tarfile.open(path) as archive:
                # The filter refuses members outside the folder, links out of it and devices.
                archive.extractall(folder, filter="data")
    except (zipfile.BadZipFile, tarfile.TarError, EOFError, OSError) as error:
        raise DataError(
            message(
                path,
                expected="an archive that can be unpacked",
                found=str(error) or type(error).__name__,
                do="Download it again, or unpack it and give its folder.",
            )
        ) from error
