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

from unmask.api.values import ModelLike, Say, Settings
from unmask.atomic import atomic_write
from unmask.blocks.resume import Finished, batch, clear, mark
from unmask.cluster.assign import Counts, EncoderFile, label_volume, needs, plan_labels
from unmask.cluster.centers import Centres, Volume, fit, prepare, without_mean
from unmask.cluster.contact_sheet import contact_sheet
from unmask.cluster.dense import Dense
from unmask.cluster.encoder import Encoder, load_encoder
from unmask.cluster.names import as_csv, classes_of, describe, write_template
from unmask.data import NORMALIZERS
from unmask.data.pairing import image_files
from unmask.data.pairs import (
    Pair,
    Paths,
    check_unchanged,
    fingerprint,
    keep_inputs,
)
from unmask.errors import CheckpointError, DataError, RecipeError, gather
from unmask.infer.tiles import Progress
from unmask.io import Image, open_image, open_labels, output_name
from unmask.io.missing_chunks import unwritten
from unmask.lookup import build

CENTRES, STATISTICS, NAMES = "clusters.safetensors", "clusters.csv", "names.yaml"
# Vectors that centres are fitted to: this many, or of small images a part.
_SAMPLE, _LEAST, _SHARE = 200_000, 20_000, 4


@dataclass(frozen=True)
class ClusterOptions:
    """How ``cluster`` works.

    Attributes:
        quality: ``exact``, ``fast`` or ``draft``, see ``unmask.cluster.dense.Dense``.
        compat: ``aligned``, or ``official`` for the displaced vectors of MAESTER's program.
        surround: voxels; what is that far around a voxel counts as well, 0: no.
        turns: mean vectors of four quarter turns, at four times the cost, so that clusters do not
            sort edges by their direction.
        common_mean: take from the vectors of every volume their mean, for volumes that differ in
            brightness or stain.
        seed: the same seed gives the same labels.
        centres: apply these centres instead of fitting new ones.
        names: YAML of class names with the numbers of their clusters.
        cluster: None for this process; ``threads:N`` or ``processes:N`` for workers on this
            machine; or the address of a dask.distributed scheduler.
        resume: go on where an ended run stopped.
    """

    quality: str = "exact"
    compat: str = "aligned"
    surround: float = 0.0
    turns: bool = False
    common_mean: bool = False
    seed: int = 0
    centres: str | Path | None = None
    names: str | Path | None = None
    cluster: str | None = None
    resume: bool = False


