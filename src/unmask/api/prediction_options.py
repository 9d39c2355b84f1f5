"""What a prediction of files writes, and where its work is done."""

from __future__ import annotations

from dataclasses import dataclass

from unmask.data.tables import PREDICTED
from unmask.errors import RecipeError, message

# Files about all images of a prediction together: the table of objects, and the page.
TABLE, SUMMARY = "objects.csv", "summary.html"
# Options about label images, and what there is instead for the classes of whole images.
_OF_LABELS = {
    "scores": ("--scores", f"{PREDICTED} has the probabilities of all classes"),
    "table": ("--table", f"{PREDICTED} has one line per image"),
    "overlay": ("--overlay", "`unmask evaluate --images ... --out report.html` shows the images"),
    "resume": ("--resume", "--overwrite classifies all images again"),
    "cluster": ("--workers", ""),
    "planes": ("--planes", ""),
    "join": ("--join", ""),
    "diameter": ("--diameter", ""),
    "in_place": ("--in-place", f"--out FOLDER receives {PREDICTED}"),
    "label_name": ("--label-name", ""),
    "label_ending": ("--label-ending", ""),
}


@dataclass(frozen=True)
class Options:
    """What a prediction of files writes, and where its work is done.

    Attributes:
        scores: write the joined activations too, as ``scores/<stem>.zarr``, and the uncertainty of
            every voxel as ``uncertainty/<stem>.zarr``.
        cluster: None for this process; ``threads:N`` or ``processes:N`` for workers on this
            machine; or the address of a dask.distributed scheduler.
        resume: keep what an ended run of the same request has finished.
        skip_bad: leave out files that are wrong, and name them at the end.
        diameter: of the objects in the images, in their pixels; see ``predict``.
        table: write ``objects.csv`` too, with one row per object of every image, its uncertainty
            among them.
        planes: axis of a stack whose positions are segmented separately: "z" for slices, "t" for
            time points; None: time points alone.
        join: join objects of neighboring slices, and track objects over time.
        overlay: write ``overlay/<stem>.png`` too, the image with outlines of its objects, and
            ``summary.html`` for several images.
        overwrite: replace results of an earlier run.
        in_place: write the labels of an OME-Zarr into its own store, as ``labels/<name>``.
        label_name: name of the label image inside an OME-Zarr; None: that of the model.
        label_ending: what follows the stem of the image in the names of label files, such as
            ``_label.tiff``; None: the suffix of the image's format.
        device: where the network runs: ``auto``, ``cpu``, ``cuda``, ``cuda:1``, ``mps``. With
            workers, ``auto`` is one GPU per worker.
        profile: report at the end where the time went.
    """

    scores: bool = False
    cluster: str | None = None
    resume: bool = False
    skip_bad: bool = False
    diameter: float | None = None
    table: bool = False
    planes: str | None = None
    join: bool = False
    overlay: bool = False
    overwrite: bool = False
    in_place: bool = False
    label_name: str | None = None
    label_ending: str | None = None
    device: str = "auto"
    profile: bool = False


def refuse_label_options(options: Options) -> None:
    """Refuse options about label images, which a task about whole images does not write.

    Raises:
        RecipeError: some were given; names them, and what there is instead.
    """
    given = [words for name, words in _OF_LABELS.items() if getattr(options, name)]
    if not given:
        return
    names = ", ".join(name for name, _ in given)
    instead = "; ".join(filter(None, (text for _, text in given)))
    leave = "Leave it out" if len(given) == 1 else "Leave them out"
    raise RecipeError(
        message(
            names,
            expected="options for a model that classifies whole images",
            found="an option for label images" if len(given) == 1 else "options for label images",
            do=f"{leave}{': ' if instead else ''}{instead}.",
        )
    )
