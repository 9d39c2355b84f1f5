"""Where the labels of an image go, and what they are called inside an OME-Zarr."""

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

# A model file of a run is called after the run.
_MODEL_FILE = "model"


@dataclass(frozen=True)
class Destination:
    """Where the labels of one image go.

    Attributes:
        path: label file, or ``store.zarr/labels/<name>``.
        name: of the label image inside an OME-Zarr.
        out: folder of the run, for scores, tables and unfinished work.
    """

    path: Path
    name: str
    out: Path

    @property
    def kept(self) -> Path:
        """Next to this path unfinished work is kept; never inside of a store."""
        location = locate(self.path)
        parts = Path(location.key).parts
        return self.out / "_".join([location.path.name, *parts])


def _destination(image: Image, out: Path, name: str, *, in_place: bool) -> Destination:
    path = labels_in_place(image.source, name) if in_place else output_name(image, out)
    return Destination(path, name, out)


def destinations(
    pairs: Sequence[Pair], out: Path, name: str, *, in_place: bool = False
) -> list[Destination]:
    """Where the labels of all images go.

    Raises:
        DataError: every image into whose store they cannot go.
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
    """The name of label images: given, or that of the models.

    Raises:
        RecipeError: a name that a store cannot hold.
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