@dataclass(frozen=True)
class Clustered:
    """What ``cluster`` wrote.

    Attributes:
        labels: label images, one for each volume.
        centres: to be applied to other volumes.
        statistics: CSV with a line for every cluster of every volume.
        sheets: pictures of the clusters, one for each volume.
    """

    labels: list[Path]
    centres: Path
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
        classes: number of clusters; None with ``options.centres``.
        options: quality, seed, centres and names.
        settings: changes to ``data.normalize``, ``data.axes`` and ``infer.precision``.
        say: gets one line a file.
        progress: called with (blocks done, blocks in all) of the volume in work.
        allow_code: run parts that the model carries as source; without it such a model is refused.

    Raises:
        DataError: files that cannot be read, images of one value, or more clusters than distinct
            vectors.
        RecipeError: neither or both of ``classes`` and centres; names of clusters there are not.
        CheckpointError: a model without patch tokens, or centres of other features; another run
            works in ``out``, or an ended one was given something else.
        SaveError: ``out`` cannot be written.
    """
    options = options or ClusterOptions()
    _check_request(classes, options)
    encoder = load_encoder(model, settings, allow_code=allow_code, say=say)
    dense = encoder.dense(
        quality=options.quality,
        compat=options.compat,
        surround=options.surround,
        turns=options.turns,
    )
    origin = EncoderFile(
        str(Path(model).absolute() if Path(model).exists() else model),
        tuple(settings),
        encoder.digest,
        options.quality,
        options.compat,
        options.surround,
        options.turns,
        encoder.recipe.data.axes,
        allow_code,
    )
    folder = Path(out)
    notes: list[str] = []
    pairs = [Pair(image.name, image) for image in _opened(volumes, encoder, notes)]
    for note in notes:
        say(f"note: {note}")
    keep_inputs(pairs, folder, resume=options.resume)
    before = fingerprint(pairs)
    prepared = _prepared(dense, pairs, encoder)
    facts = _facts(dense, encoder)
    if options.common_mean:
        facts["common_mean"] = True
    given = None if options.centres is None else Centres.load(options.centres, facts)
    count = (classes or 0) if given is None else len(given.values)
    table, names = classes_of(options.names, count)
    for volume in prepared:
        if note := unwritten(volume.image.source):
            say(note)
        say(f"{volume.image.source}: {needs(dense, volume)}")
    if options.common_mean:
        prepared = [without_mean(dense, volume) for volume in prepared]
    written = Clustered([], folder / CENTRES, folder / STATISTICS, [])
    rows: list[dict[str, Any]] = []
    with batch(folder, resume=options.resume) as finished:
        request = {
            "features": facts,
            "precision": dense.precision,
            "axes": encoder.recipe.data.axes,
            "names": table.tolist(),
            "unmask": version("unmask"),
        }
        if given is None:
            request |= {"clusters": count, "seed": options.seed, "volumes": _marks(prepared)}
        else:
            request |= {"centres": given.digest}
        fitted = partial(_fitted, dense, prepared, count, seed=options.seed, facts=facts, say=say)
        centres = _settled(finished, request, given, fitted, say=say)
        centres.save(folder / CENTRES)
        for number, volume in enumerate(prepared, 1):
            begin = time.perf_counter()
            path = output_name(volume.image, folder)
            plan = plan_labels(dense, centres, volume, table)
            if done := finished.has(path, plan.facts):
                counts = Counts(*map(np.array, finished.result(path)))
            else:
                counts = label_volume(
                    dense,
                    centres,
                    volume,
                    path,
                    classes=table,
                    cluster=options.cluster,
                    origin=origin,
                    resume=options.resume,
                    progress=progress,
                )
                source = volume.image.source
                check_unchanged({source: before[source]}, [pairs[number - 1]])
                result = [counts.voxels.tolist(), counts.intensity.tolist()]
                finished.add(path, plan.facts, result)
            rows += describe(volume.image, path, counts, table, names)
            written.labels.append(path)
            written.sheets.append(_sheet(volume.image, path, folder, rows, names, options.seed))
            spent = "finished before" if done else f"{time.perf_counter() - begin:.1f} s"
            say(f"[{number}/{len(prepared)}] {volume.image.source} -> {path} ({spent})")
        atomic_write(written.statistics, as_csv(rows))
        if options.names is None and (note := write_template(folder / NAMES, count)):
            say(note)
    return written


def _check_request(classes: int | None, options: ClusterOptions) -> None:
    if (classes is None) == (options.centres is None):
        raise RecipeError(
            "cluster: expected either a number of clusters (--classes K) or centres of an earlier "
            f"run (--centers {CENTRES}), found {'neither' if classes is None else 'both'}."
        )
    if classes is not None and not 1 <= classes <= 65535:
        raise RecipeError(f"--classes {classes}: expected 1 to 65535.")


def _opened(volumes: Paths, encoder: Encoder, notes: list[str]) -> list[Image]:
    """Images of as many axes as the model has, or one more, whose sections it then sees."""
    data = encoder.recipe.data
    if data.spacing is not None or data.foreground_crop is not None:
        raise RecipeError(
            f"cluster: expected a model that sees volumes on their own grid, found data.spacing="
            f"{data.spacing} and data.foreground_crop={data.foreground_crop}. Bring the volumes to "
            "that grid first, and --set data.spacing=null --set data.foreground_crop=null."
        )
    tries = (data.ndim, data.ndim + 1) if data.sections is None else (data.ndim + 1, data.ndim)
    images: list[Image] = []
    problems: list[str] = []
    for _, path in image_files(volumes, notes):
        try:
            images.append(
                _first(lambda ndim, p=path: open_image(p, axes=data.axes, ndim=ndim), tries)
            )
        except DataError as error:
            problems.append(str(error))
    names = [image.name for image in images]
    problems += [
        f"{image.source}: expected different names, found two images {image.name!r}. Rename one."
        for place, image in enumerate(images)
        if image.name in names[:place]
    ]
    if problems:
        raise DataError(gather(problems, heading=f"{len(problems)} problem(s) found:"))
    return images


def _first(opened: Callable[[int], Image], tries: Iterable[int]) -> Image:
    """The first that can be opened; the first error where none can."""
    errors: list[DataError] = []
    for each in tries:
        try:
            return opened(each)
        except DataError as error:
            errors.append(error)
    raise errors[0]


def _prepared(dense: Dense, pairs: Sequence[Pair], encoder: Encoder) -> list[Volume]:
    data = encoder.recipe.data
    normalize = build(data.normalize.choice, NORMALIZERS, "data.normalize")
    problems: list[str] = []
    found: list[Volume] = []
    for pair in pairs:
        try:
            found.append(prepare(dense, pair.image, channels=data.channels, normalize=normalize))
        except DataError as error:
            problems.append(str(error))
    if problems:
        raise DataError(gather(problems, heading=f"{len(problems)} problem(s) found:"))
    return found


def _facts(dense: Dense, encoder: Encoder) -> dict[str, Any]:
    """What the vectors depend on."""
    facts = {
        "weights": encoder.digest,
        "quality": dense.quality,
        "compat": dense.compat,
        "normalize": encoder.recipe.data.normalize.model_dump(mode="json"),
        "dim": dense.dim,
    }
    asked = {"surround": dense.surround, "turns": dense.turns}
    return facts | {name: value for name, value in asked.items() if value}


def _marks(volumes: Sequence[Volume]) -> list[list[str]]:
    """Names of volumes, and what changes with their files."""
    sources = [volume.image.source for volume in volumes]
    return [[Path(source).name, mark(source)] for source in sources]


def _settled(
    finished: Finished,
    request: dict[str, Any],
    given: Centres | None,
    fitted: Callable[[], Centres],
    *,
    say: Say,
) -> Centres:
    """The centres of this run: given, kept of the ended run that goes on, or fitted now.

    Raises:
        CheckpointError: the ended run was given something else.
    """
    request = json.loads(json.dumps(request))
    kept = finished.folder / CENTRES
    if not finished.same(request):
        # What the run was given comes first: kept centres never stand for another request.
        clear(finished.folder)
        finished.keep(request)
    if given is not None:
        return given
    if kept.exists():
        try:
            return Centres.load(kept, request["features"])
        except CheckpointError as error:
            say(f"{error} The centres are fitted again.")
    centres = fitted()
    centres.save(kept)
    return centres


def _fitted(
    dense: Dense,
    volumes: Sequence[Volume],
    count: int,
    *,
    seed: int,
    facts: dict[str, Any],
    say: Say,
) -> Centres:
    voxels = sum(int(np.prod(volume.space)) for volume in volumes)
    sample = min(_SAMPLE, max(_LEAST, voxels // _SHARE))
    begin = time.perf_counter()
    found = fit(dense, volumes, count, seed=seed, facts=facts, sample=sample)
    say(f"{len(found.values)} centres fitted ({time.perf_counter() - begin:.1f} s)")
    return found


def _sheet(
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
