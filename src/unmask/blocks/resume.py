"""Where unfinished work on an output is kept, what it belongs to, and what of it is finished."""

from __future__ import annotations

import json
import os
from collections.abc import Generator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
import xxhash

from unmask import sealed
from unmask.atomic import fsync_folder, remove, saving
from unmask.blocks.grid import Grid
from unmask.blocks.store import read_values
from unmask.checkpoint import lock_run
from unmask.checkpoint.lock import LOCK_FILE, OWNER_FILE, warn
from unmask.data.normalize import Measured
from unmask.errors import CheckpointError, message
from unmask.infer.predictor import Predictor
from unmask.io import Image
from unmask.io.multi_file import files_of
from unmask.io.paths import locate, suffix_of
from unmask.leftovers import remove_leftovers

# Beside the outputs, one folder for each output in work; hidden, so that it is no image.
FOLDER = ".predict"
_PLAN = "plan.json"
_FINISHED = "finished.jsonl"
# Folders of outputs inside that of the label images.
_INNER = ("scores", "contact")


@dataclass(frozen=True)
class Plan:
    """What decides about every block's result.

    Attributes:
        facts: JSON values; two runs of equal facts give equal bytes on one machine.
        provenance: what is written beside the labels.
        blocks: number of blocks.
    """

    facts: Mapping[str, Any]
    provenance: Mapping[str, Any]
    blocks: int


def plan_of(predictor: Predictor, image: Image, grid: Grid, measured: Measured) -> Plan:
    """The plan of a prediction in blocks."""
    cut = {"block": list(grid.block), "halo": grid.halo, "measured": repr(measured)}
    facts = plan_facts(predictor, image, weights_digest(predictor)) | cut
    provenance = predictor.provenance(image) | cut | {"weights": facts["weights"]}
    return Plan(facts, provenance | {"unmask": facts["unmask"]}, len(grid))


def plan_facts(predictor: Predictor, image: Image, weights: str) -> dict[str, Any]:
    """What decides about a prediction, as JSON values; the device is left out.

    Args:
        predictor: models, task and tiling.
        image: the image.
        weights: ``weights_digest`` of the predictor.
    """
    facts = predictor.provenance(image)
    facts.pop("device")
    facts["image"] = Path(image.source).name
    facts["weights"] = weights
    facts["unmask"] = version("unmask")
    facts |= {"shape": image.shape, "dtype": str(image.dtype), "file": files_mark(image)}
    return json.loads(json.dumps(facts))


