"""Contract of a source of weights: one value for each published program.

A source says how its files are laid out, which recipe the tensors ask for, and what each entry is
called here. Modules of ours keep the published names, so that renaming is a change of prefixes.
To add one, write ``SOURCE = Source(...)`` into a file of this folder and name it in
``official.SOURCES``; ``mediar.py`` is an example of a segmenter, ``tokens.py`` serves transformers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from unmask.recipe import Recipe
from unmask.renamed import accept_former_names

Entries = Mapping[str, Tensor]


@accept_former_names(licence="license")
@dataclass(frozen=True)
class Source:
    """How to read the files of one published program.

    Attributes:
        title: the program and its paper, for messages.
        license: of the program; its weights may have another.
        unpack: the state dict of an opened file, by published names without wrappers' prefixes.
        belongs: whether entries look like this program's, by names and shapes; never raises.
        recipe: the recipe that the entries' sizes ask for. What tensors do not show and is not
            known stays None, or 0 in ``data.crop``; then the user is asked to set it.
        renamed: our name of an entry, None for what is not needed here. Ours begin with
            ``backbone.``, ``decoder.``, ``head.`` or an entry of the pre-training method.
        build: the network of a recipe.
        outputs: a module whose call on a batch of images gives the program's own outputs.
        optional: whether everything but the backbone may be missing together.
    """

    title: str
    license: str
    unpack: Callable[[Mapping[str, Any]], Entries]
    belongs: Callable[[Entries], bool]
    recipe: Callable[[Entries], Recipe]
    renamed: Callable[[str], str | None]
    build: Callable[[Recipe], nn.Module]
    outputs: Callable[[nn.Module], nn.Module]
    optional: bool = False


def state_dict(
    tree: Mapping[str, Any], *, groups: Sequence[str] = (), prefixes: Sequence[str] = ("module.",)
) -> dict[str, Tensor]:
    """The tensors of an opened file: of the first of ``groups`` that it has, or of its top level.

    Args:
        tree: nested dict of tensors and plain values.
        groups: names under which programs keep their state dict, in order of preference.
        prefixes: beginnings of names that wrappers add; removed wherever they stand.
    """
    found: Mapping[str, Any] = tree
    for group in groups:
        if isinstance(tree.get(group), Mapping):
            found = tree[group]
            break
    entries: dict[str, Tensor] = {}
    for name, value in found.items():
        for prefix in prefixes:
            name = name.removeprefix(prefix)
        if isinstance(value, Tensor):
            entries[name] = value
    return entries


def count(entries: Entries, pattern: str, *, start: int = 0) -> int:
    """How many modules are numbered on from ``start``; ``pattern`` such as ``"blocks.{}."``."""
    number = start
    while any(name.startswith(pattern.format(number)) for name in entries):
        number += 1
    return number - start
