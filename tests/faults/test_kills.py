"""`predict` and `cluster` that are killed, or lose power, at any file operation, and resume.

The labels and scores are those of an undisturbed run, nothing is refused, nothing is left over.
"""

from __future__ import annotations

import errno
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path

import pytest

from unmask.api.prediction import Options, predict_files
from unmask.errors import SaveError
from unmask.io import list_files, open_image, save_image
from unmask.phantoms.cells import write_set

BLOCKS = ("infer.block=[30, 30]", "infer.tile=[16, 16]")
NUMBERS = [errno.ENOSPC, errno.EIO, errno.EACCES, errno.EROFS]
FEW_WINDOWS = (*BLOCKS, "infer.overlap=0.0")


@dataclass(frozen=True)
class Case:
    """A request."""

    suffix: str
    settings: tuple[str, ...] = ()
    scores: bool = False
    count: int = 1


CASES = {
    "tiff": Case(".tif", count=2),
    "zarr and scores": Case(".zarr", scores=True),
    "blocks, tiff": Case(".tif", FEW_WINDOWS),
    "blocks, tiff and scores": Case(".tif", BLOCKS, scores=True),
    "blocks, zarr": Case(".zarr", FEW_WINDOWS),
    "blocks, zarr and scores": Case(".zarr", BLOCKS, scores=True),
}


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> dict[tuple[str, int], Path]:
    """Images by suffix and number."""
    root = tmp_path_factory.mktemp("killed")
    written = write_set(root / "phantoms", "nuclei", shape=(48, 40), count=2, seed=1)
    found = {}
    for suffix in (".tif", ".zarr"):
        for count in (1, 2):
            found[suffix, count] = folder = root / f"{count}{suffix[1:]}"
            for path in list_files(written / "images")[:count]:
                image = open_image(path)
                save_image(folder / f"{image.name}{suffix}", image.read(), like=image)
    return found


@dataclass(frozen=True)
class Request:
    """A prediction into ``out``, and what it gives undisturbed."""

    out: Path
    run: Callable[..., object]
    whole: dict[str, bytes]
    calls: int

    def fresh(self) -> None:
        shutil.rmtree(self.out, ignore_errors=True)
        self.out.mkdir()


@pytest.fixture
def request_of(tmp_path, trained, folders, faults) -> Callable[[str], Request]:
    def make(name: str) -> Request:
        case, out = CASES[name], tmp_path / "out"

        def run(*, resume: bool = False) -> None:
            predict_files(
                trained[2],
                folders[case.suffix, case.count],
                out=out,
                settings=case.settings,
                options=Options(scores=case.scores, resume=resume, overwrite=not resume),
                say=lambda _: None,
            )

        out.mkdir()
        with faults.watched(out) as disk:
            run()
        return Request(out, run, content(out), len(disk.calls))

    return make


def content(folder: Path) -> dict[str, bytes]:
    """All files below a folder."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def assert_as_whole(request: Request) -> None:
    found = content(request.out)
    assert found.keys() == request.whole.keys()
    assert [name for name, data in found.items() if data != request.whole[name]] == []


def moments(request: Request, *, quick: int) -> range:
    """Some operations, spread over the run, the last ones among them."""
    return range(request.calls, 0, -max(1, request.calls // quick))


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("quick", [5, pytest.param(25, marks=pytest.mark.slow)])
def test_a_killed_prediction_goes_on(request_of, faults, name, quick):
    request = request_of(name)
    for nth in moments(request, quick=quick):
        request.fresh()
        with faults.killed(request.out, nth):
            request.run()
        request.run(resume=True)
        assert_as_whole(request)


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("ordered", [True, False])
@pytest.mark.parametrize("quick", [3, pytest.param(12, marks=pytest.mark.slow)])
@pytest.mark.filterwarnings("ignore:.*computed again", "ignore:.*is damaged")
def test_a_prediction_outlives_a_power_cut(request_of, faults, name, ordered, quick):
    request = request_of(name)
    for nth in moments(request, quick=quick):
        request.fresh()
        with faults.power_cut(request.out, nth, ordered=ordered):
            request.run()
        request.run(resume=True)
        assert_as_whole(request)


@pytest.mark.parametrize("name", CASES)
def test_an_error_of_the_disk_is_explained(request_of, faults, name):
    """Exit code 2 comes from ``SaveError``; what was there before is untouched."""
    request = request_of(name)
    told: list[str] = []
    for nth, number in zip(moments(request, quick=8), cycle(NUMBERS), strict=False):
        request.fresh()
        lasting = number in (errno.ENOSPC, errno.EROFS)
        try:
            with faults.failing(request.out, nth, number, lasting=lasting):
                request.run()
        except SaveError as error:
            # Some errors are harmless, such as that of removing a temporary file.
            told.append(str(error))
        request.run(resume=True)
        assert_as_whole(request)
    assert len(told) >= 3
    assert all(str(request.out) in each and "MB free" in each for each in told)


@pytest.mark.parametrize("name", ["blocks, zarr and scores", "zarr and scores"])
def test_older_outputs_outlive_a_kill(request_of, faults, name):
    """A second run over finished outputs: at every moment the old or the new ones are there."""
    request = request_of(name)
    for nth in moments(request, quick=6):
        with faults.killed(request.out, nth):
            request.run()
        request.run(resume=True)
        assert_as_whole(request)


def test_lost_and_damaged_chunks_are_computed_again(request_of, faults):
    """After a kill while blocks are labeled, the stored scores are damaged."""
    request = request_of("blocks, zarr and scores")
    for spoil in (Path.unlink, lambda path: path.write_bytes(bytes(9))):
        request.fresh()
        with faults.killed(request.out, request.calls):
            request.run()
        chunks = [
            path for path in request.out.glob(".predict/*/scores.zarr/c/**/*") if path.is_file()
        ]
        for path in request.out.rglob("block-*"):
            path.unlink()
        for path in chunks[:1]:
            spoil(path)
        request.run(resume=True)
        assert_as_whole(request)
