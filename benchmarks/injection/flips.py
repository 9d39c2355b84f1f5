"""Single flipped bits and cut ends in everything that the program writes.

Finished files are read again: the damage is noticed, or nothing depends on the bit. Files of a
killed run are damaged and the run is resumed: it refuses, or it ends with the bytes of an
uninterrupted run.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from injection.forks import Limits, start_command
from injection.kills import (
    BLOCKS,
    TILES,
    check_objects,
    differences,
    finish,
    small_blocks,
    small_network,
)
from injection.trial import Part, Trial, Verdict

SEED = 44
_READ = Limits(seconds=30, cpu=20)
_RESUME = Limits(seconds=200, cpu=100, memory=None)
CUTS = ("at 0", "at 1", "at 8", "in half", "before the last byte")
# Where headers and indices are; half of the flips go there, since most of a file is pixels.
_EDGE = 1024


@dataclass(frozen=True)
class Written:
    """A finished file or folder that is damaged and read again.

    Attributes:
        group: row of the table.
        name: file or folder.
        flips: number of flipped bits; 0 for formats without checksums, which are only cut.
    """

    group: str
    name: str
    flips: int = 100


WRITTEN = (
    Written("model file", "run/model.safetensors", 200),
    Written("TIFF", "a.tif"),
    Written("OME-TIFF", "a.ome.tif"),
    Written("TIFF written in blocks", "predicted/tiff/a.tif"),
    Written("HDF5", "a.h5"),
    Written("NIfTI .nii.gz", "a.nii.gz"),
    Written("PNG", "a.png"),
    Written("OME-Zarr", "a.ome.zarr"),
    Written("OME-Zarr written in blocks", "predicted/zarr/a.ome.zarr"),
    Written("scores, OME-Zarr", "predicted/zarr/scores/a.zarr"),
    Written("NIfTI .nii (cut only)", "a.nii", 0),
    Written("NPY (cut only)", "a.npy", 0),
)


@dataclass(frozen=True)
class State:
    """A killed run whose files are damaged before it is resumed.

    Attributes:
        name: of its folder.
        arguments: command line without ``--out``.
        reached: whether a folder is in this state.
        kinds: row of the table by pattern of the files that are damaged.
        flips: flipped bits per kind.
        tiny: part of the small form.
    """

    name: str
    arguments: Callable[[Path], list[object]]
    reached: Callable[[Path], bool]
    kinds: dict[str, str]
    flips: int = 20
    tiny: bool = False


def _train(at: Path) -> list[object]:
    where = ["--images", at / "images", "--labels", at / "labels"]
    return ["train", "--preset", "cells", *where, *small_network("resunet", steps=12)]


def _predict(at: Path, images: str, *more: str) -> list[object]:
    return ["predict", at / images, "--model", "nuclei", *TILES, *BLOCKS, *more]


def _cluster(at: Path) -> list[object]:
    options = ["--classes", "4", "--quality", "draft", "--set", "infer.precision='32'"]
    return ["cluster", at / "stores", "--model", at / "encoder", *options]


def _count(out: Path, pattern: str) -> int:
    """Files of a pattern; 0 if the run removes folders at this moment."""
    try:
        return sum(1 for _ in out.glob(pattern))
    except OSError:
        return 0


STATES = (
    State(
        "train",
        _train,
        lambda out: _count(out, "snapshots/step-6") > 0,
        {
            "snapshots/step-*/*": "resumed: snapshot",
            "model.safetensors": "resumed: model of the run",
            "journal.jsonl": "resumed: journal (a log: the model is compared)",
        },
        tiny=True,
    ),
    State(
        "blocks",
        lambda at: _predict(at, "stores", "--scores"),
        lambda out: _count(out, ".predict/b*/block-*.bin") > 2,
        {
            ".predict/*/block-*.bin": "resumed: block records",
            ".predict/*/plan.json": "resumed: plan.json",
            ".predict/finished*": "resumed: finished.json",
            ".predict/*/scores.zarr/**/*": "resumed: stored scores",
        },
        tiny=True,
    ),
    State(
        "assembly",
        lambda at: _predict(at, "stores"),
        lambda out: _count(out, ".predict/*/labels*zarr/0/c/*/*") > 3,
        {".predict/*/labels*zarr/**/*": "resumed: label store in work"},
    ),
    State(
        "cluster",
        _cluster,
        lambda out: _count(out, ".predict/b*/block-*.bin") > 2,
        {
            "clusters.safetensors": "resumed: centers of clusters",
            ".predict/**/*.bin": "resumed: block records of clusters",
            ".predict/*.json": "resumed: plan and finished.json of clusters",
        },
        flips=10,
    ),
)


def prepare(at: Path, tiny: bool) -> None:  # noqa: FBT001 - as all parts
    """One file of each format, a model, predictions, and the killed runs."""
    from unmask.io import open_image, save_image
    from unmask.phantoms.cells import write_set

    write_set(at, "nuclei", shape=(48, 40), count=2, seed=1)
    write_set(at / "wide", "nuclei", shape=(96, 80), count=2, seed=2)
    pictures = [open_image(p, ndim=2).read() for p in sorted((at / "wide" / "images").iterdir())]
    for name, picture in zip("ab", pictures, strict=True):
        save_image(at / "stores" / f"{name}.ome.zarr", picture, spacing=(0.5, 0.25), unit="um")
        save_image(at / "tiffs" / f"{name}.tif", picture, spacing=(0.5, 0.25), unit="um")
    for suffix in (".tif", ".ome.tif", ".h5", ".nii.gz", ".png", ".ome.zarr", ".nii", ".npy"):
        save_image(at / f"a{suffix}", pictures[0][0], spacing=(0.5, 0.25), unit="um")
    finish([*_train(at), "--out", at / "run"], at / "train.log")
    network = small_network("vit", steps=2)
    encoder = ["pretrain", "--preset", "mae2d", "--images", at / "images", *network]
    finish([*encoder, "--out", at / "encoder"], at / "encoder.log")
    for name, arguments in {
        "tiff": _predict(at, "tiffs"),
        "zarr": _predict(at, "stores", "--scores"),
    }.items():
        finish([*arguments, "--out", at / "predicted" / name], at / "predict.log")
    for _, state in _states(tiny):
        whole = [*state.arguments(at), "--out", at / "whole" / state.name]
        finish(whole, at / f"{state.name}.log")
        check_objects(at / "whole" / state.name)
        _end_in_state(at, state)


def trials(at: Path, tiny: bool) -> list[Trial]:  # noqa: FBT001 - as all parts
    """Flips and cuts of every kind; a few in the small form."""
    found: list[Trial] = []
    for number, written in enumerate(WRITTEN):
        changes: list[int | str] = [*range(written.flips), *CUTS]
        if tiny:
            changes = [*range(min(3, written.flips)), CUTS[-1]]
        for change in changes:
            run = partial(_read_again, at, number, change)
            found.append(Trial(f"{written.group} {change}", written.group, run, _READ))
    for number, state in _states(tiny):
        if not (at / "states" / state.name).exists():
            print(f"  flips: the state {state.name!r} was not reached; its files are not tried")
            continue
        for kind, group in state.kinds.items():
            if not _files(at / "states" / state.name, kind):
                print(f"  flips: no file {kind} in the state {state.name!r}")
                continue
            changes = [0] if tiny else [*range(state.flips), *CUTS]
            for change in changes:
                run = partial(_resume, at, number, kind, change)
                found.append(Trial(f"{group} {change}", group, run, _RESUME))
    return found


def _states(tiny: bool) -> list[tuple[int, State]]:  # noqa: FBT001 - as all parts
    return [(number, state) for number, state in enumerate(STATES) if state.tiny or not tiny]


def damage(path: Path, change: int | str, draw: np.random.Generator) -> str:
    """Flip a random bit (``change`` is a number) or cut the file; says what was done."""
    content = bytearray(path.read_bytes())
    if isinstance(change, int):
        size = len(content)
        # Half of the flips near the ends of the file.
        near = min(size, _EDGE)
        position = int(draw.integers(size))
        if change % 2:
            position = int(draw.choice([draw.integers(near), size - 1 - draw.integers(near)]))
        bit = int(draw.integers(8))
        content[position] ^= 1 << bit
        path.write_bytes(content)
        return f"{path.name}: bit {bit} of byte {position} of {size}"
    place = {"at 0": 0, "at 1": 1, "at 8": 8, "in half": len(content) // 2}.get(change)
    path.write_bytes(content[: len(content) - 1 if place is None else place])
    return f"{path.name}: cut {change}, {len(content)} bytes"


def values_of(path: Path) -> tuple[dict[str, Any], list[np.ndarray]]:
    """Facts and arrays that a file gives: of a model its weights, of an image all levels."""
    from unmask.checkpoint import load_model
    from unmask.errors import DataError
    from unmask.io import open_image

    if path.suffix == ".safetensors":
        model = load_model(path)
        card = {"card": model.card, "names": sorted(model.weights)}
        return card, [model.weights[name].numpy() for name in sorted(model.weights)]
    facts, arrays = {}, []
    for level in range(9):
        try:
            image = open_image(path, level=level)
        except DataError as error:
            if level and "level=" in str(error):
                break
            raise
        about = {"axes": image.axes, "spacing": image.spacing, "unit": image.unit}
        facts[str(level)] = about | {"meta": repr(sorted(image.meta.items()))}
        arrays.append(image.read())
        if path.suffix != ".zarr":
            break
    return facts, arrays


def _read_again(at: Path, number: int, change: int | str) -> dict[str, Any]:
    from unmask.errors import UnmaskError

    written = WRITTEN[number]
    draw = np.random.default_rng([SEED, number, _seed(change)])
    source = at / written.name
    path = at / "trials" / f"{number}-{_seed(change)}" / source.name
    _copy(source, path)
    chosen = path if path.is_file() else _chosen(_files(path, "**/*"), draw)
    detail = damage(chosen, change, draw)
    facts, arrays = values_of(source)
    try:
        found, values = values_of(path)
    except UnmaskError as error:
        named = path.name in str(error)
        verdict = "noticed" if named else "unnamed"
        detail = f"{detail}; {error}"
    else:
        verdict = _compared(facts, arrays, found, values)
        if verdict in {"metadata", "spacing"}:
            detail += f"; {facts} became {found}"
        detail += f" ({path.relative_to(at)}, {chosen.relative_to(path.parent)})"
    if verdict in {"noticed", "harmless", "spacing"}:
        shutil.rmtree(path.parent)
    return Verdict(written.group, verdict, detail).json()


def _compared(
    facts: dict[str, Any],
    arrays: Sequence[np.ndarray],
    found: dict[str, Any],
    values: Sequence[np.ndarray],
) -> str:
    alike = len(arrays) == len(values) and all(
        a.shape == b.shape and a.dtype == b.dtype and a.tobytes() == b.tobytes()
        for a, b in zip(arrays, values, strict=False)
    )
    if not alike:
        return "silent"
    if facts == found:
        return "harmless"
    # TIFF and Zarr have no checksum over the voxel size; the values are right.
    plain = [json.dumps(_without_size(each), sort_keys=True) for each in (facts, found)]
    return "spacing" if plain[0] == plain[1] else "metadata"


def _without_size(facts: dict[str, Any]) -> dict[str, Any]:
    size = {"spacing", "unit"}
    return {
        level: {key: value for key, value in about.items() if key not in size}
        if isinstance(about, dict)
        else about
        for level, about in facts.items()
    }


def _resume(at: Path, number: int, kind: str, change: int | str) -> dict[str, Any]:
    state = STATES[number]
    group = state.kinds[kind]
    draw = np.random.default_rng([SEED, 100 + number, len(kind), _seed(change)])
    out = at / "trials" / f"{state.name}-{list(state.kinds).index(kind)}-{_seed(change)}"
    _copy(at / "states" / state.name, out)
    chosen = _chosen(_files(out, kind), draw)
    detail = damage(chosen, change, draw)
    log = out.with_suffix(".log")
    # A run knows its outputs by their times, which a copy keeps; the place is another one.
    code = finish([*state.arguments(at), "--out", out, "--resume"], log, check=False)
    text = log.read_text(errors="replace")
    if "Traceback" in text or code not in {0, 2}:
        verdict, detail = "traceback", f"{detail}; {code}: {text}"
    elif code == 2:
        verdict = "noticed" if str(out) in text else "unnamed"
        detail = f"{detail}; {text}"
    else:
        problems = differences(out, at / "whole" / state.name)
        if "journal" in group:
            problems = [line for line in problems if "journal" not in line]
        verdict = "silent" if problems else "equal"
        detail += f"; {problems[:3]}" if problems else ""
    if verdict in {"noticed", "equal"}:
        shutil.rmtree(out)
    return Verdict(group, verdict, detail).json()


def _end_in_state(at: Path, state: State) -> None:
    """Kill a run as soon as its folder is in the state; nothing is left if it never is."""
    out = at / "states" / state.name
    for _ in range(40):
        shutil.rmtree(out, ignore_errors=True)
        out.parent.mkdir(exist_ok=True)
        log = at / f"{state.name}.state.log"
        pid = start_command([*state.arguments(at), "--out", out], log, small_blocks)
        while not os.waitpid(pid, os.WNOHANG)[0]:
            # The run stands still while its folder is looked at, so that short states are met.
            os.kill(pid, signal.SIGSTOP)
            if state.reached(out):
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)
                return
            os.kill(pid, signal.SIGCONT)
            time.sleep(0.001)
    shutil.rmtree(out, ignore_errors=True)


def _copy(source: Path, target: Path) -> None:
    shutil.rmtree(target, ignore_errors=True)
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        shutil.copytree(source, target)
    else:
        shutil.copy2(source, target)


def _files(folder: Path, pattern: str) -> list[Path]:
    return [path for path in sorted(folder.glob(pattern)) if path.is_file()]


def _chosen(files: Sequence[Path], draw: np.random.Generator) -> Path:
    return files[int(draw.integers(len(files)))]


def _seed(change: int | str) -> int:
    return change if isinstance(change, int) else 1000 + CUTS.index(change)


PART = Part("flips", prepare, trials)
