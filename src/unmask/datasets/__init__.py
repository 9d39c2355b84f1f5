"""Public data sets: from their own archives to folders of images, labels and splits.

Each set is one module with a `DataSet` named ``SET``. Nothing is downloaded: the archives come from
their owners, under their terms.
"""

from __future__ import annotations

import contextlib
import difflib
import importlib
import inspect
from collections.abc import Generator, Iterable, Sequence
from pathlib import Path
from typing import Any

from unmask.datasets.archives import unpack_archives
from unmask.datasets.dataset import DataSet
from unmask.datasets.writing import Prepared, write_set
from unmask.errors import DataError, RecipeError, gather, message
from unmask.options import check_options
from unmask.progress import Progress
from unmask.wording import format_count
from unmask.yaml_text import read_yaml

NAMES = (
    "ac34",
    "amos22",
    "bbbc039",
    "betaseg",
    "brats21",
    "btcv",
    "cc_ccii",
    "cellpose",
    "covid19_20",
    "cremi",
    "cvppp",
    "decathlon",
    "dsb2018",
    "glmae_pretraining",
    "isbi2012",
    "livecell",
    "luna16",
    "mediar_public",
    "mitoem",
    "mmwhs",
    "monuseg",
    "neurips_cellseg",
    "nucmm",
    "omnipose",
    "pets",
    "spleen",
    "tcia_covid19",
    "tissuenet",
    "word",
)


def find_set(name: str) -> DataSet:
    """Look up a data set by name.

    Raises:
        RecipeError: there is no such set; the nearest one is named.

    Examples:
        >>> find_set("bbbc039").license
        'CC0 1.0'
    """
    if name not in NAMES:
        near = difflib.get_close_matches(name, NAMES, n=1)
        hint = f"Did you mean {near[0]!r}?" if near else "`unmask prepare` lists them."
        raise RecipeError(f"{name}: expected a data set ({', '.join(NAMES)}), found none. {hint}")
    return importlib.import_module(f"unmask.datasets.{name}").SET


def set_options(dataset: DataSet) -> dict[str, Any]:
    """The options of a set with their defaults; ``partial`` is one of every set."""
    parameters = inspect.signature(dataset.find).parameters
    own = {
        name: each.default for name, each in parameters.items() if each.kind is each.KEYWORD_ONLY
    }
    return own | {"partial": False}


def prepare(
    name: str,
    archives: Sequence[str | Path],
    *,
    out: str | Path,
    settings: Iterable[str] = (),
    progress: Progress | None = None,
) -> Prepared:
    """Turn the archives of a data set into folders of images, labels and splits.

    Args:
        name: one of ``NAMES``.
        archives: the folder of the unpacked archive, or its files as they are downloaded.
        out: receives ``train``, ``val`` and ``test`` with ``images`` and ``labels``, as far as the
            set has them, and a README. It is complete, or nothing of it is there.
        settings: options of the set as ``KEY=VALUE``, see `set_options`.
        progress: called with (images done, images in all).

    Returns:
        The number of images of each part, and the command that trains on them.

    Raises:
        RecipeError: there is no such set or option.
        DataError: the archive is not what it should be; all problems at once.
        SaveError: the output cannot be written.
    """
    dataset = find_set(name)
    options = _options(dataset, settings)
    partial = options.pop("partial", False)
    with unpack_archives([Path(path) for path in archives], Path(out)) as (folder, temporary):
        if temporary and "copy" in set_options(dataset):
            # Links would point to files that are about to be removed.
            options["copy"] = True
        with _named_as_given(folder, archives) if temporary else contextlib.nullcontext():
            return write_set(
                dataset, folder, Path(out), partial=partial, options=options, progress=progress
            )


@contextlib.contextmanager
def _named_as_given(folder: Path, archives: Sequence[str | Path]) -> Generator[None, None, None]:
    """Name files in messages by their place in the archives, not in the folder for unpacking."""
    given = ", ".join(map(str, archives))

    def name(text: str) -> str:
        return text.replace(f"{folder}/", "").replace(str(folder), given)

    try:
        yield
    except DataError as error:
        problems = [name(each) for each in error.problems]
        text = name(str(error))
        # A message on the list of a user, for example, is not about the archives.
        unnamed = str(folder) in str(error) and given not in text
        if unnamed and len(problems) == 1:
            subject, colon, rest = problems[0].partition(": ")
            text = f"{subject} in {given}{colon}{rest}"
            problems = [text]
        elif unnamed:
            heading = f"{format_count(len(problems), 'problem')} found in {given}:"
            text = gather(problems, heading=heading)
        raise DataError(text, problems) from error


def submit(name: str, predicted: str | Path, *, out: str | Path) -> list[str]:
    """Write the file that the website of a challenge takes.

    Args:
        name: a set with a submission file.
        predicted: folder of label images.
        out: the file.

    Returns:
        The names of the images.

    Raises:
        RecipeError: the set has no submission file.
        DataError: the label images do not fit the challenge; all problems at once.
        SaveError: the file cannot be written.
    """
    dataset = find_set(name)
    if dataset.submit is None:
        able = [each for each in NAMES if find_set(each).submit is not None]
        raise RecipeError(
            message(
                f"--submission of {name}",
                expected=f"a set with a submission file ({', '.join(able)})",
                found="none",
                do="Follow the instructions of its owners.",
            )
        )
    return dataset.submit(Path(predicted), Path(out))


def _options(dataset: DataSet, settings: Iterable[str]) -> dict[str, Any]:
    known = set_options(dataset)
    options: dict[str, Any] = {}
    for line in settings:
        key, equals, text = line.partition("=")
        if not equals or key not in known:
            near = difflib.get_close_matches(key, known, n=1, cutoff=0.3)
            hint = f"Did you mean {near[0]!r}?" if near else "Leave it out."
            raise RecipeError(
                f"--set {line}: expected KEY=VALUE with one of the options of {dataset.name} "
                f"({', '.join(known)}), found another. {hint}"
            )
        options[key] = read_yaml(text, f"--set {line}"[:200])

    def shared(*, partial: bool = False) -> None:
        """The options of every set."""

    label = f"data set {dataset.name!r}"
    return check_options(dataset.find, options, label) | check_options(
        shared, {key: value for key, value in options.items() if key == "partial"}, label
    )
