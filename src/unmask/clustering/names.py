"""Clusters for people: their names, their statistics, and the file that names them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from unmask.atomic import atomic_write
from unmask.clustering.assign import Counts
from unmask.errors import RecipeError, describe_error, message, near_path
from unmask.io import Image, open_labels
from unmask.labels import connected_components
from unmask.plain_text import csv_text
from unmask.space.box import Box
from unmask.yaml_text import key_lines, read_yaml

# Voxels of the middle of a volume in which connected pieces are counted.
_PIECES_VOXELS = 1 << 20
# Digits of a wrong number that a message shows.
_DIGITS = 20
# What a file of names holds, and what to do about another one.
_WHAT = "YAML with lines such as 'nucleus: [3, 5]'"
_CORRECT = "Correct it, or begin with the names.yaml that a run without --names writes."


def read_classes(path: str | Path | None, count: int) -> tuple[np.ndarray, dict[int, str]]:
    """Label of each cluster ``(k,)``, and the name of each label.

    Args:
        path: YAML of names with lists of clusters; None: every cluster is its own label, from 1.
        count: number of clusters.

    Raises:
        RecipeError: not such a YAML, or unknown clusters.
    """
    if path is None:
        labels = np.arange(1, count + 1)
        return labels, {int(label): f"cluster {label}" for label in labels}
    groups = _read_names(Path(path), count)
    labels = np.zeros(count, np.int64)
    names = {0: "background"}
    for name, numbers in groups.items():
        label = 0 if name == "background" else len(names)
        names[label] = name
        labels[[number - 1 for number in numbers]] = label
    return labels, names


def _read_names(path: Path, count: int) -> dict[str, list[int]]:
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        do = f"{near_path(path)}Check the path."
        raise RecipeError(
            message(path, expected="a file of names", found=describe_error(error), do=do)
        ) from error
    except UnicodeDecodeError as error:
        raise RecipeError(
            message(path, expected=_WHAT, found=describe_error(error), do=_CORRECT)
        ) from error
    tree = read_yaml(text, str(path))
    if not isinstance(tree, dict) or not tree:
        raise RecipeError(message(path, expected=_WHAT, found=_kind(tree or None), do=_CORRECT))
    _check_groups(tree, key_lines(text, str(path)), path, count)
    return {
        str(name): value if isinstance(value, list) else [value] for name, value in tree.items()
    }


def _check_groups(
    tree: Mapping[Any, Any], keys: Sequence[tuple[str, int]], path: Path, count: int
) -> None:
    """Refuse numbers of other clusters, and names or clusters that come twice.

    Raises:
        RecipeError: names the line of the file.
    """

    def refuse(line: int, expected: str, found: str) -> RecipeError:
        where = f"{path}, line {line}"
        return RecipeError(message(where, expected=expected, found=found, do=_CORRECT))

    lines: dict[str, int] = {}
    for name, line in keys:
        if name in lines:
            raise refuse(line, "each name once", f"the name of line {lines[name]} again")
        lines[name] = line
    taken: dict[int, int] = {}
    # Names such as 1 and 0x1 are the same one in the tree.
    for line, value in zip(lines.values(), tree.values(), strict=False):
        for number in value if isinstance(value, list) else [value]:
            if type(number) is not int or not 1 <= number <= count:
                raise refuse(line, f"numbers of clusters from 1 to {count}", _kind(number))
            if number in taken:
                found = f"cluster {number}, which line {taken[number]} has too"
                raise refuse(line, "each cluster once", found)
            taken[number] = line


def _kind(value: object) -> str:
    """What a value is. Only numbers are shown: the file may be another one, with any content."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return f"the number {str(value)[:_DIGITS]}"
    kinds = {dict: "entries inside of an entry", list: "a list", str: "text", type(None): "nothing"}
    return kinds.get(type(value), "another value")


def describe(
    image: Image, path: Path, counts: Counts, table: np.ndarray, names: Mapping[int, str]
) -> list[dict[str, Any]]:
    """One row per label: its clusters, share, mean of the normalized input, and pieces."""
    voxels, pieces = counts.voxels, _measure_pieces(path, image.ndim)
    rows: list[dict[str, Any]] = []
    for label, name in names.items():
        mine = table == label
        inside = int(voxels[mine].sum())
        sums = np.nansum(voxels[mine] * np.nan_to_num(counts.intensity[mine]))
        sizes = pieces.get(label, np.zeros(0, np.int64))
        rows.append(
            {
                "volume": image.name,
                "label": label,
                "name": name,
                "clusters": " ".join(str(number + 1) for number in np.flatnonzero(mine)),
                "voxels": inside,
                "share": round(inside / max(1, int(voxels.sum())), 6),
                "mean_intensity": round(float(sums / inside), 6) if inside else "",
                "pieces": len(sizes),
                "median_piece_voxels": float(np.median(sizes)) if len(sizes) else "",
            }
        )
    return rows


def _measure_pieces(path: Path, ndim: int) -> dict[int, np.ndarray]:
    """Sizes of the connected pieces of every label in the middle of a volume."""
    labels = open_labels(path, ndim=ndim)
    space = labels.shape[1:]
    share = min(1.0, (_PIECES_VOXELS / np.prod(space)) ** (1 / ndim))
    size = [max(1, int(n * share)) for n in space]
    start = tuple((n - s) // 2 for n, s in zip(space, size, strict=True))
    part = labels.read(Box(start, tuple(a + s for a, s in zip(start, size, strict=True))))[0]
    # Label 0 has pieces, too: every label is moved up by one.
    pieces = connected_components(part.astype(np.int64) + 1, connectivity=1)
    sizes = np.bincount(pieces.ravel())[1:]
    owner = np.zeros(len(sizes) + 1, np.int64)
    owner[pieces.ravel()] = part.ravel()
    return {int(label): sizes[owner[1:] == label] for label in np.unique(part)}


def format_csv(rows: Sequence[Mapping[str, Any]]) -> str:
    """Rows of equal keys as CSV."""
    return csv_text(rows[0], rows)


def make_template(count: int) -> str:
    """A file of names to be edited by a person."""
    lines = [f"class_{number}: [{number}]" for number in range(1, count + 1)]
    head = (
        "# Look at contact/*.png, rename the classes, join their clusters: 'nucleus: [3, 5]'.\n"
        "# 'background' becomes 0. Apply with --centers clusters.safetensors --names names.yaml.\n"
    )
    return head + "\n".join(lines) + "\n"


def _drop_comments(text: str) -> list[str]:
    return [line for line in text.splitlines() if not line.startswith("#")]


def write_template(path: Path, count: int) -> str:
    """Write a template next to clusters; one that was edited by a person stays.

    Returns:
        A line about a file that stays, else "".
    """
    if path.exists():
        before = path.read_text(encoding="utf-8", errors="replace")
        # Earlier versions wrote other comments.
        if _drop_comments(before) != _drop_comments(make_template(before.count("\nclass_"))):
            return (
                f"{path}: changed by hand, so it stays as it is. Check that its numbers are those "
                f"of these {count} clusters, or remove it and run again for a new template."
            )
    atomic_write(path, make_template(count))
    return ""
