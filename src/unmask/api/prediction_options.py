"""What a prediction of files writes, and where its work is done."""

from __future__ import annotations

from dataclasses import dataclass


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
