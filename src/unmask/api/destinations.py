"""Paths of predicted labels, and their names inside an OME-Zarr."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from unmask.data.pairing import Pair
from unmask.errors import DataError, RecipeError, raise_problems
from unmask.infer.predictor import Predictor
from unmask.io import Image, output_name
from unmask.io.label_groups import label_name, labels_in_place
from unmask.io.paths import locate

# The model file of a run has the same name in every run, so the name of the run is used.
_MODEL_FILE = "model"


@dataclass(frozen=True)
class Destination:
    """Path of the labels of one image.

    Attributes:
        path: label file, or ``store.zarr/labels/<name>``.
        name: name of the label image inside an OME-Zarr.
        out: output folder, for scores, tables and unfinished work.
    """

    path: Path
    name: str
    out: Path

    @property
    def kept(self) -> Path:
        """Unfinished work is stored next to this path, which is never inside a store."""
        location = locate(self.path)
        parts = Path(location.key).parts
        return self.out / "_".join([location.path.name, *parts])


def _destination(image: Image, out: Path, name: str, *, in_place: bool) -> Destination:
    path = labels_in_place(image.source, name) if in_place else output_name(image, out)
    return Destination(path, name, out)


def destinations(
    pairs: Sequence[Pair], out: Path, name: str, *, in_place: bool = False
) -> list[Destination]:
    """Paths of the labels of all images.

    Raises:
        DataError: labels cannot be written into a store; lists all such images.
    """
    found: list[Destination] = []
    problems: list[str] = []
    for pair in pairs:
        try:
            found.append(_destination(pair.image, out, name, in_place=in_place))
        except DataError as error:
            problems.append(str(error))
    raise_problems(problems)
    return found


def name_of(predictor: Predictor, given: str | None) -> str:
    """Name of label images: the given one, or that of the models.

    Raises:
        RecipeError: the given name contains characters that a store does not allow.
    """
    if given is not None:
        if label_name(given) != given:
            raise RecipeError(
                f"--label-name {given!r}: expected letters, digits, _, -, + and . in a name, found "
                f"others. Write for example {label_name(given)!r}."
            )
        return given
    models = () if predictor.origin is None else predictor.origin.models
    names = dict.fromkeys(_model_name(Path(model)) for model in models)
    return label_name("+".join(names))


def _model_name(model: Path) -> str:
    stem = model.stem if model.suffix in (".safetensors", ".pth", ".pt") else model.name
    return model.parent.name if stem == _MODEL_FILE else stem
