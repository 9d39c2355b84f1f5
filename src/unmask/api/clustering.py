"""``cluster``: volumes to clusters without labels."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from unmask.api.cluster_forecast import report_needs
from unmask.api.files import FileTask, count_outputs, describe_outputs, run_files
from unmask.api.values import ModelLike, Say, Settings
from unmask.atomic import atomic_write, tidy_folder
from unmask.blocks.resume import FOLDER, Finished, batch, clear
from unmask.blocks.scheduler import check_workers
from unmask.blocks.ship import ModelFile
from unmask.build import build_normalizer
from unmask.checkpoint import lock_run
from unmask.clustering.assign import AssignWork, Counts, label_volume
from unmask.clustering.centers import Centers, Volume, fit, prepare, subtract_mean
from unmask.clustering.contact_sheet import contact_sheet
from unmask.clustering.dense import Dense
from unmask.clustering.encoder import DenseFile, Encoder, Features, check_tokens, load_encoder
from unmask.clustering.names import describe, format_csv, read_classes, write_template
from unmask.data.grid import View
from unmask.data.outputs import keep_results
from unmask.data.pairing import image_files
from unmask.data.pairs import Pair, Paths, fingerprint, keep_inputs
from unmask.errors import CheckpointError, DataError, RecipeError, raise_problems
from unmask.interruption import note_kept
from unmask.io import Image, open_image, open_labels, output_name
from unmask.io.identity import identity
from unmask.progress import Progress
from unmask.renamed import accept_former_names

CENTERS, STATISTICS, NAMES = "clusters.safetensors", "clusters.csv", "names.yaml"
# Feature vectors that centers are fitted to: this many, or a part of those of small images.
_SAMPLE, _LEAST, _SHARE = 200_000, 20_000, 4


@accept_former_names(centres="centers", surround="neighborhood", turns="rotations")
@dataclass(frozen=True)
class ClusterOptions:
    """How ``cluster`` works.

    Attributes:
        quality: ``exact``, ``fast`` or ``draft``, see ``unmask.clustering.dense.Dense``.
        compat: ``aligned``, or ``official`` for the displaced features of MAESTER's program.
        neighborhood: standard deviation in voxels of a Gaussian around each voxel, whose mean
            features count as well; 0: none.
        rotations: average the features of four rotations by 90 degrees, at four times the cost, so
            that clusters do not sort edges by their direction.
        common_mean: subtract the mean of the features of each volume, for volumes that differ in
            brightness or stain.
        seed: the same seed gives the same labels.
        centers: apply these centers instead of fitting new ones.
        names: YAML of class names with the numbers of their clusters.
        cluster: None for this process; ``threads:N`` or ``processes:N`` for workers on this
            machine; or the address of a dask.distributed scheduler.
        device: where the network runs: ``auto``, ``cpu``, ``cuda``, ``cuda:1``, ``mps``. With
            workers, ``auto`` is one GPU per worker.
        resume: resume a run that was ended; of a finished one nothing is computed again.
        overwrite: replace results of an earlier run.
    """

    quality: str = "exact"
    compat: str = "aligned"
    neighborhood: float = 0.0
    rotations: bool = False
    common_mean: bool = False
    seed: int = 0
    centers: str | Path | None = None
    names: str | Path | None = None
    cluster: str | None = None
    device: str = "auto"
    resume: bool = False
    overwrite: bool = False


@accept_former_names(centres="centers")
@dataclass(frozen=True)
class Clustered:
    """What ``cluster`` wrote.

    Attributes:
        labels: label images, one for each volume.
        centers: to be applied to other volumes.
        statistics: CSV with a line for every cluster of every volume.
        sheets: pictures of the clusters, one for each volume.
    """

    labels: list[Path]
    centers: Path
    statistics: Path
    sheets: list[Path]


def cluster(  # noqa: PLR0913 - the verb's promised arguments
    model: ModelLike,
    volumes: Paths,
    *,
    out: str | Path,
    classes: int | None = None,
    options: ClusterOptions | None = None,
    settings: Settings = (),
    say: Say = print,
    progress: Progress | None = None,
    allow_code: bool = False,
) -> Clustered:
    """Group the voxels of volumes by their features, without labels.

    Clusters are numbered from 1 by size in the sample. With ``names`` the label images hold
    classes: 1, 2, ... in the order of the file, 0 for ``background`` and what has no name.

    Args:
        model: model file, run folder or shipped model with patch tokens, such as of ``maester``.
        volumes: file, folder, glob or OME-Zarr, or several of them; together they are one sample.
        out: folder of the label images, with ``clusters.safetensors``, ``clusters.csv``, a
            template ``names.yaml`` and the folder ``contact`` of pictures.
        classes: number of clusters; None with ``options.centers``.
        options: quality, seed, centers and names.
        settings: changes to ``data.normalize``, ``data.spacing``, ``data.foreground_crop``,
            ``data.axes`` and ``infer.precision``.
        say: gets one line per file.
        progress: called with (blocks done, blocks in all) of the volume in work.
        allow_code: run parts that the model carries as source; without it such a model is refused.

    Raises:
        DataError: files that cannot be read, images of one value, more clusters than distinct
            features, or results of an earlier run, which only ``options.overwrite`` replaces.
        RecipeError: neither or both of ``classes`` and centers; names of unknown clusters.
        CheckpointError: a model without patch tokens, or centers of other features; another run
            works in ``out``, or an ended one was given something else.
        SaveError: ``out`` cannot be written.
    """
    options = options or ClusterOptions()
    _check_request(classes, options)
    check_workers(options.cluster)
    loading: dict[str, Any] = {"allow_code": allow_code, "device": options.device}
    encoder = load_encoder(model, settings, **loading, say=say)
    check_tokens(encoder, model)
    chosen = Features(options.quality, options.compat, options.neighborhood, options.rotations)
    dense, folder = encoder.dense(chosen), Path(out)
    pairs = _open_volumes(volumes, encoder, say)
    origin = _ship_model(model, tuple(settings), chosen, encoder, **loading)
    with tidy_folder(folder):
        _check_outputs(pairs, folder, options)
        return _cluster(encoder, dense, pairs, folder, classes, options, origin, say, progress)


def _check_outputs(pairs: Sequence[Pair], folder: Path, options: ClusterOptions) -> None:
    """Make the folder; refuse to replace inputs, or results of an earlier run.

    Raises:
        DataError: some of the outputs are inputs, or are there already.
        CheckpointError: another run works in the folder.
    """
    keep_inputs(pairs, folder, resume=options.resume)
    if options.resume or options.overwrite:
        return
    results = [folder / CENTERS, folder / STATISTICS]
    results += [output_name(pair.image, folder) for pair in pairs]
    # A run at work is named first: what it has written so far is no earlier result.
    with lock_run(folder / FOLDER, report=lambda _: None, temporary=True):
        keep_results(results, folder)


def _cluster(  # noqa: PLR0913 - what `cluster` has prepared
    encoder: Encoder,
    dense: Dense,
    pairs: Sequence[Pair],
    folder: Path,
    classes: int | None,
    options: ClusterOptions,
    origin: ModelFile[Dense],
    say: Say,
    progress: Progress | None,
) -> Clustered:
    """Fit or load the centers, and write all outputs."""
    before = fingerprint(pairs)
    prepared = _prepare_volumes(dense, pairs, encoder)
    facts = _feature_facts(dense, encoder, common_mean=options.common_mean)
    given = None if options.centers is None else Centers.load(options.centers, facts)
    count = (classes or 0) if given is None else len(given.values)
    table, names = read_classes(options.names, count)
    report_needs(dense, prepared, say)
    if options.common_mean:
        prepared = [subtract_mean(dense, volume) for volume in prepared]
    request = _request(encoder, dense, facts, table)
    if given is None:
        request |= {"clusters": count, "seed": options.seed, "volumes": _identities(prepared)}
    else:
        request |= {"centres": given.digest}
    # Requests of an ended run were JSON, which has lists.
    request = json.loads(json.dumps(request))
    written = Clustered([], folder / CENTERS, folder / STATISTICS, [])
    rows: list[dict[str, Any]] = []
    tasks: list[FileTask[list[list[float]]]] = []
    with (
        batch(folder, resume=options.resume, skip=True) as finished,
        note_kept(partial(_describe_kept, finished, request, tasks)),
    ):
        fit_now = partial(
            _fit, dense, prepared, count, seed=options.seed, facts=facts, say=say, progress=progress
        )
        centers = _settle_centers(finished, request, given, fit_now, say=say)
        if not finished.has(folder / CENTERS, request):
            centers.save(folder / CENTERS)
            finished.add(folder / CENTERS, request)
        axes = encoder.recipe.data.axes
        works = [AssignWork(dense, centers, each, table, origin, axes) for each in prepared]
        tasks += [
            _volume_task(work, pair, folder, options, progress)
            for work, pair in zip(works, pairs, strict=True)
        ]
        if count_outputs(tasks, finished) == len(tasks):
            say(f"{folder}: this run is finished, so no labels are computed again.")
        for task, result in run_files(tasks, before, say=say, finished=finished):
            image, labels = task.pair.image, output_name(task.pair.image, folder)
            rows += describe(image, labels, Counts(*map(np.array, result)), table, names)
            written.labels.append(labels)
            written.sheets.append(_write_sheet(image, labels, folder, rows, names, options.seed))
        atomic_write(written.statistics, format_csv(rows))
        if options.names is None and (note := write_template(folder / NAMES, count)):
            say(note)
    return written


def _describe_kept(
    finished: Finished, request: Mapping[str, Any], tasks: Sequence[FileTask[Any]]
) -> str:
    """What a run that resumes finds, for people; "" if there is nothing."""
    known = (finished.folder / CENTERS).exists()
    if not known and not finished.skips(finished.folder.parent / CENTERS, lambda: request):
        return ""
    return f"The centers are kept. {describe_outputs(tasks, finished, 'volume')}".rstrip()


def _ship_model(
    model: ModelLike,
    settings: tuple[str, ...],
    features: Features,
    encoder: Encoder,
    *,
    allow_code: bool,
    device: str,
) -> ModelFile[Dense]:
    """The model as other processes can load it."""
    path = str(Path(model).absolute() if Path(model).exists() else model)
    file = DenseFile(path, settings, features, allow_code, device)
    return ModelFile(file, encoder.digest, path)


def _request(
    encoder: Encoder, dense: Dense, facts: Mapping[str, Any], table: np.ndarray
) -> dict[str, Any]:
    """What the run was given, without its volumes and centers."""
    return {
        "features": facts,
        "precision": dense.precision,
        "axes": encoder.recipe.data.axes,
        "names": table.tolist(),
        "unmask": version("unmask"),
    }


def _volume_task(
    work: AssignWork,
    pair: Pair,
    folder: Path,
    options: ClusterOptions,
    progress: Progress | None,
) -> FileTask[list[list[float]]]:
    """The labels of one volume; the result is the voxels and the mean intensity per cluster."""
    path = output_name(work.volume.original, folder)

    def label() -> list[list[float]]:
        counts = label_volume(
            work, path, cluster=options.cluster, resume=options.resume, progress=progress
        )
        return [counts.voxels.tolist(), counts.intensity.tolist()]

    return FileTask(pair, label, path, lambda: work.plan().facts)


def _check_request(classes: int | None, options: ClusterOptions) -> None:
    if (classes is None) == (options.centers is None):
        raise RecipeError(
            "cluster: expected either a number of clusters (--classes K) or centers of an earlier "
            f"run (--centers {CENTERS}), found {'neither' if classes is None else 'both'}. "
            "Give one of them."
        )
    if classes is not None and not 1 <= classes <= 65535:
        raise RecipeError(f"--classes {classes}: expected 1 to 65535. Change it.")


def _open_volumes(volumes: Paths, encoder: Encoder, say: Say) -> list[Pair]:
    """Images of as many axes as the model has, or one more, whose sections it then sees."""
    data = encoder.recipe.data
    tries = (data.ndim, data.ndim + 1) if data.sections is None else (data.ndim + 1, data.ndim)
    images: list[Image] = []
    notes: list[str] = []
    problems: list[str] = []
    for _, path in image_files(volumes, notes, problems, wanted=data.use_channels):
        try:
            image = _open_first(
                lambda ndim, p=path: open_image(p, axes=data.axes, ndim=ndim), tries
            )
            images.append(encoder.channels.choose(image, notes))
        except DataError as error:
            problems.append(str(error))
    names = [image.name for image in images]
    problems += [
        f"{image.source}: expected different names, found two images {image.name!r}. Rename one."
        for place, image in enumerate(images)
        if image.name in names[:place]
    ]
    raise_problems(problems)
    if data.scale is not None:
        notes.append(f"data.scale={data.scale} of the model is not used; data.spacing is.")
    for note in notes:
        say(f"note: {note}")
    return [Pair(image.name, image) for image in images]


def _open_first(open_as: Callable[[int], Image], tries: Iterable[int]) -> Image:
    """The first that can be opened; the first error where none can."""
    errors: list[DataError] = []
    for each in tries:
        try:
            return open_as(each)
        except DataError as error:
            errors.append(error)
    raise errors[0]


def _prepare_volumes(dense: Dense, pairs: Sequence[Pair], encoder: Encoder) -> list[Volume]:
    data = encoder.recipe.data
    normalize, view = build_normalizer(encoder.recipe), View(data.spacing, data.foreground_crop)
    problems: list[str] = []
    found: list[Volume] = []
    for pair in pairs:
        try:
            found.append(
                prepare(dense, pair.image, channels=data.channels, normalize=normalize, view=view)
            )
        except DataError as error:
            problems.append(str(error))
    raise_problems(problems)
    return found


def _feature_facts(dense: Dense, encoder: Encoder, *, common_mean: bool) -> dict[str, Any]:
    """What the features depend on."""
    facts = {
        "weights": encoder.digest,
        "quality": dense.quality,
        "compat": dense.compat,
        "normalize": encoder.recipe.data.normalize.model_dump(mode="json"),
        "dim": dense.dim,
    }
    data = encoder.recipe.data
    asked = {"surround": dense.neighborhood, "turns": dense.rotations, "common_mean": common_mean}
    # JSON has lists, and facts of another run are compared.
    asked |= {"spacing": list(data.spacing or ()), "foreground": data.foreground_crop}
    return facts | {name: value for name, value in asked.items() if value}


def _identities(volumes: Sequence[Volume]) -> list[list[str]]:
    """Names of volumes, and what changes with their files."""
    sources = [volume.image.source for volume in volumes]
    return [[Path(source).name, identity(source)] for source in sources]


def _settle_centers(
    finished: Finished,
    request: dict[str, Any],
    given: Centers | None,
    fit_now: Callable[[], Centers],
    *,
    say: Say,
) -> Centers:
    """The centers of this run: given, kept of the ended run that continues, or fitted now.

    Raises:
        CheckpointError: the ended run was given something else.
    """
    kept, written = finished.folder / CENTERS, finished.folder.parent / CENTERS
    if not finished.same(request):
        if finished.has(written, request):
            # The run was complete: what it had finished is skipped.
            finished.keep(request)
            return Centers.load(written, request["features"])
        # What the run was given comes first: kept centers never stand for another request.
        clear(finished.folder)
        finished.keep(request)
    if given is not None:
        return given
    if kept.exists():
        try:
            return Centers.load(kept, request["features"])
        except CheckpointError as error:
            say(f"{error} The centers are fitted again.")
    centers = fit_now()
    centers.save(kept)
    return centers


def _fit(
    dense: Dense,
    volumes: Sequence[Volume],
    count: int,
    *,
    seed: int,
    facts: dict[str, Any],
    say: Say,
    progress: Progress | None,
) -> Centers:
    voxels = sum(int(np.prod(volume.space)) for volume in volumes)
    sample = min(_SAMPLE, max(_LEAST, voxels // _SHARE))
    begin = time.perf_counter()
    given: dict[str, Any] = {"seed": seed, "facts": facts, "sample": sample}
    found = fit(dense, volumes, count, **given, progress=progress)
    say(f"{len(found.values)} centers fitted ({time.perf_counter() - begin:.1f} s)")
    return found


def _write_sheet(
    image: Image,
    path: Path,
    folder: Path,
    rows: Sequence[Mapping[str, Any]],
    names: Mapping[int, str],
    seed: int,
) -> Path:
    shares = {row["label"]: row["share"] for row in rows if row["volume"] == image.name}
    texts = {label: f"{label} {name}: {shares[label]:.1%}" for label, name in names.items()}
    target = folder / "contact" / f"{image.name}.png"
    labels = open_labels(path, ndim=image.ndim)
    atomic_write(target, contact_sheet(image, labels, texts, seed=seed))
    return target
