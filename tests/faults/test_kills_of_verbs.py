"""`cluster`, `pretrain`, `train` and `curve` that are killed at any file operation, and resume."""

from __future__ import annotations

import errno
import json
from collections.abc import Callable, Iterator
from itertools import cycle
from pathlib import Path
from typing import Any

import pytest
import torch

from unmask import api
from unmask.apps.curve import Files, Plan, run_curve
from unmask.checkpoint.tensors import read_tensors
from unmask.errors import SaveError

SMALL = ("data.crop=[32, 32]", "data.channels=1", "train.batch_size=1", "train.precision='32'",
         "infer.precision='32'", "train.steps=3", "train.save_every=2")  # fmt: skip
CONV = (*SMALL, "model.backbone={name: resunet, width: 4, depth: 2}")
VIT = (*SMALL, "model.backbone={name: vit, patch: [8, 8], dim: 24, depth: 1, heads: 2}")
NUMBERS = [errno.ENOSPC, errno.EIO, errno.EACCES, errno.EROFS]

Run = Callable[..., object]


@pytest.fixture(scope="module")
def encoder(tmp_path_factory, phantoms) -> Path:
    run = tmp_path_factory.mktemp("encoder") / "run"
    api.pretrain("mae2d", images=phantoms[2] / "images", out=run, settings=VIT)
    return run


@pytest.fixture
def runs(phantoms, encoder) -> dict[str, Run]:
    """By verb: ``run(out, resume=...)``."""
    images, classes = phantoms[2] / "images", phantoms[2] / "classes"
    few = [str(path) for path in sorted(images.iterdir())[:2]]

    def cluster(out: Path, *, resume: bool = False) -> None:
        options = api.ClusterOptions(quality="draft", resume=resume)
        api.cluster(encoder, few, out=out, classes=3, options=options, say=lambda _: None)

    def pretrain(out: Path, *, resume: bool = False) -> None:
        api.pretrain("mae2d", images=images, out=out, settings=VIT, resume=resume)

    def train(out: Path, *, resume: bool = False) -> None:
        settings = (*CONV, "task.classes=2")
        given: dict[str, Any] = {"images": images, "labels": classes, "settings": settings}
        api.train("semantic2d", out=out, resume=resume, **given)

    def curve(out: Path, *, resume: bool = False) -> None:
        plan = Plan(counts=(1,), repeats=2, settings=(*CONV, "task.classes=2"))
        files = Files([str(images)], [str(classes)], None, None, None)
        run_curve("semantic2d", files, out=out, plan=plan, resume=resume, say=lambda _: None)

    return {"cluster": cluster, "pretrain": pretrain, "train": train, "curve": curve}


def result(out: Path) -> dict[str, Any]:
    """What is compared of all that a verb writes: times and event files are not."""
    found: dict[str, Any] = {}
    for path in sorted(path for path in out.rglob("*") if path.is_file()):
        name = path.relative_to(out).as_posix()
        if path.suffix == ".safetensors":
            found[name] = {key: tensor.tolist() for key, tensor in read_tensors(path)[0].items()}
        elif path.name == "journal.jsonl":
            lines = map(json.loads, path.read_text().splitlines())
            found[name] = [{k: v for k, v in x.items() if k != "samples_per_second"} for x in lines]
        elif path.suffix in (".tif", ".csv", ".png", ".yaml") and path.name != "curve.png":
            found[name] = path.read_bytes()
        elif "tfevents" not in path.name:
            found[name] = None
    return found


def fresh(tmp_path: Path) -> Iterator[Path]:
    number = 0
    while True:
        number += 1
        out = tmp_path / str(number)
        out.mkdir()
        yield out


@pytest.mark.parametrize(
    ("verb", "quick"),
    [
        ("cluster", 8),
        ("pretrain", 5),
        ("train", 5),
        pytest.param("curve", 5, marks=pytest.mark.slow),
        pytest.param("cluster", 40, marks=pytest.mark.slow),
        pytest.param("train", 20, marks=pytest.mark.slow),
    ],
)
@pytest.mark.filterwarnings("ignore:.*is damaged", "ignore:.*taken over")
def test_a_killed_verb_goes_on(tmp_path, faults, runs, verb, quick):
    run, folders = runs[verb], fresh(tmp_path)
    torch.manual_seed(0)
    with faults.watched(whole := next(folders)) as disk:
        run(whole)
    expected, calls = result(whole), len(disk.calls)
    assert calls > 20
    for nth in range(calls, 0, -max(1, calls // quick)):
        out = next(folders)
        with faults.killed(out, nth):
            run(out)
        run(out, resume=True)
        found = result(out)
        if verb == "curve":
            # A training whose model is complete is not resumed for its last snapshot or report.
            found = {name: value for name, value in found.items() if _is_needed(name)}
            expected = {name: expected[name] for name in expected if _is_needed(name)}
        assert found == expected, nth


def _is_needed(name: str) -> bool:
    return "snapshots" not in name and not name.endswith("report.html")


@pytest.mark.filterwarnings(
    "ignore:.*taken over",
    # TensorBoard writes in a thread of its own.
    "ignore::pytest.PytestUnhandledThreadExceptionWarning",
)
@pytest.mark.parametrize("verb", ["cluster", "train"])
def test_an_error_of_the_disk_is_explained(tmp_path, faults, runs, verb):
    run, folders = runs[verb], fresh(tmp_path)
    with faults.watched(whole := next(folders), writes=True) as disk:
        run(whole)
    expected, calls = result(whole), len(disk.calls)
    told: list[str] = []
    for nth, number in zip(range(calls, 0, -max(1, calls // 9)), cycle(NUMBERS), strict=False):
        out = next(folders)
        try:
            with faults.failing(out, nth, number, lasting=number == errno.ENOSPC):
                run(out)
        except SaveError as error:
            told.append(str(error))
            assert str(out) in told[-1]
            assert "MB free" in told[-1]
        run(out, resume=True)
        found = result(out)
        # A journal that could not be written lacks lines, and a picture is not drawn again.
        for name in expected:
            if name == "journal.jsonl" or name.startswith("pictures/"):
                found[name] = expected[name]
        assert expected == found, nth
    assert len(told) >= 3
