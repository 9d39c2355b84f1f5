"""Uploaded images: received up to a limit, decoded in a child process, kept as TIFF."""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from unmask.atomic import aside_name, fsync_file, fsync_folder, remove, saving
from unmask.errors import message
from unmask.io import open_labels
from unmask.serve.refusal import RefusedError
from unmask.serve.workspace import Workspace, list_entries

# Suffixes of files that consist of one file and name no others.
SUFFIXES = (".ome.tiff", ".ome.tif", ".tiff", ".tif", ".png", ".jpeg", ".jpg", ".bmp")
# Labels and outlines of other programs.
LABELS = (*SUFFIXES, ".roi", ".zip", ".geojson", ".json", ".csv")
_LONGEST = 80


@dataclass(frozen=True)
class UploadLimits:
    """What one upload may take.

    Attributes:
        nbytes: size of the file.
        memory: of the process that decodes it.
        seconds: of computing in that process.
        together: uploads at the same time.
        kept: images that are kept, the newest; None: all.
    """

    nbytes: int = 2**30
    memory: int = 4 * 2**30
    seconds: int = 60
    together: int = 2
    kept: int | None = None


class Uploads:
    """Receives images into a workspace.

    Args:
        workspace: where they go.
        limits: of each upload.
    """

    def __init__(self, workspace: Workspace, limits: UploadLimits | None = None) -> None:
        self._workspace = workspace
        self.limits = limits or UploadLimits()
        self._running = 0

    def sweep(self) -> None:
        """Remove what an earlier server has left half received."""
        folder = self._workspace.notes / "uploads"
        for path in folder.iterdir() if folder.is_dir() else ():
            remove(path)

    async def receive(self, name: str, stream: AsyncIterator[bytes]) -> str:
        """Keep an image under a free name; the name without suffix.

        Args:
            name: what the user calls the file; only a tame form of it is used.
            stream: its bytes.

        Raises:
            RefusedError: too many at once (429), too large (413) or not an image (415).
        """
        stem, suffix = tame(name)
        async with self._received(stem, suffix, stream) as (source, result):
            await asyncio.to_thread(self._decode, source, result)
            placed = await asyncio.to_thread(self._place, result, stem)
            if self.limits.kept is not None:
                await asyncio.to_thread(self._drop, self.limits.kept)
            return placed

    async def receive_labels(
        self, name: str, stream: AsyncIterator[bytes], image: str, shape: tuple[int, ...]
    ) -> tuple[np.ndarray, list[str]]:
        """Labels of an image from those of another program, and what is doubtful of them.

        Args:
            name: of the file; only its suffix is used.
            stream: its bytes.
            image: name of the image, for files that hold several.
            shape: its spatial axes.

        Raises:
            RefusedError: as `receive`.
        """
        stem, suffix = tame(name, LABELS)
        async with self._received(stem, suffix, stream) as (source, result):
            size = ",".join(map(str, shape))
            notes = await asyncio.to_thread(self._decode, source, result, image, size)
            opened = await asyncio.to_thread(open_labels, result, ndim=len(shape))
            return (await asyncio.to_thread(opened.read))[0], notes

    @asynccontextmanager
    async def _received(
        self, stem: str, suffix: str, stream: AsyncIterator[bytes]
    ) -> AsyncGenerator[tuple[Path, Path]]:
        """The received file, and a name for what it is decoded to; both are removed at the end."""
        if self._running >= self.limits.together:
            raise RefusedError(
                429,
                message("upload", expected=f"at most {self.limits.together} at the same time",
                        found="more", do="Try again in a moment."),
            )  # fmt: skip
        self._running += 1
        folder = self._workspace.notes / "uploads"
        source = folder / f"{aside_name(Path(stem))[1:]}-{id(stream):x}{suffix}"
        result = source.with_name(f"{source.stem}.decoded.tif")
        try:
            with saving(source):
                folder.mkdir(parents=True, exist_ok=True)
                await _store(source, stream, self.limits.nbytes)
            yield source, result
        finally:
            self._running -= 1
            source.unlink(missing_ok=True)
            result.unlink(missing_ok=True)

    def _decode(self, source: Path, result: Path, *labels_of: str) -> list[str]:
        """Decode a file in a child process; what that says."""
        limits = self.limits
        command = [sys.executable, "-m", "unmask.serve.decode", str(source), str(result),
                   str(limits.memory), str(limits.seconds), *labels_of]  # fmt: skip
        # Numerical libraries reserve memory per thread, which the limit would count.
        names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS")
        single = dict.fromkeys(names, "1")
        try:
            done = subprocess.run(
                command, stdin=subprocess.DEVNULL, capture_output=True, check=False,
                timeout=2 * limits.seconds, env={**os.environ, **single},
            )  # fmt: skip
            found = done.stderr.decode(errors="replace").replace(str(source), "the file")[-500:]
            code = done.returncode
            printed = done.stdout.decode(errors="replace").replace(str(source), "the file")
        except subprocess.TimeoutExpired:
            code, found, printed = -1, "", ""
        if code:
            raise RefusedError(
                415,
                message("upload", expected="an image that can be decoded within the limits",
                        found=found or f"a file that ended the decoder (code {code})",
                        do="Export it again as TIFF or PNG."),
            )  # fmt: skip
        return [line for line in printed.splitlines() if line][:8]

    def _drop(self, kept: int) -> None:
        """Remove the oldest images of a public page, with what belongs to them."""
        entries = [e for e in list_entries(self._workspace) if not e.problem]
        entries.sort(key=lambda entry: entry.path.stat().st_mtime_ns, reverse=True)
        for entry in entries[kept:]:
            for folder in (self._workspace.labels, self._workspace.predictions):
                for path in folder.glob(f"{entry.name}.*"):
                    remove(path)
            remove(entry.path)

    def _place(self, result: Path, stem: str) -> str:
        """Give the image its name; an older one of that name is never replaced."""
        taken = {entry.name for entry in list_entries(self._workspace)}
        folder = self._workspace.confine(self._workspace.images)
        number = 1
        name = stem
        with saving(folder / name):
            fsync_file(result)
            while True:
                if name not in taken:
                    try:
                        # A link fails where a rename would replace.
                        os.link(result, folder / f"{name}.tif")
                        break
                    except FileExistsError:
                        pass
                number += 1
                name = f"{stem}_{number}"
            fsync_folder(folder)
        return name


