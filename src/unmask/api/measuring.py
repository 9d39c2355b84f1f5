"""``measure``: a table of the objects of label images, and their outlines."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from unmask.api.files import FileTask, run_files
from unmask.api.prediction_options import TABLE
from unmask.atomic import refuse_folder
from unmask.blocks.scheduler import check_workers
from unmask.data.channel_choice import all_channels, channel_numbers, known_names, select_channels
from unmask.data.fingerprint import fingerprint
from unmask.data.pairing import Pair
from unmask.errors import DataError, message
from unmask.interruption import note_kept
from unmask.io import Image
from unmask.io.contract import unit_symbol
from unmask.io.label_groups import plate_key
from unmask.io.paths import locate
from unmask.measurement import Table, concatenate, measure_image
from unmask.measurement.outlined import OutlineFiles, outlines_folder
from unmask.measurement.part import Part
from unmask.measurement.sources import Several, Source, open_sources
from unmask.measurement.stack import join_positions, measure_positions
from unmask.measurement.volume import Progress, Scale
from unmask.measurement.writing import refuse_other_tables, table_writer, write_table
from unmask.own_files import refuse_existing
from unmask.space.spacing import check_spacing
from unmask.wording import format_count

Say = Callable[[str], None]
# What the blocks of a label image gave, position by position.
Parts = Sequence[Sequence[Part]]
# Values of objects that were found elsewhere: by id, or in the order of the ids.
Extra = Mapping[str, Mapping[int, float] | np.ndarray]


@dataclass(frozen=True)
class MeasureOptions:
    """How objects are measured.

    Attributes:
        spacing: voxel size, slow axis first; None: as the files say, the labels before the image.
        unit: of ``spacing``; None: as the files say, "um" where you give a spacing yourself.
        planes: "z" or "t": the objects of each plane or point in time are measured in 2D. The
            points in time of a movie are always measured one by one.
        channels: channels to measure, by number or name; names for all channels, if the image has
            none. None: all.
        rois: formats of outlines that are written too: "imagej", "geojson", "coco".
        cluster: None for this process; ``threads:N`` or ``processes:N`` for workers on this
            machine; or the address of a dask.distributed scheduler.
        overwrite: replace a table and outlines of an earlier run.
    """

    spacing: Sequence[float] | None = None
    unit: str | None = None
    planes: str | None = None
    channels: Sequence[int | str] | None = None
    rois: Sequence[str] = ()
    cluster: str | None = None
    overwrite: bool = False


def measure(
    labels: Several,
    *,
    images: Several | None = None,
    spacing: Sequence[float] | None = None,
    unit: str | None = None,
    columns: Extra | None = None,
    options: MeasureOptions | None = None,
    say: Say = print,
) -> Table:
    """Measure every object of label images: size, shape, neighbors and intensities.

    The definition of every column is in ``unmask.measurement.columns``.

    Args:
        labels: array ``(*space)``, path, folder, glob or opened image; 0 is background.
        images: the images that belong to the labels, ``(*space)``, ``(C, *space)`` or paths.
        spacing: voxel size, slow axis first.
        unit: of ``spacing``, "um" if not given.
        columns: more columns, such as scores: values by id, or one per object by ascending id.
        options: more about how objects are measured.
        say: gets a line on what is doubtful, such as overlapping outlines.

    Raises:
        DataError: labels that are not ids, or images of another shape; all at once.

    Examples:
        >>> table = measure(np.array([[0, 7, 7], [0, 0, 9]]), spacing=(0.5, 0.5))
        >>> table["id"], table["area"], table["area_um2"]
        (array([7, 9], dtype=uint64), array([2, 1]), array([0.5 , 0.25]))
    """
    base = options or MeasureOptions()
    chosen = MeasureOptions(
        spacing if spacing is not None else base.spacing, unit or base.unit,
        base.planes, base.channels, cluster=base.cluster,
    )  # fmt: skip
    sources = open_sources(labels, images, planes=chosen.planes, say=say)
    measured = _measured_elsewhere(sources, chosen, None)
    tables = [
        measure_source(source, chosen, parts=parts)
        for source, parts in zip(sources, measured, strict=True)
    ]
    table = concatenate(tables)
    return _extend(table, columns) if columns else table


def measure_files(
    labels: str | Path | Sequence[str | Path],
    *,
    out: str | Path,
    images: str | Path | Sequence[str | Path] | None = None,
    options: MeasureOptions | None = None,
    say: Say = print,
    progress: Progress | None = None,
) -> Table:
    """Measure the objects of label files and write one table.

    Args:
        labels: file, folder, glob or OME-Zarr, or several of them; or outlines.
        out: the table, ``.csv``, ``.parquet`` or ``.h5ad``; outlines go to ``<out>_rois`` next to
            it.
        images: the images of the labels; they pair by stem.
        options: how objects are measured.
        say: gets one line per file.
        progress: called with (blocks done, blocks in all) of each image.

    Raises:
        DataError: files that do not pair, cannot be read or differ in shape; all at once. Or
            ``out`` is another file, or an earlier table without ``options.overwrite``.
        MissingPackageError: the format of the table needs an extra.
        SaveError: the table cannot be written.
    """
    table_writer(out)
    refuse_folder(out)
    chosen = options or MeasureOptions()
    check_workers(chosen.cluster)
    path = Path(out)
    outlines = OutlineFiles(outlines_folder(path), chosen.rois)
    sources = open_sources(labels, images, planes=chosen.planes, say=say)
    _keep_inputs(sources, path)
    _refuse_outputs(path, outlines, overwrite=chosen.overwrite)
    for source in sources:
        outlines.check(source.labels, divided=bool(divided_axes(source.labels, chosen)))
    pairs = [Pair(source.name, source.labels, source.image) for source in sources]
    before = fingerprint(pairs)
    measured = _measured_elsewhere(sources, chosen, progress)
    tasks = [
        FileTask(
            pair,
            partial(measure_source, source, chosen, parts=parts, say=say, progress=progress),
            describe=lambda table: format_count(len(table), "object"),
        )
        for pair, source, parts in zip(pairs, sources, measured, strict=True)
    ]
    tables = []
    with note_kept(partial(_describe_kept, outlines)):
        for source, (_, table) in zip(sources, run_files(tasks, before, say=say), strict=True):
            tables.append(table)
            if chosen.rois:
                divided = bool(divided_axes(source.labels, chosen))
                outlines.add(source.name, source.labels, table, divided=divided)
        table = concatenate(tables)
        outlines.finish()
        write_table(table, out)
    return table


def _describe_kept(outlines: OutlineFiles) -> str:
    """What an ended run leaves, for people; "" if there is nothing."""
    if not (outlines.formats and outlines.folder.exists()):
        return ""
    return f"Outlines written so far are in {outlines.folder}; there is no table."


def write_objects(
    predicted: Sequence[tuple[Image, Image, str]],
    folder: Path,
    *,
    columns: Sequence[Mapping[str, Mapping[int, float]]] = (),
    say: Say = print,
) -> Path:
    """Write ``objects.csv`` with the objects of predicted label images, measured in their images.

    Args:
        predicted: labels, image, and the axes of a stack whose positions are measured alone, such
            as "t"; "" for an image.
        folder: where to.
        columns: more columns for each image, by id.
        say: gets a line on the table.

    Raises:
        SaveError: the table cannot be written.
    """
    tables = [
        measure_source(
            Source(image.name, labels, all_channels(image)), MeasureOptions(planes=apart or None)
        )
        for labels, image, apart in predicted
    ]
    if columns:
        tables = [table.extend(more) for table, more in zip(tables, columns, strict=True)]
    table = concatenate(tables)
    path = folder / TABLE
    write_table(table, path)
    say(f"{path}: {format_count(len(table), 'object')}")
    return path


def _measured_elsewhere(
    sources: Sequence[Source], options: MeasureOptions, progress: Progress | None
) -> Sequence[Parts | None]:
    """What workers have measured, for each source; None: to be measured here."""
    if options.cluster is None:
        return [None] * len(sources)
    # A measurement in this process needs no scheduler.
    from unmask.api.measuring_blocks import measure_on_workers

    return measure_on_workers(sources, options, options.cluster, progress)


def measure_source(
    source: Source,
    options: MeasureOptions,
    *,
    parts: Parts | None = None,
    say: Say | None = None,
    progress: Progress | None = None,
) -> Table:
    """The table of one label image, with the columns that say where an object is.

    ``parts`` is what workers have measured at each position.
    """
    pending = [say]
    measured = iter(parts or ())
    chosen, names = choose_channels(source.image, options.channels)

    def measure(labels: Image, image: Image | None) -> Table:
        # What is doubtful of the voxel size is the same at all positions.
        scale = find_scale(labels, image, options, pending.pop() if pending else None)
        here: dict[str, Any] = {"parts": next(measured, None), "progress": progress}
        return measure_image(labels, image, scale=scale, names=names, **here)

    tables = measure_positions(source.labels, chosen, divided_axes(source.labels, options), measure)
    return join_positions(tables, name=source.name, well=_well(source))


def _well(source: Source) -> str:
    """The well of a field of a plate, such as ``B3``; "" for other images."""
    fields = (each.source for each in (source.image, source.labels) if each is not None)
    keys = (plate_key(locate(field)) for field in fields if ".zarr" in field)
    return next(("".join(key.split("/")[:2]) for key in keys if key), "")


def divided_axes(labels: Image, options: MeasureOptions) -> str:
    """Letters of the axes along which objects are separate; points in time always are.

    Examples:
        >>> movie = Image.from_array(np.zeros((2, 3, 4, 5), np.uint8), axes="CZYX")
        >>> divided_axes(movie, MeasureOptions(planes="z")), divided_axes(movie, MeasureOptions())
        ('z', '')
    """
    planes = options.planes or ""
    if "T" not in labels.axes or len(planes) > 1:
        return planes
    volumes = labels.ndim > len("TYX")
    return f"t{planes.replace('t', '')}" if volumes else planes or "t"


def choose_channels(
    image: Image | None, channels: Sequence[int | str] | None
) -> tuple[Image | None, list[str] | None]:
    """The channels to measure, and their names if the image has none.

    Raises:
        DataError: channels that the image does not have.
    """
    if image is None or not channels:
        return image, None
    if not any(known_names(image)) and all(isinstance(each, str) for each in channels):
        return image, [str(each) for each in channels]
    return select_channels(image, channel_numbers(image, channels)), None


def find_scale(
    labels: Image, image: Image | None, options: MeasureOptions, say: Say | None
) -> Scale | None:
    """Voxel size: given, or of the labels' file, or of the image's."""
    if options.spacing is not None:
        given = check_spacing(options.spacing, labels.ndim, source=labels.source) or ()
        return Scale(given, _unit(options) or "um")
    known = [each for each in (labels, image) if each is not None and each.spacing is not None]
    if not known:
        if options.unit and say is not None:
            say(f"{labels.source}: no voxel size is known, so unit={options.unit} is not used.")
        return None
    first, last = known[0], known[-1]
    if say is not None and not np.allclose(first.spacing or 0, last.spacing or 0, rtol=1e-3):
        say(
            f"{labels.source}: its voxel size {first.spacing} {first.unit or ''} is used, not that "
            f"of {last.source}, {last.spacing} {last.unit or ''}."
        )
    return Scale(first.spacing or (), _unit(options) or first.unit or "unit")


def _unit(options: MeasureOptions) -> str | None:
    """The unit that was asked for, as a short symbol where it has one."""
    return unit_symbol(options.unit) or options.unit


def _extend(table: Table, columns: Extra) -> Table:
    """The table with more columns; an id without a value has NaN."""
    added = {}
    for name, values in columns.items():
        if isinstance(values, Mapping):
            added[name] = table.extend({name: values})[name]
        elif len(values) == len(table):
            added[name] = np.asarray(values)
        else:
            raise DataError(
                message(
                    f"columns[{name!r}]",
                    expected=f"one value for each of {len(table)} objects",
                    found=f"{len(values)}",
                    do="Give them by ascending id, or as a dictionary by id.",
                )
            )
    return Table({**table.columns, **added}, table.spatial)


def _refuse_outputs(path: Path, outlines: OutlineFiles, *, overwrite: bool) -> None:
    """Refuse to replace files of others, and own ones unless that was asked for."""
    refuse_other_tables(path)
    refuse_existing(path, overwrite=overwrite)
    if outlines.formats:
        refuse_existing(outlines.folder, overwrite=overwrite)


def _keep_inputs(sources: Sequence[Source], out: Path) -> None:
    """Refuse to overwrite a file that is read."""
    for source in sources:
        for image in (source.labels, source.image):
            if image is not None and Path(image.source).resolve() == out.resolve():
                raise DataError(
                    message(out, expected="a new file", found="one of the inputs",
                         do="Choose another name with --out.")
                )  # fmt: skip
