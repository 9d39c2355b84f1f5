"""``share``: a model for others, as a folder or on a hub."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from shutil import copyfile
from tempfile import TemporaryDirectory

from unmask import hub
from unmask.api.values import ModelLike, Say
from unmask.checkpoint import describe_model
from unmask.data.pairs import Paths
from unmask.errors import RecipeError, message
from unmask.interruption import drop_notes
from unmask.sharing.folder import check_folder, write_folder
from unmask.sharing.publication import Owner, Publication, describe_publication
from unmask.sharing.upload import check_repository, upload

_PICTURES = 3


@dataclass(frozen=True)
class ShareOptions:
    """What is shared besides the model.

    Attributes:
        owner: title, license, authors and training data.
        images: images for examples, which everybody who gets the model will see; the first three
            are predicted. None: no pictures.
        public: make a new repository on the hub public; otherwise only its owner sees it.
        overwrite: replace an earlier shared model.
    """

    owner: Owner = field(default_factory=Owner)
    images: Paths | None = None
    public: bool = False
    overwrite: bool = False


@dataclass(frozen=True)
class Shared:
    """A shared model.

    Attributes:
        to: folder, or address on the hub.
        model: what others give as a model.
        files: in the folder.
        license: of the weights.
        doubts: notes for its owner.
    """

    to: str
    model: str
    files: Sequence[str]
    license: str
    doubts: Sequence[str] = ()

    def to_text(self) -> str:
        """A few lines for a terminal."""
        listed = ", ".join(self.files)
        use = shlex.join(
            ["unmask", "predict", "images/", "--model", self.model, "--out", "labels/"]
        )
        return f"{self.to}: {listed}\nLicense of the weights: {self.license}\nUse it:\n  {use}"


def share(
    model: ModelLike, *, to: str | Path, options: ShareOptions | None = None, say: Say = print
) -> Shared:
    """Write a model with its card, examples and citation for others.

    The shared model file has the same weights. Its card names license, authors and data, and not
    the files that it was trained on.

    Args:
        model: model file, run folder, name of a shipped model, or ``hf:owner/name``.
        to: a folder, or ``hf:owner/name`` on the hub.
        options: what only the owner knows, and images for examples.
        say: receives notes for the owner.

    Raises:
        RecipeError: no license is known, or the target is taken.
        CheckpointError: the model cannot be read.
        MissingPackageError: the extra ``hub`` is not installed.
        SaveError: the folder or the hub cannot be written.
    """
    options = options or ShareOptions()
    target = hub.parse_name(to) if hub.is_hub_name(to) else None
    described = describe_model(model)
    # The path on this computer would say where its owner works.
    own = Path(to).absolute().name if target is None else target.repository.rpartition("/")[2]
    publication = describe_publication(described, options.owner, name=own)
    _check_images(publication, options)
    if target is not None:
        check_repository(target, overwrite=options.overwrite)
    else:
        check_folder(Path(to), overwrite=options.overwrite)
    for doubt in publication.doubts:
        say(f"Note: {doubt}")
    draw = partial(_draw, described.path, publication, options, say)
    if target is None:
        files = write_folder(Path(to), described.path, publication, name=own, draw=draw)
        return _describe_shared(str(to), str(to), files, publication)
    with TemporaryDirectory() as folder:
        path, name = Path(folder) / "model", str(target)
        files = write_folder(path, described.path, publication, name=name, draw=draw)
        address = upload(path, target, public=options.public)
    if not options.public:
        say(f"Note: a new repository {target} is private. --public shows it to everyone.")
    return _describe_shared(address, name, files, publication)


def _describe_shared(
    to: str, model: str, files: Sequence[Path], publication: Publication
) -> Shared:
    names = [path.as_posix() for path in files]
    return Shared(to, model, names, publication.license, publication.doubts)


def _check_images(publication: Publication, options: ShareOptions) -> None:
    """Refuse images for pictures of a model that draws none.

    Raises:
        RecipeError: it was only pre-trained, or classifies whole images.
    """
    if options.images is None or not (publication.recipe.task is None or publication.classifies):
        return
    found = (
        "a model that classifies whole images, which has nothing to outline"
        if publication.classifies
        else "a pre-trained model, which predicts nothing"
    )
    raise RecipeError(
        message(
            "--images",
            expected="a model that segments images",
            found=found,
            do="Leave --images out.",
        )
    )


def _draw(
    model: Path, publication: Publication, options: ShareOptions, say: Say, folder: Path
) -> list[Path]:
    """Pictures of predictions on the first images, by numbers instead of the owner's names."""
    if options.images is None:
        if publication.recipe.task is not None and not publication.classifies:
            say("Note: no example images: --images PATH adds pictures of predictions.")
        return []
    from unmask.api.prediction import Options, predict_files
    from unmask.data.pairing import image_files

    chosen = [str(path) for _, path in image_files(options.images, [])[:_PICTURES]]
    say(f"Examples: predicting {', '.join(chosen)}")
    with TemporaryDirectory() as work:
        # Lines about files in the temporary folder would name paths that are gone afterwards.
        lasting = partial(_say_unless, say, work)
        with drop_notes():
            predict_files(model, chosen, out=work, options=Options(overlay=True), say=lasting)
        drawn = sorted((Path(work) / "overlay").glob("*.png"))
        return [
            Path(copyfile(path, folder / f"example-{number}.png"))
            for number, path in enumerate(drawn, 1)
        ]


def _say_unless(say: Say, part: str, line: str) -> None:
    if part not in line:
        say(line)
