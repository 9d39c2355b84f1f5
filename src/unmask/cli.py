"""The command line: one sub-command a verb; parsing and printing only.

Nothing heavy is imported before a verb runs, so that ``unmask --help`` answers at once.
"""

from __future__ import annotations

import io
import sys
import traceback
from pathlib import Path
from typing import Annotated

import typer

from unmask import interruption
from unmask.errors import Interrupted, UnmaskError

app = typer.Typer(
    name="unmask",
    help="Images to masks with as few labels as possible.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

Images = Annotated[list[str], typer.Option("--images", help="file, folder, glob or OME-Zarr")]
Out = Annotated[Path, typer.Option("--out", help="folder of the run")]
Preset = Annotated[str | None, typer.Option("--preset", help="a shipped recipe: unmask presets")]
RecipeFile = Annotated[Path | None, typer.Option("--recipe", help="your own recipe (YAML)")]
Settings = Annotated[
    list[str] | None, typer.Option("--set", help="KEY=VALUE, reaches every field of the recipe")
]
Init = Annotated[str | None, typer.Option("--init", help="model file or run to start from")]
Resume = Annotated[bool, typer.Option("--resume", help="go on where an ended run stopped")]
Devices = Annotated[int, typer.Option("--devices", min=1, help="number of GPUs or processes")]
Precision = Annotated[str | None, typer.Option("--precision", help="auto, 32, bf16 or 16")]


@app.command()
def demo(
    out: Annotated[Path, typer.Option("--out", help="folder of the demo")] = Path("demo"),
    axes: Annotated[int, typer.Option("--axes", min=2, max=3, help="2 or 3")] = 2,
) -> None:
    """Pretrain, train, predict and evaluate on synthetic images; ends with a report."""
    from unmask.apps.demo import run_demo

    report = run_demo(out, ndim=axes)
    typer.echo(f"Report: {report}")


@app.command()
def presets(
    name: Annotated[str | None, typer.Argument(help="print this preset as YAML")] = None,
    axes: Annotated[int | None, typer.Option("--axes", help="only those for 2 or 3 axes")] = None,
) -> None:
    """List the shipped recipes, or print one to start your own from."""
    from unmask import recipe

    shipped = recipe.presets()
    if name is not None:
        recipe.load(name)
        typer.echo(shipped[name], nl=False)
        return
    width = max(map(len, shipped))
    for each in map(recipe.load, shipped):
        if axes in (None, each.data.ndim):
            typer.echo(f"{each.name:{width}} {each.description}")


@app.command()
def models() -> None:
    """List the models that come with the package."""
    from unmask import api

    for each in api.shipped_models():
        typer.echo(each.to_text())


@app.command()
def check(
    images: Annotated[list[str], typer.Argument(help="file, folder, glob or OME-Zarr")],
    labels: Annotated[list[str] | None, typer.Option("--labels", help="labels")] = None,
    preset: Preset = None,
    recipe: RecipeFile = None,
    settings: Settings = None,
) -> None:
    """Audit files before training: every problem at once, and a forecast."""
    from unmask import api

    audit = api.check(
        images, labels=labels, recipe=recipe or preset, settings=settings or (), say=typer.echo
    )
    if audit.problems:
        raise typer.Exit(2)


@app.command()
def pretrain(  # noqa: PLR0913 - the options promised
    images: Images,
    out: Out,
    preset: Preset = None,
    recipe: RecipeFile = None,
    init: Init = None,
    settings: Settings = None,
    devices: Devices = 1,
    precision: Precision = None,
    resume: Resume = False,  # noqa: FBT002 - a flag of the command line
) -> None:
    """Learn from unlabelled images."""
    from unmask import api

    run = api.pretrain(
        _chosen(preset, recipe),
        images=images,
        out=out,
        init=init,
        settings=_with_precision(settings, precision),
        devices=devices,
        resume=resume,
    )
    typer.echo(f"Model: {run.model}")


@app.command()
def train(  # noqa: PLR0913 - the options promised
    images: Images,
    out: Out,
    labels: Annotated[
        list[str] | None,
        typer.Option("--labels", help="labels of the images; a dataset.json has them itself"),
    ] = None,
    preset: Preset = None,
    recipe: RecipeFile = None,
    init: Init = None,
    val_images: Annotated[list[str] | None, typer.Option("--val-images")] = None,
    val_labels: Annotated[list[str] | None, typer.Option("--val-labels")] = None,
    replay_images: Annotated[
        list[str] | None, typer.Option("--replay-images", help="a second source, for every batch")
    ] = None,
    replay_labels: Annotated[list[str] | None, typer.Option("--replay-labels")] = None,
    settings: Settings = None,
    devices: Devices = 1,
    precision: Precision = None,
    resume: Resume = False,  # noqa: FBT002 - a flag of the command line
) -> None:
    """Learn to segment from labelled images."""
    from unmask import api

    run = api.train(
        _chosen(preset, recipe),
        images=images,
        labels=labels,
        out=out,
        init=init,
        val_images=val_images,
        val_labels=val_labels,
        replay_images=replay_images,
        replay_labels=replay_labels,
        settings=_with_precision(settings, precision),
        devices=devices,
        resume=resume,
    )
    for name, value in run.metrics.items():
        typer.echo(f"{name}: {value:.4f}")
    typer.echo(f"Model: {run.model}")


@app.command()
def predict(
    images: Annotated[list[str], typer.Argument(help="file, folder, glob or OME-Zarr")],
    model: Annotated[
        list[str], typer.Option("--model", help="model file, run or shipped model; several: mean")
    ],
    out: Annotated[Path, typer.Option("--out", help="folder of the label images")],
    scores: Annotated[bool, typer.Option("--scores", help="write the joined scores too")] = False,  # noqa: FBT002
    tta: Annotated[bool, typer.Option("--tta", help="average over flips")] = False,  # noqa: FBT002
    settings: Settings = None,
    cluster: Annotated[
        str | None,
        typer.Option("--cluster", help="dask scheduler's address, or processes:N, threads:N"),
    ] = None,
    resume: Resume = False,  # noqa: FBT002 - a flag of the command line
) -> None:
    """Segment images of any size, one label image an input, same stem; or classify them."""
    from unmask import api
    from unmask.api.prediction import Options
    from unmask.apps.progress import WindowProgress

    extra = ["infer.tta=true"] if tta else []
    written = api.predict_files(
        model,
        images,
        out=out,
        settings=[*(settings or []), *extra],
        options=Options(scores=scores, cluster=cluster, resume=resume),
        say=typer.echo,
        progress=WindowProgress(),
    )
    typer.echo(f"{len(written)} file(s) in {out}")


@app.command()
def cluster(  # noqa: PLR0913 - the options promised
    volumes: Annotated[list[str], typer.Argument(help="file, folder, glob or OME-Zarr")],
    model: Annotated[str, typer.Option("--model", help="model file, run or shipped model")],
    out: Annotated[Path, typer.Option("--out", help="folder of the label images")],
    classes: Annotated[int | None, typer.Option("--classes", help="number of clusters")] = None,
    quality: Annotated[str, typer.Option("--quality", help="exact, fast or draft")] = "exact",
    compat: Annotated[str, typer.Option("--compat", help="aligned or official")] = "aligned",
    surround: Annotated[
        float, typer.Option("--surround", min=0, help="voxels around that count as well; 0: none")
    ] = 0.0,
    turns: Annotated[bool, typer.Option("--turns", help="mean of 4 turns")] = False,  # noqa: FBT002
    common_mean: Annotated[  # noqa: FBT002 - a flag of the command line
        bool, typer.Option("--common-mean", help="for volumes of different brightness or stain")
    ] = False,
    centres: Annotated[
        str | None, typer.Option("--centres", help="clusters.safetensors of an earlier run")
    ] = None,
    names: Annotated[
        str | None, typer.Option("--names", help="YAML that joins clusters into named classes")
    ] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="same seed, same labels")] = 0,
    workers: Annotated[
        str | None,
        typer.Option("--cluster", help="dask scheduler's address, or processes:N, threads:N"),
    ] = None,
    settings: Settings = None,
    resume: Resume = False,  # noqa: FBT002 - a flag of the command line
) -> None:
    """Group the voxels of volumes without labels, by the features of a pre-trained model."""
    from unmask import api
    from unmask.apps.progress import WindowProgress

    written = api.cluster(
        model,
        volumes,
        out=out,
        classes=classes,
        options=api.ClusterOptions(
            quality=quality,
            compat=compat,
            surround=surround,
            turns=turns,
            common_mean=common_mean,
            seed=seed,
            centres=centres,
            names=names,
            cluster=workers,
            resume=resume,
        ),
        settings=settings or (),
        say=typer.echo,
        progress=WindowProgress(),
    )
    typer.echo(f"{len(written.labels)} label image(s) in {out}")
    typer.echo(f"Look at {out / 'contact'}, then name the clusters in {out / 'names.yaml'}")


