"""Folders of outputs: they never lie where an output would replace or become an input."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from unmask.data.pairing import Pair, Paths
from unmask.errors import DataError, SaveError, message, raise_problems
from unmask.io import output_name
from unmask.io.inputs import ArrayInput, as_inputs
from unmask.io.paths import images_in, locate
from unmask.wording import format_count


def refuse_inside(out: str | Path, *inputs: Paths | None) -> None:
    """Refuse a folder of outputs inside a folder of images or labels.

    What a run writes there would be taken for images the next time. Files and globs say nothing of
    the folder around them, so only folders that were given count.

    Raises:
        DataError: the folder is inside, or is, one of the inputs.
    """
    target = Path(out).resolve()
    for given in inputs:
        for path in () if given is None else as_inputs(given):
            if isinstance(path, ArrayInput) or not Path(path).is_dir():
                continue
            folder = Path(path).resolve()
            if folder == target or folder in target.parents:
                raise DataError(
                    message(
                        out,
                        expected="a folder of its own for the run",
                        found=f"one inside {path}, where images or labels are",
                        do="Choose another --out, next to that folder.",
                    )
                )


def keep_results(paths: Sequence[Path], out: Path, *, kept: bool = True) -> None:
    """Refuse to replace the results of an earlier run.

    Args:
        paths: files and folders that will be written.
        out: their folder.
        kept: False: they may be replaced.

    Raises:
        DataError: some of the outputs are there already.
    """
    there = [path for path in paths if path.exists()]
    if there and kept:
        raise DataError(
            message(
                out,
                expected="no results of these images yet",
                # Tables of all images are outputs too, so these are no numbers of images.
                found=f"{len(there)} of {format_count(len(paths), 'output')}, such as {there[0]}",
                do="Give --overwrite to replace them, --resume to continue a run that has ended "
                "early, or another --out.",
            )
        )


def mixed_note(pairs: Sequence[Pair], outputs: Sequence[Path], out: Path) -> list[str]:
    """A note if labels without an ending of their own will lie among images.

    Later commands would take them for images.
    """
    written = {locate(path).path.suffix for path in outputs}
    inputs = {locate(pair.image.source).path.resolve().parent for pair in pairs}
    others = [path for path in images_in(out) if path.suffix not in written] if out.is_dir() else []
    if out.resolve() not in inputs and not others:
        return []
    return [
        f"note: {out} holds images, and the labels lie among them, where later commands take them "
        "for images. Choose another --out, or tell labels by their name with --label-ending "
        "_masks.tif."
    ]


def keep_inputs(
    pairs: Sequence[Pair], out: Path, *, resume: bool = False, ending: str | None = None
) -> None:
    """Make the folder of the outputs; refuse outputs that would overwrite inputs.

    A link to an input is the input. In a folder of images nothing that was there is replaced: it
    may be an image of another suffix.

    Raises:
        DataError: every such input at once.
        SaveError: there can be no such folder.
    """
    inputs = {locate(pair.image.source).path.resolve() for pair in pairs}
    among_inputs = out.resolve() in {path.parent for path in inputs} and not resume
    problems: list[str] = []
    for pair in pairs:
        path = output_name(pair.image, out, ending)
        if path.resolve() in inputs:
            problems.append(
                f"{pair.image.source}: expected an output apart from the inputs, found that {path} "
                "is one of them and would be overwritten. Choose another --out."
            )
        elif among_inputs and path.exists():
            problems.append(
                f"{pair.image.source}: expected no file of the output's name in the folder of the "
                f"images, found {path}. Choose another --out, or move that file."
            )
    raise_problems(problems)
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SaveError(
            f"{out}: expected a folder that can be written, found: {error.strerror}. "
            "Check the permissions, or choose another --out."
        ) from error
