"""Write the images of a data set: everything is checked and complete, or nothing is there."""

from __future__ import annotations

import contextlib
import inspect
import shlex
import tempfile
from collections import Counter
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from unmask.atomic import save_error
from unmask.data.tables import CLASS, NAME, write_table
from unmask.datasets.dataset import DataSet, Item, Size
from unmask.errors import DataError, SaveError, message, raise_problems
from unmask.progress import Progress

_PARTIAL = "or take it as it is: --set partial=true."


@dataclass(frozen=True)
class Prepared:
    """What was written.

    Attributes:
        counts: number of images of each part.
        command: the command that trains on them, if there is a part for training.
    """

    counts: dict[str, int]
    command: str | None


def write_set(
    dataset: DataSet,
    archive: Path,
    out: Path,
    *,
    partial: bool = False,
    options: Mapping[str, Any],
    progress: Progress | None = None,
) -> Prepared:
    """Write all parts of a set, and a README.

    Args:
        dataset: the set.
        archive: folder of the unpacked archive.
        out: receives the parts; must not hold them yet.
        partial: accept other numbers and sizes than the published ones.
        options: options of the set.
        progress: called with (images done, images in all).

    Raises:
        DataError: the archive is not what it should be; all problems at once.
        SaveError: ``out`` cannot be written, or holds the parts already.
    """
    own = dict(options)
    if "partial" in inspect.signature(dataset.find).parameters:
        own["partial"] = partial
    items = dataset.find(archive, **own)
    _check_names(items, archive)
    found = Counter(item.part for item in items)
    counts = {part: found[part] for part in sorted(found, key=_order)}
    if not partial:
        check_counts(dataset, counts, archive)
    check_new(out, [*counts, "README.md"])
    with scratch_folder(out, "prepared") as folder, _reporting(out):
        _write_items(items, folder, () if partial else dataset.sizes, progress)
        _write_classes(items, folder)
        command = training_command(dataset, counts, out, archive)
        text = describe(dataset, counts, options, command)
        (folder / "README.md").write_text(text, encoding="utf-8")
        for name in (*counts, "README.md"):
            (folder / name).rename(out / name)
    return Prepared(counts, command)


def check_counts(dataset: DataSet, counts: Mapping[str, int], archive: Path) -> None:
    """Compare numbers of images with the published ones.

    Raises:
        DataError: all parts with another number.
    """
    problems = []
    for parts, accepted in dataset.counts.items():
        count = sum(counts.get(part, 0) for part in parts.split("+"))
        if count not in accepted:
            problems.append(
                message(
                    f"{archive}, {parts.replace('+', ' and ')}",
                    expected=f"{_either(accepted)} images, as published",
                    found=f"{count}",
                    do=f"Get all files of {dataset.name} ({dataset.archive}), {_PARTIAL}",
                )
            )
    raise_problems(problems)


def check_new(out: Path, names: Sequence[str]) -> None:
    """Refuse a folder that holds parts of an earlier set, which would mix with these.

    Raises:
        SaveError: it does.
    """
    found = [name for name in names if (out / name).exists()]
    if found:
        raise SaveError(
            message(
                out,
                expected="a new or empty folder",
                found=", ".join(found),
                do="Choose another --out, or remove them.",
            )
        )


@contextlib.contextmanager
def scratch_folder(out: Path, what: str) -> Generator[Path, None, None]:
    """Give a folder inside of ``out`` that is removed at the end, with ``out`` if that is empty.

    Raises:
        SaveError: it cannot be made.
    """
    made = [each for each in (out, *out.parents) if not each.exists()]
    try:
        out.mkdir(parents=True, exist_ok=True)
        scratch = tempfile.TemporaryDirectory(prefix=f".{what}-", dir=out)
    except OSError as error:
        raise SaveError(
            f"{out}: expected a folder that can be written, found: {error.strerror}. Choose "
            "another --out."
        ) from error
    try:
        with scratch as folder:
            yield Path(folder)
    finally:
        for each in made:
            with contextlib.suppress(OSError):
                each.rmdir()


