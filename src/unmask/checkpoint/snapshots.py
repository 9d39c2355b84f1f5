"""Snapshots of a running training: complete, verified, or not there.

``snapshots/step-N.tmp`` is filled, flushed and renamed to ``step-N``; ``MANIFEST.json`` comes last
and holds size and digest of every file. The newest snapshot is found by reading manifests: there is
no link that could point to a half-written one.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import xxhash
from torch import Tensor

from unmask import leftovers
from unmask.atomic import fsync_folder, remove, save_error, saving
from unmask.checkpoint.lock import warn
from unmask.checkpoint.tensors import read_tensors, total_bytes, write_tensors
from unmask.errors import CheckpointError, gather

FOLDER = "snapshots"
_MANIFEST = "MANIFEST.json"
_CHUNK = 1 << 22
_HEADER_ROOM = 1_000_000
_MAX_JSON = 100_000_000


@dataclass(frozen=True)
class Snapshot:
    """A verified snapshot.

    Attributes:
        step: updates done.
        tensors: groups ("model", "optimizer", ...) of tensors by name, on the CPU.
        state: plain values (best score, scaler, plan, ...).
        path: its folder.
    """

    step: int
    tensors: Mapping[str, Mapping[str, Tensor]]
    state: Mapping[str, Any]
    path: Path


def save_snapshot(
    folder: Path | str,
    step: int,
    tensors: Mapping[str, Mapping[str, Tensor]],
    state: Mapping[str, Any],
    *,
    keep: int = 2,
) -> Path:
    """Write ``snapshots/step-N`` in a run folder; older ones go once the new one is verified.

    Args:
        folder: the run folder.
        step: updates done; names the snapshot.
        tensors: groups of tensors, one file per group.
        state: values for ``state.json``.
        keep: snapshots left afterwards, at least 1.

    Raises:
        SaveError: the disk is full or the folder is gone; earlier snapshots are untouched.
        CheckpointError: a number is NaN or infinite, or the disk did not keep what was written.
    """
    root = Path(folder) / FOLDER
    final, aside = root / f"step-{step}", root / f"step-{step}.tmp"
    needed = sum(total_bytes(group) for group in tensors.values()) + _HEADER_ROOM
    try:
        if not root.is_dir():
            root.mkdir()
            fsync_folder(root.parent)
        _check_space(root, needed)
        _fill(aside, step, tensors, state)
        if final.exists():
            final.rename(root / f"step-{step}.old.tmp")
        aside.rename(final)
        fsync_folder(root)
    except OSError as error:
        shutil.rmtree(aside, ignore_errors=True)
        more = (
            f"{needed / 1e6:.1f} MB needed. Earlier snapshots are untouched: resume the run with "
            "--resume. "
        )
        raise save_error(final, error, more) from error
    except CheckpointError:
        shutil.rmtree(aside, ignore_errors=True)
        raise
    _verify(final)
    with saving(root):
        for old in [*_list_snapshots(root)[max(1, keep) :], root / f"step-{step}.old.tmp"]:
            _remove(old)
    return final


def saved_step(folder: Path | str) -> int:
    """Updates of the newest snapshot of a run folder, which is not read; 0 if there is none."""
    newest = _list_snapshots(Path(folder) / FOLDER)[:1]
    return int(newest[0].name.removeprefix("step-")) if newest else 0


def load_snapshot(folder: Path | str, *, report: Callable[[str], None] = warn) -> Snapshot | None:
    """The newest snapshot of a run folder that verifies; None if there is none at all.

    Args:
        folder: the run folder.
        report: receives one message for each snapshot that is damaged and passed over.

    Raises:
        CheckpointError: there are snapshots, and every one is damaged.
    """
    problems: list[str] = []
    found = _list_snapshots(Path(folder) / FOLDER)
    for position, path in enumerate(found):
        try:
            return _read(path)
        except CheckpointError as error:
            problems.append(str(error))
            later = found[position + 1 :]
            report(f"{error} " + (f"{later[0]} is used instead." if later else "None is left."))
    if problems:
        raise CheckpointError(
            gather(
                problems,
                heading=f"{folder}: expected a whole snapshot, found only damaged ones. Start "
                "again in another folder, with --init for the weights of model.safetensors:",
            )
        )
    return None


def remove_leftovers(folder: Path | str) -> list[Path]:
    """Remove what a killed run left half-written; call it under the run's lock.

    A snapshot that was moved aside for its own replacement comes back if that never arrived.
    """
    folder = Path(folder)
    with saving(folder):
        for moved in (folder / FOLDER).glob("step-*.old.tmp"):
            whole = moved.with_name(moved.name.removesuffix(".old.tmp"))
            if not whole.exists():
                moved.rename(whole)
    found = [*(folder / FOLDER).glob("step-*.tmp")]
    with saving(folder):
        for path in found:
            _remove(path)
    return [*found, *leftovers.remove_leftovers(folder, folder / "pictures")]


def _remove(path: Path) -> None:
    """Delete a file or folder; a folder is renamed first, so that half of it never looks whole."""
    if path.is_dir() and path.suffix != ".tmp":
        path = path.rename(path.with_name(f"{path.name}.tmp"))
    remove(path)


def _list_snapshots(root: Path) -> list[Path]:
    """Snapshot folders, newest step first: steps, not clocks, give the order."""
    named = [(re.fullmatch(r"step-(\d+)", path.name), path) for path in root.glob("step-*")]
    steps = [(int(match[1]), path) for match, path in named if match]
    return [path for _, path in sorted(steps, reverse=True)]


def _fill(
    aside: Path,
    step: int,
    tensors: Mapping[str, Mapping[str, Tensor]],
    state: Mapping[str, Any],
) -> None:
    _remove(aside)
    aside.mkdir()
    for group, members in tensors.items():
        write_tensors(aside / f"{group}.safetensors", members, {})
    _write(aside / "state.json", json.dumps(dict(state)))
    files = {
        path.name: {"size": path.stat().st_size, "xxh3": _digest(path)}
        for path in sorted(aside.iterdir())
    }
    content = json.dumps({"step": step, "files": files}, separators=(",", ":"))
    seal = xxhash.xxh3_128_hexdigest(content.encode())
    _write(aside / _MANIFEST, f"{seal} {content}")
    fsync_folder(aside)


def _write(path: Path, text: str) -> None:
    with path.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def _digest(path: Path) -> str:
    digest = xxhash.xxh3_128()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def _read(path: Path) -> Snapshot:
    manifest = _verify(path)
    groups = [name.removesuffix(".safetensors") for name in manifest["files"]]
    tensors = {
        group: read_tensors(path / f"{group}.safetensors")[0]
        for group in groups
        if group != "state.json"
    }
    state = json.loads((path / "state.json").read_text(encoding="utf-8"))
    return Snapshot(manifest["step"], tensors, state, path)


def _verify(path: Path) -> dict[str, Any]:
    """The manifest, after every file has been compared with it."""
    manifest = _read_manifest(path / _MANIFEST)
    if path.name != f"step-{manifest['step']}":
        raise CheckpointError(
            f"{path}: expected step {manifest['step']} as its manifest says. Undo the renaming."
        )
    for name, entry in manifest["files"].items():
        file = path / name
        if not file.is_file():
            raise CheckpointError(f"{file}: expected a file, found none. Copy the whole folder.")
        size, digest = file.stat().st_size, _digest(file)
        if (size, digest) != (entry["size"], entry["xxh3"]):
            raise CheckpointError(
                f"{file}: expected {entry['size']} bytes of digest {entry['xxh3']}, found {size} "
                f"bytes of digest {digest}. The file is damaged; take an earlier snapshot."
            )
    return manifest


def _read_manifest(path: Path) -> dict[str, Any]:
    try:
        if path.stat().st_size > _MAX_JSON:
            raise CheckpointError(
                f"{path}: expected a small manifest, found over 100 MB. Remove this snapshot."
            )
        raw = path.read_bytes()
    except OSError as error:
        raise CheckpointError(
            f"{path}: expected a manifest, found: {error.strerror}. The snapshot is incomplete; "
            "take an earlier one."
        ) from error
    seal, _, content = raw.partition(b" ")
    if seal != xxhash.xxh3_128_hexdigest(content).encode():
        raise CheckpointError(
            f"{path}: expected content of digest {seal[:32]!r}, found another. The manifest is "
            "damaged; take an earlier snapshot."
        )
    return json.loads(content)


def _check_space(root: Path, needed: int) -> None:
    free = shutil.disk_usage(root).free
    if free < needed * 1.1:
        raise OSError(f"{free / 1e6:.1f} MB free")
