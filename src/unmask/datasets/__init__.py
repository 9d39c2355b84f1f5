"""Public data sets: from their own archives to folders of images, labels and splits.

Each set is one module with a `DataSet` named ``SET``. Nothing is downloaded: the archives come from
their owners, under their terms.
"""

from __future__ import annotations

import difflib
import importlib
import inspect
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from unmask.datasets.archives import unpack_archives
from unmask.datasets.dataset import DataSet
from unmask.errors import RecipeError
from unmask.options import check_options
from unmask.yaml_text import read_yaml

NAMES = (
    "ac34",
    "amos22",
    "bbbc039",
    "betaseg",
    "brats21",
    "btcv",
    "cc_ccii",
    "covid19_20",
    "cvppp",
    "mmwhs",
    "pets",
    "spleen",
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
    """The options of a set with their defaults."""
    parameters = inspect.signature(dataset.prepare).parameters
    return {
        name: each.default for name, each in parameters.items() if each.kind is each.KEYWORD_ONLY
    }


def prepare(
    name: str, archives: Sequence[str | Path], *, out: str | Path, settings: Iterable[str] = ()
) -> dict[str, int]:
    """Turn the archives of a data set into folders of images, labels and splits.

    Args:
        name: one of ``NAMES``.
        archives: the folder of the unpacked archive, or its zip or tar files.
        out: receives ``train``, ``val`` and ``test`` with ``images`` and ``labels``, as far as the
            set has them.
        settings: options of the set as ``KEY=VALUE``, see `set_options`.

    Returns:
        The number of images of each part.

    Raises:
        RecipeError: there is no such set or option.
        DataError: the archive is not what it should be; all problems at once.
        SaveError: the output cannot be written.
    """
    dataset = find_set(name)
    options = _options(dataset, settings)
    with unpack_archives([Path(path) for path in archives], Path(out)) as (folder, temporary):
        if temporary and "copy" in set_options(dataset):
            # Links would point to files that are about to be removed.
            options["copy"] = True
        return dataset.prepare(folder, Path(out), **options)


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
                f"({', '.join(known) or 'none'}), found another. {hint}"
            )
        options[key] = read_yaml(text, f"--set {line}"[:200])
    return check_options(dataset.prepare, options, f"data set {dataset.name!r}")