class Finished:
    """Outputs that are complete, kept in a file so that an ended run can go on.

    Every output is one line with its digest, so a kill costs at most the last one.

    Args:
        folder: where it is kept, beside the unfinished work on the outputs.

    Attributes:
        folder: the same.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._file = folder / _FINISHED
        self._known: dict[str, Any] = {line["name"]: line for line in sealed.read_lines(self._file)}

    def has(self, path: Path, facts: Mapping[str, Any]) -> bool:
        """Whether an output of these facts is there and unchanged since."""
        known = self._known.get(path.name, {})
        same = known.get("facts") == dict(facts) and known.get("file") == mark(str(path))
        return same and path.exists()

    def result(self, path: Path) -> Any:
        """What was kept with an output that is there, see ``has``."""
        return self._known[path.name]["result"]

    def add(self, path: Path, facts: Mapping[str, Any], result: Any = None) -> None:
        """Keep that an output is complete, and JSON values that belong to it.

        Raises:
            SaveError: the disk.
        """
        line = {"facts": dict(facts), "file": mark(str(path)), "result": result}
        line = {"name": path.name, **line}
        with saving(self._file):
            sealed.add_line(self._file, line)
        self._known[path.name] = line

    def same(self, facts: Mapping[str, Any]) -> bool:
        """Whether an ended run of these facts (JSON values) is resumed; False: there is none.

        Raises:
            CheckpointError: the ended run was given something else.
        """
        return _continues(self.folder, facts, self.folder.parent)

    def keep(self, facts: Mapping[str, Any]) -> None:
        """Keep what the run was given, for ``same``."""
        sealed.write(self.folder / _PLAN, facts)


@contextmanager
def batch(out: Path, *, resume: bool) -> Generator[Finished, None, None]:
    """Hold a folder of outputs for one run; what is known of the outputs goes when it succeeds.

    Temporary files of killed runs are removed.

    Raises:
        CheckpointError: another run works in the folder.
        SaveError: the folder cannot be written.
    """
    folder = out / FOLDER
    with lock_run(folder, report=_expected, temporary=True):
        remove_leftovers(out, folder, *(out / name for name in _INNER))
        if not resume:
            clear(folder)
        # What is finished is kept for --resume if the run ends early.
        yield Finished(folder)
        clear(folder)


@contextmanager
def workplace(
    out: Path, plan: Plan, *, resume: bool
) -> Generator[tuple[Path, dict[int, dict[str, int]]], None, None]:
    """Hold the folder for the unfinished work on ``out``; it goes when the work succeeds.

    Args:
        out: the output.
        plan: what the work is.
        resume: keep what an ended run of the same plan has finished.

    Yields:
        The folder, and what is known of the finished blocks; damaged ones are left out.

    Raises:
        CheckpointError: another run works on this output, or the ended run had another plan.
        SaveError: the folder cannot be written.
    """
    folder = out.parent / FOLDER / out.name
    with lock_run(folder, report=_expected, temporary=True):
        if not (resume and _continues(folder, plan.facts, out)):
            clear(folder)
            sealed.write(folder / _PLAN, dict(plan.facts))
        remove_leftovers(folder)
        yield folder, _finished(folder, plan)
        clear(folder)
    with suppress(OSError):
        folder.parent.rmdir()


def clear(folder: Path) -> None:
    """Remove what is in a folder, except its lock; the plan first.

    Work without a plan counts for nothing, so a kill on the way leaves nothing that a later run
    could take for its own.

    Raises:
        SaveError: the disk.
    """
    with saving(folder):
        if (folder / _PLAN).exists():
            (folder / _PLAN).unlink()
            fsync_folder(folder)
        for path in folder.iterdir():
            if path.name not in (LOCK_FILE, OWNER_FILE):
                remove(path)


def block_file(folder: Path, number: int) -> Path:
    """Where the result of a block is kept."""
    return folder / f"block-{number:06d}.bin"


def files_mark(image: Image) -> str:
    """What changes when any file of an image does."""
    return ";".join(mark(path) for path in image.meta.get("files", (image.source,)))


def mark(source: str) -> str:
    """What changes when the files of an image do: their sizes and times of change.

    Of a Zarr store all files count, metadata and chunks; "-" for other folders and arrays.
    """
    found = [_mark(file) for file in files_of(source)]
    return "-" if "-" in found else ";".join(found)


def weights_digest(predictor: Predictor) -> str:
    """Digest of all weights of a predictor's models."""
    digest = xxhash.xxh3_128()
    for segmenter in predictor.segmenters:
        for name, tensor in segmenter.state_dict().items():
            digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
            plain = tensor.detach().cpu().contiguous().reshape(-1)
            digest.update(plain.view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _expected(_: str) -> None:
    """Whoever takes a folder over from a killed run asked for that."""


def _finished(folder: Path, plan: Plan) -> dict[int, dict[str, int]]:
    found: dict[int, dict[str, int]] = {}
    for number in range(plan.blocks):
        file = block_file(folder, number)
        if not file.exists():
            continue
        try:
            found[number] = read_values(file)
        except CheckpointError as error:
            warn(f"{error} The block is computed again.")
            with saving(file):
                file.unlink(missing_ok=True)
    return found


def _continues(folder: Path, facts: Mapping[str, Any], out: Path) -> bool:
    """Whether a folder holds work of a run with these facts; False: there is none.

    Raises:
        CheckpointError: the ended run was given something else.
    """
    file = folder / _PLAN
    if not file.exists():
        return False
    try:
        before = sealed.read(file)
    except CheckpointError:
        warn(f"{file}: the plan of the ended run is damaged. Its work is done again.")
        return False
    other = [
        f"{name}: {before.get(name)!r} before, {facts.get(name)!r} now"
        for name in sorted({*before, *facts})
        if before.get(name) != facts.get(name)
    ]
    if other:
        raise CheckpointError(
            message(
                out,
                expected="--resume with what the ended run was given",
                found="; ".join(other),
                do="Give the same again, or leave out --resume to start anew.",
            )
        )
    return True


def _mark(file: str) -> str:
    location = locate(file)
    if location.path.is_file():
        state = location.path.stat()
        return f"{state.st_size}:{state.st_mtime_ns}"
    folder = location.path / location.key
    if not folder.is_dir() or suffix_of(location) != ".zarr":
        return "-"
    digest, files = xxhash.xxh3_128(), 0
    for place, inner, names in os.walk(folder):
        inner.sort()
        for path in (Path(place, name) for name in sorted(names)):
            state = path.stat()
            there = path.relative_to(folder).as_posix()
            digest.update(f"{there} {state.st_size} {state.st_mtime_ns}\n".encode())
            files += 1
    return f"{files} files:{digest.hexdigest()}"