@app.command()
def evaluate(  # noqa: PLR0913 - the options promised
    truth: Annotated[list[str], typer.Option("--truth", help="true labels")],
    predicted: Annotated[list[str], typer.Option("--predicted", help="predicted labels")],
    metrics: Annotated[str | None, typer.Option("--metrics", help="NAME,NAME,...")] = None,
    mapping: Annotated[
        str | None,
        typer.Option(
            "--mapping",
            help="of clusters: one_to_one,majority,transferred,transferred_dice; or all",
        ),
    ] = None,
    fit_truth: Annotated[
        list[str] | None, typer.Option("--fit-truth", help="truth to fit the transferred on")
    ] = None,
    fit_predicted: Annotated[
        list[str] | None, typer.Option("--fit-predicted", help="clusters of these images")
    ] = None,
    ignore: Annotated[
        int | None, typer.Option("--ignore", help="value of the truth that counts nowhere")
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", help="report (.json, .csv, .html)")] = None,
    settings: Settings = None,
) -> None:
    """Compare predicted labels, or clusters under some mapping to classes, with the truth."""
    from unmask import api

    names = None if metrics is None else [name.strip() for name in metrics.split(",")]
    files = {"truth": truth, "predicted": predicted, "settings": settings or (), "ignore": ignore}
    if mapping is None:
        report = api.evaluate(**files, metrics=names)
    else:
        report = api.evaluate_clusters(
            **files,
            mappings=None if mapping == "all" else [name.strip() for name in mapping.split(",")],
            fit_truth=fit_truth,
            fit_predicted=fit_predicted,
        )
    typer.echo(report.to_text())
    if out is not None:
        report.write(out)
        typer.echo(f"Report: {out}")


@app.command()
def folds(
    reports: Annotated[list[Path], typer.Argument(help="REPORT.json of each fold's held-out part")],
    out: Annotated[Path | None, typer.Option("--out", help="report (.json, .csv, .html)")] = None,
) -> None:
    """Join the reports of a cross-validation: mean over folds with its 95 % interval."""
    from unmask import metrics

    joined = metrics.join_folds({str(path): metrics.read_report(path) for path in reports})
    typer.echo(joined.to_text())
    if out is not None:
        joined.write(out)
        typer.echo(f"Report: {out}")


@app.command()
def curve(  # noqa: PLR0913 - the options promised
    images: Images,
    labels: Annotated[list[str], typer.Option("--labels", help="labels of the images")],
    out: Annotated[Path, typer.Option("--out", help="folder of the runs, table and plot")],
    preset: Preset = None,
    recipe: RecipeFile = None,
    val_images: Annotated[list[str] | None, typer.Option("--val-images")] = None,
    val_labels: Annotated[list[str] | None, typer.Option("--val-labels")] = None,
    unlabeled: Annotated[
        list[str] | None, typer.Option("--unlabeled", help="images to pre-train on")
    ] = None,
    pretrain: Annotated[
        str | None,
        typer.Option("--pretrain", help="presets for these: NAME,...; default: what suits"),
    ] = None,
    init: Annotated[
        list[str] | None, typer.Option("--init", help="NAME=MODEL to start from, repeatable")
    ] = None,
    labels_per_run: Annotated[
        str | None, typer.Option("--labels-per-run", help="N,N,...; default: 1,2,4,8,...")
    ] = None,
    repeats: Annotated[int, typer.Option("--repeats", help="draws of images and seeds")] = 3,
    settings: Settings = None,
    pretrain_settings: Annotated[
        list[str] | None, typer.Option("--pretrain-set", help="KEY=VALUE of the pre-trainings")
    ] = None,
    cluster: Annotated[
        str | None,
        typer.Option("--cluster", help="of the runs: dask scheduler's address, or processes:N"),
    ] = None,
    resume: Resume = False,  # noqa: FBT002 - a flag of the command line
) -> None:
    """How many labels are needed, and what pre-training saves: a table, a plot, a sentence."""
    from unmask.apps.curve import Files, Plan, run_curve

    plan = Plan(
        counts=None if labels_per_run is None else _numbers(labels_per_run),
        repeats=repeats,
        starts=_named(init or []),
        pretrain=() if pretrain is None else tuple(n.strip() for n in pretrain.split(",")),
        pretrain_settings=tuple(pretrain_settings or ()),
        settings=tuple(settings or ()),
        cluster=cluster,
    )
    files = Files(images, labels, val_images, val_labels, unlabeled)
    chosen = _chosen(preset, recipe)
    run_curve(chosen, files, out=out, plan=plan, resume=resume, say=typer.echo)


@app.command()
def plot(
    runs: Annotated[list[str], typer.Argument(help="folders of runs, or NAME=FOLDER")],
    out: Annotated[Path, typer.Option("--out", help="FIGURE.png or .svg")],
    figures: Annotated[
        str | None, typer.Option("--figures", help="of the journals: loss,validation/dice,...")
    ] = None,
) -> None:
    """Draw loss and validation of several runs into one figure, to compare them."""
    from unmask.apps.plot import run_plot

    names = None if figures is None else [name.strip() for name in figures.split(",")]
    run_plot(runs, out=out, figures=names)
    typer.echo(f"Figure: {out}")


def _numbers(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError as error:
        raise typer.BadParameter(f"{text!r}: give whole numbers such as 1,2,4,8") from error


def _named(pairs: list[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for pair in pairs:
        name, equals, path = pair.partition("=")
        if not equals or not path or name in found:
            raise typer.BadParameter(f"--init {pair}: give NAME=MODEL, each name once")
        found[name] = path
    return found


@app.command()
def convert(
    weights: Annotated[Path, typer.Argument(help="published weights: .safetensors, .pth, .pt")],
    source: Annotated[str, typer.Option("--source", help="mae, maester, glmae, mediar, ...")],
    out: Annotated[Path, typer.Option("--out", help="model file (.safetensors)")],
    settings: Settings = None,
) -> None:
    """Turn weights of a published program into a model file; no code in them is run."""
    from unmask import api

    written = api.convert(weights, source=source, out=out, settings=settings or ())
    typer.echo(f"Model: {written}")


def _chosen(preset: str | None, recipe: Path | None) -> str:
    if (preset is None) == (recipe is None):
        raise typer.BadParameter("give either --preset NAME or --recipe FILE")
    return str(recipe) if preset is None else preset


def _with_precision(settings: list[str] | None, precision: str | None) -> list[str]:
    chosen = [] if precision is None else [f"train.precision={precision!r}"]
    return [*(settings or []), *chosen]


def main() -> None:
    """Run the command line; exit codes as promised: 0, 1 our fault, 2 yours, 130, 143."""
    for stream in (sys.stdout, sys.stderr):
        # File names need not be text of the terminal's encoding; a message must not end a run.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    interruption.remember()
    try:
        app()
    except UnmaskError as error:
        typer.echo(f"Error: {error}", err=True)
        sys.exit(2)
    except Interrupted as end:
        typer.echo(str(end), err=True)
        sys.exit(end.code)
    except KeyboardInterrupt:
        typer.echo("Interrupted.", err=True)
        sys.exit(130)
    except Exception:  # noqa: BLE001 - the last resort, told as our fault
        traceback.print_exc()
        typer.echo("This is a defect of unmask. Please report it with the lines above.", err=True)
        sys.exit(1)
