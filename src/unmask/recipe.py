"""A run as one frozen, validated value: YAML in and out, ``--set a.b=c``, JSON Schema.

A recipe knows no component: it stores names with options, and a component's options are the
arguments of its constructor.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

from pydantic import BaseModel, Field, ValidationError, model_validator

from unmask.errors import RecipeError, gather, near_path
from unmask.recipe_repair import replace_old_options, without_wrong
from unmask.recipe_sections import (
    MAX_SCALE,
    DataRecipe,
    InferRecipe,
    ModelRecipe,
    Part,
    ReplayRecipe,
    Section,
    TrainRecipe,
)
from unmask.recipe_text import describe_wrong, kind_at, with_texts
from unmask.yaml_text import read_texts, read_yaml, tree_problems, write_yaml

__all__ = [
    "MAX_SCALE",
    "DataRecipe",
    "InferRecipe",
    "ModelRecipe",
    "Part",
    "Recipe",
    "RecipeLike",
    "ReplayRecipe",
    "TrainRecipe",
    "check_settings",
    "load",
    "parse",
    "presets",
]

_MAX_BYTES = 1_000_000
_SHOWN = 20
# Name of recipes that were planned from images. It says nothing about the model.
PLANNED = "plan"


class Recipe(Section):
    """Everything that defines a run; ``method`` pre-trains, ``task`` fine-tunes."""

    name: str = Field(default=..., description="Name of the recipe.")
    description: str = Field(default="", description="What the recipe is for.")
    data: DataRecipe
    model: ModelRecipe
    method: Part | None = Field(
        default=None, description="How to pre-train, such as mae or spark. Give it or task."
    )
    task: Part | None = Field(
        default=None, description="What to segment, such as flows or semantic. Give it or method."
    )
    train: TrainRecipe
    infer: InferRecipe = InferRecipe()

    @model_validator(mode="after")
    def _parts_fit(self) -> Recipe:
        if (self.method is None) == (self.task is None):
            raise ValueError("give either method (pre-training) or task (fine-tuning), not both")
        if self.train.folds == 1:
            raise ValueError("train.folds=1 trains on nothing; give 2 or more, or 0 for none")
        if self.train.folds and self.method is not None:
            raise ValueError("train.folds is for training with labels")
        if self.data.sections is not None and self.method is None:
            raise ValueError("data.sections is for pre-training only; labels need whole crops")
        ndim = self.data.ndim
        axes = ndim + (self.data.sections is not None)
        if self.data.spacing is not None and len(self.data.spacing) != axes:
            raise ValueError(
                f"data.spacing={self.data.spacing} has {len(self.data.spacing)} axes, "
                f"images have {axes}"
            )
        if self.infer.tile is not None and len(self.infer.tile) != ndim:
            raise ValueError(
                f"infer.tile={self.infer.tile} has {len(self.infer.tile)} axes, "
                f"data.crop={self.data.crop} has {ndim}"
            )
        for name, scale in (("data.scale", self.data.scale), ("infer.scale", self.infer.scale)):
            if isinstance(scale, tuple) and len(scale) != ndim:
                raise ValueError(
                    f"{name}={scale} has {len(scale)} axes, data.crop={self.data.crop} has "
                    f"{ndim}; give one number, or one per axis"
                )
        views = () if isinstance(self.infer.tta, bool) else self.infer.tta
        if any(not 0 <= axis < ndim for axes in views for axis in axes):
            raise ValueError(f"infer.tta={self.infer.tta} names axes outside 0 .. {ndim - 1}")
        return self

    def __repr__(self) -> str:
        part = self.task or self.method
        crop = " x ".join(map(str, self.data.crop))
        return (
            f"Recipe({self.name!r}: {part.name if part else None}, {self.model.backbone.name}, "
            f"{crop}, {self.train.steps} updates)"
        )

    __str__ = __repr__

    def with_settings(self, settings: Iterable[str]) -> Recipe:
        """Apply ``a.b=value`` settings; values are read as YAML.

        Raises:
            RecipeError: an unknown field (the nearest one is named) or a wrong value; all at
                once.
        """
        lines = list(settings)
        if not lines:
            return self
        tree = self.model_dump(mode="json")
        problems = [problem for line in lines if (problem := _assign(tree, line))]
        source = f"recipe {self.name!r} with --set"
        try:
            changed = parse(tree, source=source, instead=self)
        except RecipeError as error:
            raise _invalid(source, [*problems, *error.problems], error.repaired) from error
        if problems:
            raise _invalid(source, problems, changed)
        return changed

    def to_yaml(self) -> str:
        """Write YAML that ``load`` reads back to an equal recipe."""
        return write_yaml(self.model_dump(mode="json"))


RecipeLike = str | Path | Recipe


def parse(tree: object, *, source: str, instead: Recipe | None = None) -> Recipe:
    """Validate a mapping.

    Args:
        tree: fields and values.
        source: name of the recipe in messages.
        instead: values for wrong fields of the repaired recipe; default: the fields' defaults.

    Raises:
        RecipeError: every problem at once, each with its field and the nearest valid name.
    """
    if not isinstance(tree, Mapping):
        raise RecipeError(
            f"{source}: expected a mapping of fields, found {type(tree).__name__}. See `unmask "
            "presets NAME` for an example."
        )
    problems = tree_problems(tree)
    if problems:
        raise _invalid(source, problems[:_SHOWN], None)
    current = replace_old_options(tree, source=source)
    # Rules about several fields are checked only once each field is right on its own.
    for attempt in range(3):
        try:
            repaired = Recipe.model_validate(current)
        except ValidationError as error:
            items = [dict(item) for item in error.errors()]
            # A required field that is missing now was wrong before, and was reported then.
            problems += [
                _explain(each) for each in items if not attempt or each["type"] != "missing"
            ]
            current = without_wrong(current, error, {} if instead is None else instead.model_dump())
        else:
            if not problems:
                return repaired
            raise _invalid(source, list(dict.fromkeys(problems)), repaired)
    raise _invalid(source, list(dict.fromkeys(problems)), None)


def _invalid(source: str, problems: Sequence[str], repaired: Recipe | None) -> RecipeError:
    message = gather(problems, heading=f"{source} is not valid:")
    return RecipeError(message, problems, repaired)


def load(source: RecipeLike) -> Recipe:
    """Load a recipe by the name of a preset or from a YAML file; a recipe is returned as it is.

    Raises:
        RecipeError: no such preset or file, not YAML, or not valid.
    """
    if isinstance(source, Recipe):
        return source
    path = Path(source)
    if path.suffix not in {".yaml", ".yml"} and str(source) in presets():
        text, label = presets()[str(source)], f"preset {source}"
    elif path.is_file():
        if path.stat().st_size > _MAX_BYTES:
            raise RecipeError(
                f"{path}: expected a recipe, found a file of over 1 MB. Check the path."
            )
        try:
            text, label = path.read_text(encoding="utf-8"), str(path)
        except (OSError, UnicodeDecodeError) as error:
            raise RecipeError(
                f"{path}: expected a text file in UTF-8, found one that cannot be read "
                f"({error}). Check the path."
            ) from error
    else:
        near = difflib.get_close_matches(str(source), presets(), n=1)
        hint = f" Did you mean {near[0]!r}?" if near else f" {near_path(path)}".rstrip()
        wanted = f"a preset ({', '.join(presets())}) or a YAML file"
        if path.suffix in {".yaml", ".yml"} or len(path.parts) > 1:
            # The names of the presets would hide what matters.
            wanted = "a YAML file, or the name of a preset (unmask presets lists them)"
        raise RecipeError(f"{source}: expected {wanted}, found neither.{hint}")
    return parse(_read(text, label), source=label)


def presets() -> dict[str, str]:
    """Read the shipped recipes: name to YAML text."""
    folder = resources.files("unmask").joinpath("presets")
    files = [entry for entry in folder.iterdir() if entry.name.endswith(".yaml")]
    return {
        entry.name.removesuffix(".yaml"): entry.read_text(encoding="utf-8")
        for entry in sorted(files, key=lambda entry: entry.name)
    }


def _read(text: str, label: str) -> object:
    """Read a tree; fields that hold text get the text as written, such as 32 or 1e-3."""
    return with_texts(Recipe, read_yaml(text, label), read_texts(text, label))


def _assign(tree: dict[str, Any], line: str) -> str | None:
    """Put one ``a.b=value`` into the tree; return the problem as text if it does not fit."""
    key, equals, text = line.partition("=")
    if not equals:
        return f"--set {line}: expected KEY=VALUE, found no '='."
    *parents, leaf = key.strip().split(".")
    node: Any = tree
    for name in parents:
        if isinstance(node, dict) and isinstance(node.get(name), str):
            node[name] = {"name": node[name]}
        if not isinstance(node, dict) or not isinstance(node.get(name), dict):
            return f"--set {line}: there is no field {name!r}. {_nearest(key)}"
        node = node[name]
    # Parts take options that no schema here lists; they are checked when the part is built.
    if leaf not in node and "name" not in node:
        return f"--set {line}: there is no field {key!r}. {_nearest(key)}"
    try:
        value, written = (read(text, f"--set {line}"[:200]) for read in (read_yaml, read_texts))
        kind = kind_at(Recipe, [*parents, leaf])
        node[leaf] = with_texts(kind, value, written)
    except RecipeError as error:
        return str(error)
    return None


def check_settings(settings: Iterable[str]) -> None:
    """Refuse settings of fields that no recipe has, before there is a recipe.

    Options of parts, such as ``task.reach``, and values are checked when the recipe is known.

    Raises:
        RecipeError: a line without ``=``, or an unknown field (the nearest one is named); all at
            once.
    """
    fields, problems = set(_fields(Recipe)), list[str]()
    sections = {name.rpartition(".")[0] for name in fields}
    for line in settings:
        key, equals, _ = line.partition("=")
        names = key.strip().split(".")
        above = {".".join(names[:count]) for count in range(1, len(names))}
        if not equals:
            problems.append(f"--set {line}: expected KEY=VALUE, found no '='.")
        elif key.strip() not in fields and not above & (fields - sections):
            problems.append(f"--set {line}: there is no field {key.strip()!r}. {_nearest(key)}")
    if problems:
        raise RecipeError("\n".join(problems), problems)


def _fields(section: type[BaseModel], prefix: str = "") -> list[str]:
    names: list[str] = []
    for name, info in section.model_fields.items():
        names.append(prefix + name)
        kind = info.annotation
        if isinstance(kind, type) and issubclass(kind, Section):
            names += _fields(kind, f"{prefix}{name}.")
    return names


def _nearest(key: str) -> str:
    near = difflib.get_close_matches(key, _fields(Recipe), n=1, cutoff=0.4)
    return f"Did you mean {near[0]!r}?" if near else "See `unmask presets NAME` for the fields."


def _explain(item: dict[str, Any]) -> str:
    where = ".".join(str(part) for part in item["loc"]) or "recipe"
    if item["type"] == "extra_forbidden":
        return f"{where}: there is no such field. {_nearest(where)}"
    # Checks of the recipe itself say what to do.
    own = item["type"] == "value_error"
    do = "" if own else " `unmask presets NAME --all` describes every field."
    return f"{where}: {describe_wrong(item)}.{do}"
