"""``unmask evaluate``: options and printing only."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Annotated

import typer

from unmask.cli.options import DATA, ReportFile, Settings, split_words
from unmask.cli.terminal import emit, show
from unmask.startup import quick_imports

_PANEL = "Metrics"


@dataclass(frozen=True, kw_only=True)
class EvaluateOptions:
    """Arguments and options of the verb."""

    truth: Annotated[
        list[str],
        typer.Option("--truth", metavar="PATH", help="The true labels.", rich_help_panel=DATA),
    ]
    predicted: Annotated[
        list[str],
        typer.Option(
            "--predicted",
            metavar="PATH",
            help="The predicted labels. They pair with the true ones by file name.",
            rich_help_panel=DATA,
        ),
    ]
    images: Annotated[
        list[str] | None,
        typer.Option(
            "--images",
            metavar="PATH",
            help="The images, for the pictures of an HTML report. Of tables of classes, only the "
            "lines of these images are compared.",
            rich_help_panel=DATA,
        ),
    ] = None
    metrics: Annotated[
        str | None,
        typer.Option(
            "--metrics",
            metavar="NAME,...",
            help="Metrics to compute, such as f1@0.5,ap,pq for objects or dice,iou,hd95 for "
            "classes. Without it, the metrics that fit the true labels.",
            rich_help_panel=_PANEL,
        ),
    ] = None
    mapping: Annotated[
        str | None,
        typer.Option(
            "--mapping",
            metavar="NAME,...",
            help="The predicted labels are clusters: assign them to classes by one_to_one, "
            "majority, transferred or transferred_dice, or by all of them (all).",
            rich_help_panel=_PANEL,
        ),
    ] = None
    fit_truth: Annotated[
        list[str] | None,
        typer.Option(
            "--fit-truth",
            metavar="PATH",
            help="True labels to learn a transferred mapping from.",
            rich_help_panel=DATA,
        ),
    ] = None
    fit_predicted: Annotated[
        list[str] | None,
        typer.Option(
            "--fit-predicted",
            metavar="PATH",
            help="Clusters of the images of --fit-truth.",
            rich_help_panel=DATA,
        ),
    ] = None
    ignore: Annotated[
        int | None,
        typer.Option(
            "--ignore",
            metavar="VALUE",
            help="Leave out voxels whose true label has this value.",
            rich_help_panel=_PANEL,
        ),
    ] = None
    out: ReportFile = None
    settings: Settings = None


def evaluate(options: EvaluateOptions) -> None:
    """Compare predicted labels with true labels.

    The summary is printed; --out writes one row per image as well. With --json the whole report is
    printed as one object.

    Examples:
        # Metrics that fit the labels
        unmask evaluate --truth truth/ --predicted predicted/
        # Chosen metrics, as a web page
        unmask evaluate --truth truth/ --predicted predicted/ --metrics f1@0.5,aji \
            --out report.html
        # Classes of whole images
        unmask evaluate --truth classes.csv --predicted predicted/predicted.csv --images images/
        # Clusters, assigned to classes
        unmask evaluate --truth truth/ --predicted clusters/ --mapping majority --metrics dice
    """
    with quick_imports():
        from unmask import api
        from unmask.api import evaluation
        from unmask.metrics.report import check_report_path, refuse_other_files

    if options.out is not None:
        check_report_path(options.out)
        refuse_other_files(options.out)
    names = None if options.metrics is None else split_words(options.metrics)
    files = {
        "truth": options.truth,
        "predicted": options.predicted,
        "settings": options.settings or (),
        "ignore": options.ignore,
    }
    if options.mapping is None:
        report = evaluation.evaluate(**files, metrics=names, images=options.images)
    else:
        report = api.evaluate_clusters(
            **files,
            mappings=None if options.mapping == "all" else split_words(options.mapping),
            fit_truth=options.fit_truth,
            fit_predicted=options.fit_predicted,
        )
    emit(json.loads(report.to_json()), report.to_text())
    show(report.describe_numbers())
    if options.out is None:
        return
    if options.mapping is None and options.out.suffix.lower() == ".html":
        given = {"truth": options.truth, "predicted": options.predicted, "images": options.images}
        api.write_page(report, options.out, **given, settings=options.settings or ())
    else:
        report.write(options.out)
    show(f"Report: {options.out}")