def tame(name: str, suffixes: Sequence[str] = SUFFIXES) -> tuple[str, str]:
    """Stem of plain characters, and the suffix, which is one of ``suffixes``.

    Raises:
        RefusedError: the suffix is not that of an image.

    Examples:
        >>> tame("../../a b<script>.PNG")
        ('a_b_script', '.png')
    """
    base = re.split(r"[\\/]", name)[-1]
    suffix = next((s for s in suffixes if base.lower().endswith(s)), None)
    if suffix is None:
        raise RefusedError(
            415,
            message("upload", expected=f"one of {' '.join(suffixes)}", found="another suffix",
                    do="Export the image as TIFF or PNG."),
        )  # fmt: skip
    stem = re.sub(r"[^A-Za-z0-9_-]+", "_", base[: -len(suffix)]).strip("_-")[:_LONGEST]
    return stem or "image", suffix


async def _store(path: Path, stream: AsyncIterator[bytes], limit: int) -> None:
    size = 0
    with path.open("wb") as file:
        async for chunk in stream:
            size += len(chunk)
            if size > limit:
                raise too_large("upload", limit)
            file.write(chunk)


def too_large(subject: str, limit: int) -> RefusedError:
    """What to raise for a body over a limit."""
    return RefusedError(
        413,
        message(subject, expected=f"at most {limit / 1e6:.0f} MB", found="more",
                do="Send less at once."),
    )  # fmt: skip