def describe(
    dataset: DataSet, counts: Mapping[str, int], options: Mapping[str, Any], command: str | None
) -> str:
    """Make the text of the README: what it is, whose it is, and how to train on it."""
    parts = "\n".join(f"| `{part}` | {count} |" for part, count in counts.items())
    chosen = ", ".join(f"{key}={value}" for key, value in options.items()) or "none"
    lines = [
        f"# {dataset.title}",
        f"Written by `unmask prepare {dataset.name}` from the archive of its owners.",
        f"- License: {dataset.license}\n- Cite: {dataset.citation}\n- Source: {dataset.source}\n"
        f"- Options: {chosen}",
        f"| part | images |\n|---|---|\n{parts}",
    ]
    lines += [dataset.notes] if dataset.notes else []
    lines += [f"```\n{command}\n```"] if command else []
    return "\n\n".join(lines) + "\n"


def training_command(
    dataset: DataSet, counts: Mapping[str, int], out: Path, archive: Path
) -> str | None:
    """Make the command that trains the preset of the set; None without a part for training.

    Without a preset the command makes a plan from the images.
    """
    if "train" not in counts:
        return None
    folder = {part: out / part for part in ("train", "val")}
    words = ["unmask", dataset.verb, folder["train"] / "images"]
    words += ["--preset", dataset.preset] if dataset.preset else []
    if dataset.verb == "train":
        labels = "classes.csv" if dataset.classes else "labels"
        words += ["--labels", folder["train"] / labels]
        if "val" in counts:
            words += ["--val-images", folder["val"] / "images"]
            words += ["--val-labels", folder["val"] / labels]
    more = dataset.more(archive) if callable(dataset.more) else dataset.more
    words += [*more, "--out", f"runs/{dataset.name}"]
    return shlex.join(map(str, words))


def _order(part: str) -> tuple[int, str]:
    """Sort key: train, val, test, then the others."""
    known = ("train", "val", "test")
    return known.index(part) if part in known else len(known), part


def _check_names(items: Sequence[Item], archive: Path) -> None:
    twice = [
        f"{part}/{name}"
        for (part, name), count in Counter((each.part, each.name) for each in items).items()
        if count > 1
    ]
    if twice:
        raise DataError(
            message(
                archive,
                expected="every image once",
                found=f"{len(twice)} several times ({', '.join(twice[:5])})",
                do="Unpack the archive into a folder of its own.",
            )
        )


def _write_items(
    items: Sequence[Item], folder: Path, sizes: Sequence[Size], progress: Progress | None
) -> None:
    problems: list[str] = []
    for number, item in enumerate(items, 1):
        try:
            size = item.write(folder / item.part, item.name)
        except DataError as error:
            problems += error.problems
            continue
        if size is not None and sizes and not any(_fits(size, each) for each in sizes):
            problems.append(
                message(
                    f"{item.part}/{item.name}",
                    expected=f"a size of {_either([_text(each) for each in sizes])}, as published",
                    found=_text(size),
                    do=f"Get the official files, {_PARTIAL}",
                )
            )
        if progress is not None:
            progress(number, len(items))
    raise_problems(problems)


def _write_classes(items: Sequence[Item], folder: Path) -> None:
    parts: dict[str, list[dict[str, str]]] = {}
    for item in items:
        if item.label is not None:
            parts.setdefault(item.part, []).append({NAME: item.name, CLASS: item.label})
    for part, rows in parts.items():
        write_table(folder / part / "classes.csv", rows)


@contextlib.contextmanager
def _reporting(out: Path) -> Generator[None, None, None]:
    try:
        yield
    except SaveError:
        raise
    except OSError as error:
        raise save_error(out, error, "Nothing was written. ") from error


def _fits(size: tuple[int, ...], published: Size) -> bool:
    return len(size) == len(published) and all(
        length is None or length == found for length, found in zip(published, size, strict=True)
    )


def _text(size: Size) -> str:
    return " x ".join("any" if length is None else str(length) for length in size)


def _either(values: Sequence[Any]) -> str:
    *first, last = map(str, values)
    return f"{', '.join(first)} or {last}" if first else last
