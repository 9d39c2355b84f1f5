"""A run as one frozen, validated value: YAML in and out, ``--set a.b=c``, JSON Schema.

A recipe knows no component: it stores names with options, and a component's options are the
arguments of its constructor.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PositiveFloat,
    ValidationError,
    model_validator,
)

from unmask.errors import RecipeError, gather
from unmask.lookup import Choice
from unmask.recipe_repair import replace_old_options, without_wrong
from unmask.recipe_text import kind_at, with_texts
from unmask.yaml_text import read_texts, read_yaml, tree_problems, write_yaml

_MAX_BYTES = 1_000_000
_SHOWN = 20
# Beyond this factor an image has no pixels left, or none of it fits into memory.
MAX_SCALE = 64
Scale = Annotated[float, Field(ge=1 / MAX_SCALE, le=MAX_SCALE)]


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Part(BaseModel):
    """A component: its name, and beside it the arguments of its constructor.

    YAML takes ``backbone: resunet`` or ``backbone: {name: resunet, width: 32}``.
    """

    model_config = ConfigDict(frozen=True, extra="allow")
    name: str

    @model_validator(mode="before")
    @classmethod
    def _from_name(cls, value: object) -> object:
        return {"name": value} if isinstance(value, str) else value

    @property
    def choice(self) -> Choice:
        """The part as the builder takes it."""
        return Choice(self.name, dict(self.model_extra or {}))


class ReplayRecipe(_Section):
    """A second source of images and labels, so that what was learnt from it is not forgotten."""

    batch: int = Field(
        default=1, ge=1, description="its crops in a batch, beside those of the first"
    )
    augment: tuple[Part, ...] | None = Field(
        default=None, description="augmentations of its crops; default: those of the first"
    )
    label_changes: tuple[Part, ...] | None = Field(
        default=None, description="changes of its label images; default: those of the first"
    )


class DataRecipe(_Section):
    """From files to crops."""

    channels: int = Field(default=1, ge=1, description="channels the network sees")
    axes: str | None = Field(
        default=None, description="axes of the files where they do not say, e.g. ZYX"
    )
    crop: tuple[int, ...] = Field(
        default=..., description="training crop in voxels; its length is ndim"
    )
    spacing: tuple[PositiveFloat, ...] | None = Field(
        default=None,
        description="voxel size of the network's grid, slow axis first, in the unit of the files; "
        "default: that of each image",
    )
    foreground_crop: float | None = Field(
        default=None,
        description="only the box of voxels above this value is seen; default: everything",
    )
    normalize: Part = Field(default_factory=lambda: Part(name="percentile"))
    augment: tuple[Part, ...] = Field(
        default=(), description="augmentations, applied in this order"
    )
    foreground: float = Field(
        default=0.5, ge=0, le=1, description="share of crops centred on an object"
    )
    border: Literal["mirror", "zero"] = Field(
        default="mirror", description="beyond images that are smaller than a crop"
    )
    label_changes: tuple[Part, ...] = Field(
        default=(), description="changes of whole label images before training"
    )
    sampling: Part | None = Field(
        default=None, description="which images come more often; default: none"
    )
    replay: ReplayRecipe | None = Field(
        default=None, description="share of a second source in every batch"
    )
    ignore_label: int | None = Field(default=None, description="label value without truth")
    image_suffix: str = Field(default="", description="end of image stems, removed for pairing")
    label_suffix: str = Field(default="", description="end of label stems, removed for pairing")
    fold: int | None = Field(
        default=None,
        ge=0,
        description="fold of a dataset.json that is held out; default: its own split",
    )
    holdout: float = Field(
        default=0.1, ge=0, lt=1, description="share of pairs held out where no validation is given"
    )
    sections: tuple[int, ...] | None = Field(
        default=None,
        description="pre-training on volumes with one axis less: axes that sections are cut across",
    )
    cache_gb: float = Field(default=4.0, ge=0, description="decoded images kept in memory, in GB")
    allow_external: bool = Field(
        default=False, description="read HDF5 and Zarr files whose values are in other files"
    )

    @property
    def ndim(self) -> int:
        """Number of spatial axes."""
        return len(self.crop)


class ModelRecipe(_Section):
    """The network."""

    backbone: Part
    decoder: Part | None = None
    head: Part = Field(
        default_factory=lambda: Part(name="linear"), description="from decoder to task"
    )
    deep_supervision: int = Field(
        default=0, ge=0, description="coarser decoder levels that learn the target too"
    )


class TrainRecipe(_Section):
    """The optimisation."""

    steps: int = Field(default=..., ge=1)
    batch_size: int = Field(default=8, ge=1)
    accumulate: int = Field(default=1, ge=1, description="batches summed up in one update")
    optimizer: Part = Field(default_factory=lambda: Part(name="adamw"))
    lr: float = Field(default=1e-3, gt=0, description="peak learning rate")
    warmup: int = Field(default=100, ge=0, description="updates of linear warm-up")
    final_lr: float = Field(
        default=0.01, ge=0, le=1, description="end of the cosine as a share of lr"
    )
    cosine_steps: int | None = Field(
        default=None,
        ge=1,
        description="updates from the peak to the end of the cosine, after which it rises again; "
        "default: all",
    )
    final_weight_decay: float = Field(
        default=1.0,
        ge=0,
        description="end of the weight decay's cosine as a multiple of its start; 1: constant",
    )
    layer_decay: float = Field(
        default=1.0, gt=0, le=1, description="lr factor from block to block down"
    )
    freeze: tuple[str, ...] = Field(
        default=(), description="parts that keep their weights, such as [backbone]"
    )
    clip: float | None = Field(default=1.0, description="largest gradient norm")
    ema: float = Field(default=0.0, ge=0, lt=1, description="decay of averaged weights; 0: none")
    precision: Literal["auto", "32", "bf16", "16"] = "auto"
    seed: int = Field(default=0, ge=0)
    workers: int = Field(default=1, ge=0, description="threads that prepare batches")
    validate_every: int = Field(default=500, ge=0, description="updates; 0: only at the end")
    validate_images: int = Field(default=20, ge=1, description="images of a validation at most")
    save_every: int = Field(default=500, ge=1, description="updates between snapshots")
    keep: int = Field(default=2, ge=1, description="snapshots kept")
    bad_steps: int = Field(
        default=10, ge=0, description="non-finite losses in a row before it stops"
    )


class InferRecipe(_Section):
    """Prediction."""

    tile: tuple[int, ...] | None = Field(
        default=None, description="window in voxels; default: the crop"
    )
    overlap: float = Field(
        default=0.25, ge=0, lt=1, description="share of a window shared with the next"
    )
    blend: Literal["gaussian", "crop"] = "gaussian"
    pad: Literal["mirror", "zero"] = Field(
        default="mirror", description="around images smaller than a window"
    )
    tta: bool | tuple[tuple[int, ...], ...] = Field(
        default=False,
        description="average over flips: true for each axis alone, or axes mirrored together in "
        "each view, e.g. [[], [0], [1], [0, 1]]",
    )
    mirror_positions: bool = Field(
        default=False, description="mirror the windows' positions in mirrored views too"
    )
    average: Literal["scores", "logits"] = Field(
        default="scores", description="what windows, views and models are averaged in"
    )
    batch_size: int | None = Field(
        default=None, ge=1, description="windows at once; default: by memory"
    )
    precision: Literal["auto", "32", "bf16", "16"] = "auto"
    scale: Scale | tuple[Scale, ...] | None = Field(
        default=None,
        description="factor on the size of the image before the network, or one for each axis; "
        "labels come back at the size of the image; see also predict --diameter",
    )
    block: tuple[int, ...] | None = Field(
        default=None,
        description="predict in blocks of so many voxels; default: large images, by memory",
    )


class Recipe(_Section):
    """Everything that defines a run; ``method`` pre-trains, ``task`` fine-tunes."""

    name: str
    description: str = ""
    data: DataRecipe
    model: ModelRecipe
    method: Part | None = None
    task: Part | None = None
    train: TrainRecipe
    infer: InferRecipe = InferRecipe()

    @model_validator(mode="after")
    def _parts_fit(self) -> Recipe:
        if (self.method is None) == (self.task is None):
            raise ValueError("give either method (pre-training) or task (fine-tuning), not both")
        if self.data.sections is not None and self.method is None:
            raise ValueError("data.sections is for pre-training; labels are learnt in whole crops")
        axes = self.data.ndim + (self.data.sections is not None)
        if self.data.spacing is not None and len(self.data.spacing) != axes:
            raise ValueError(
                f"data.spacing={self.data.spacing} has {len(self.data.spacing)} axes, "
                f"images have {axes}"
            )
        if self.infer.tile is not None and len(self.infer.tile) != self.data.ndim:
            raise ValueError(
                f"infer.tile={self.infer.tile} has {len(self.infer.tile)} axes, "
                f"data.crop={self.data.crop} has {self.data.ndim}"
            )
        scale = self.infer.scale
        if isinstance(scale, tuple) and len(scale) != self.data.ndim:
            raise ValueError(
                f"infer.scale={scale} has {len(scale)} axes, data.crop={self.data.crop} has "
                f"{self.data.ndim}; give one number, or one for each axis"
            )
        views = () if isinstance(self.infer.tta, bool) else self.infer.tta
        if any(not 0 <= axis < self.data.ndim for axes in views for axis in axes):
            raise ValueError(
                f"infer.tta={self.infer.tta} names axes outside 0 .. {self.data.ndim - 1}"
            )
        return self

    def with_settings(self, settings: Iterable[str]) -> Recipe:
        """The recipe with ``a.b=value`` settings applied; values are read as YAML.

        Raises:
            RecipeError: an unknown field (the nearest one is named) or a wrong value; all at
                once.
        """
        tree = self.model_dump(mode="json")
        problems = [problem for line in settings if (problem := _assign(tree, line))]
        source = f"recipe {self.name!r} with --set"
        try:
            changed = parse(tree, source=source, instead=self)
        except RecipeError as error:
            raise _invalid(source, [*problems, *error.problems], error.mended) from error
        if problems:
            raise _invalid(source, problems, changed)
        return changed

    def to_yaml(self) -> str:
        """YAML that ``load`` reads back to an equal recipe."""
        return write_yaml(self.model_dump(mode="json"))


def parse(tree: object, *, source: str, instead: Recipe | None = None) -> Recipe:
    """Validate a mapping.

    Args:
        tree: fields and values.
        source: what it is called in messages.
        instead: gives the values of wrong fields to the mended recipe; default: their defaults.

    Raises:
        RecipeError: every problem at once, each with its field and the nearest valid name.
    """
    if not isinstance(tree, Mapping):
        raise RecipeError(f"{source}: expected a mapping of fields, found {type(tree).__name__}.")
    problems = tree_problems(tree)
    if problems:
        raise _invalid(source, problems[:_SHOWN], None)
    current = replace_old_options(tree, source=source)
    # What concerns several fields is looked at only where each of them is right by itself.
    for attempt in range(3):
        try:
            mended = Recipe.model_validate(current)
        except ValidationError as error:
            items = [dict(item) for item in error.errors()]
            # A required field that is missing now was wrong before, and told.
            problems += [
                _explain(each) for each in items if not attempt or each["type"] != "missing"
            ]
            current = without_wrong(current, error, {} if instead is None else instead.model_dump())
        else:
            if not problems:
                return mended
            raise _invalid(source, list(dict.fromkeys(problems)), mended)
    raise _invalid(source, list(dict.fromkeys(problems)), None)


def _invalid(source: str, problems: Sequence[str], mended: Recipe | None) -> RecipeError:
    message = gather(problems, heading=f"{source} is not valid:")
    return RecipeError(message, problems, mended)


def load(source: str | Path | Recipe) -> Recipe:
    """A recipe by preset name, by YAML file, or as it is.

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
            raise RecipeError(f"{path}: expected a recipe, found a file of over 1 MB.")
        try:
            text, label = path.read_text(encoding="utf-8"), str(path)
        except (OSError, UnicodeDecodeError) as error:
            raise RecipeError(
                f"{path}: expected a text file in UTF-8, found none that can be read ({error}). "
                "Check the path."
            ) from error
    else:
        near = difflib.get_close_matches(str(source), presets(), n=1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        raise RecipeError(
            f"{source}: expected a preset ({', '.join(presets())}) or a YAML file, found neither."
            f"{hint}"
        )
    return parse(_read(text, label), source=label)


def presets() -> dict[str, str]:
    """Shipped recipes: name to YAML text."""
    folder = resources.files("unmask").joinpath("presets")
    files = [entry for entry in folder.iterdir() if entry.name.endswith(".yaml")]
    return {
        entry.name.removesuffix(".yaml"): entry.read_text(encoding="utf-8")
        for entry in sorted(files, key=lambda entry: entry.name)
    }


def _read(text: str, label: str) -> object:
    """A recipe's tree; fields that hold text have what is written, such as 32 or 1e-3."""
    return with_texts(Recipe, read_yaml(text, label), read_texts(text, label))


def _assign(tree: dict[str, Any], line: str) -> str | None:
    """Put one ``a.b=value`` into the tree; the problem as text if it does not fit."""
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
    # Components take options that no schema here lists; their builder checks those.
    if leaf not in node and "name" not in node:
        return f"--set {line}: there is no field {key!r}. {_nearest(key)}"
    try:
        value, written = (read(text, f"--set {line}"[:200]) for read in (read_yaml, read_texts))
        kind = kind_at(Recipe, [*parents, leaf])
        node[leaf] = with_texts(kind, value, written)
    except RecipeError as error:
        return str(error)
    return None


def _fields(section: type[BaseModel], prefix: str = "") -> list[str]:
    names: list[str] = []
    for name, info in section.model_fields.items():
        names.append(prefix + name)
        kind = info.annotation
        if isinstance(kind, type) and issubclass(kind, _Section):
            names += _fields(kind, f"{prefix}{name}.")
    return names


def _nearest(key: str) -> str:
    near = difflib.get_close_matches(key, _fields(Recipe), n=1, cutoff=0.4)
    return f"Did you mean {near[0]!r}?" if near else "See `unmask presets NAME` for the fields."


def _explain(item: dict[str, Any]) -> str:
    where = ".".join(str(part) for part in item["loc"]) or "recipe"
    hint = f" {_nearest(where)}" if item["type"] == "extra_forbidden" else ""
    found = "" if item["type"] == "missing" else f", found {item.get('input')!r}"
    return f"{where}: {item['msg']}{found[:120]}.{hint}"
