"""Where unfinished work on an output is kept, what it belongs to, and what of it is finished."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
import xxhash

from unmask.atomic import atomic_write
from unmask.checkpoint import lock_run
from unmask.checkpoint.lock import LOCK_FILE, warn
from unmask.data.normalize import Measured
from unmask.errors import CheckpointError, told
from unmask.infer.blockfile import read_values
from unmask.infer.blocks import Grid
from unmask.infer.predictor import Predictor
from unmask.io import Image
from unmask.io.formats import FORMATS
from unmask.io.paths import format_of, locate
from unmask.io.several import files_of

# Beside the outputs, one folder for each output in work; hidden, so that it is no image.
FOLDER = ".predict"
_PLAN = "plan.json"


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

    Args:
        folder: where it is kept, beside the unfinished work on the outputs.

    Attributes:
        folder: the same.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._file = folder / "finished.json"
        self._known: dict[str, Any] = (
            json.loads(self._file.read_text()) if self._file.exists() else {}
        )

    def has(self, path: Path, facts: Mapping[str, Any]) -> bool:
        """Whether an output of these facts is there and unchanged since."""
        known = self._known.get(path.name, {})
        same = known.get("facts") == dict(facts) and known.get("file") == mark(str(path))
        return same and path.exists()

    def result(self, path: Path) -> Any:
        """What was kept with an output that is there, see ``has``."""
        return self._known[path.name]["result"]

    def add(self, path: Path, facts: Mapping[str, Any], result: Any = None) -> None:
        """Keep that an output is complete, and JSON values that belong to it."""
        self._known[path.name] = {"facts": dict(facts), "file": mark(str(path)), "result": result}
        atomic_write(self._file, json.dumps(self._known))

    def same(self, facts: Mapping[str, Any]) -> bool:
        """Whether an ended run of these facts (JSON values) is gone on with; False: there is none.

        Raises:
            CheckpointError: the ended run was given something else.
        """
        if not (self.folder / _PLAN).exists():
            return False
        _check_same(self.folder / _PLAN, facts, self.folder.parent)
        return True

    def keep(self, facts: Mapping[str, Any]) -> None:
        """Keep what the run was given, for ``same``."""
        atomic_write(self.folder / _PLAN, json.dumps(facts, indent=1))


@contextmanager
def batch(out: Path, *, resume: bool) -> Generator[Finished, None, None]:
    """Hold a folder of outputs for one run; what is known of the outputs goes when it succeeds.

    Raises:
        CheckpointError: another run works in the folder.
        SaveError: the folder cannot be written.
    """
    folder = out / FOLDER
    with lock_run(folder, report=_expected):
        if not resume:
            _emptied(folder)
        try:
            yield Finished(folder)
        except BaseException:
            # What is finished is kept for --resume; where nothing is, nothing stays behind.
            if [path.name for path in folder.iterdir()] == [LOCK_FILE]:
                shutil.rmtree(folder)
            raise
        shutil.rmtree(folder)


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
    with lock_run(folder, report=_expected):
        if not resume:
            _emptied(folder)
        _check_same(folder / _PLAN, plan.facts, out)
        yield folder, _finished(folder, plan)
        # The lock's file goes with the folder; whoever waits for it makes a new one.
        shutil.rmtree(folder)
    if not any(folder.parent.iterdir()):
        folder.parent.rmdir()


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
            file.unlink()
    return found


def _check_same(file: Path, facts: Mapping[str, Any], out: Path) -> None:
    """Keep the facts, or compare them with those of the ended run."""
    if not file.exists():
        atomic_write(file, json.dumps(facts, indent=1))
        return
    before = json.loads(file.read_text(encoding="utf-8"))
    other = [
        f"{name}: {before.get(name)!r} before, {facts.get(name)!r} now"
        for name in sorted({*before, *facts})
        if before.get(name) != facts.get(name)
    ]
    if other:
        raise CheckpointError(
            told(
                out,
                expected="--resume with what the ended run was given",
                found="; ".join(other),
                do="Give the same again, or leave out --resume to start anew.",
            )
        )


def _emptied(folder: Path) -> None:
    for path in folder.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        elif path.name != LOCK_FILE:
            path.unlink()


def _mark(file: str) -> str:
    location = locate(file)
    if location.path.is_file():
        state = location.path.stat()
        return f"{state.st_size}:{state.st_mtime_ns}"
    folder = location.path / location.key
    if not folder.is_dir() or format_of(location) is not FORMATS[".zarr"]:
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
