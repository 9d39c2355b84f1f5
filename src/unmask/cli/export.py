"""``unmask export``: options and printing only."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from unmask.cli.options import OUTPUT, RECIPE, AllowCode
from unmask.cli.terminal import emit, show, show_next

if TYPE_CHECKING:
    from unmask.exports.write import ExportedFile


def export(
    *,
    model: Annotated[
        str,
        typer.Option(
            "--model",
            metavar="MODEL",
            help="A model file, a run or the name of a shipped model.",
            rich_help_panel=RECIPE,
        ),
    ],
    form: Annotated[
        str,
        typer.Option(
            "--format",
            metavar="onnx|torchscript|bioimageio",
            help="The format of the file.",
            rich_help_panel=OUTPUT,
        ),
    ],
    out: Annotated[
        Path,
        typer.Option(
            "--out",
            metavar="PATH",
            help="The file to write; its name ends in .onnx, .pt or .zip. It must not exist.",
            rich_help_panel=OUTPUT,
        ),
    ],
    check: Annotated[
        bool,
        typer.Option(
            "--check",
            help="Run the file, and compare its scores with those of the network at two image "
            "sizes and batches of 1 and 3. If they differ, the file is not kept.",
            rich_help_panel=OUTPUT,
        ),
    ] = False,
    allow_code: AllowCode = False,
) -> None:
    """Export a model to ONNX, TorchScript or a BioImage.IO package.

    Other programs run the file without unmask. `unmask predict --model FILE` runs it too. Needs
    the extra export: pip install 'unmask[export]'.

    Examples:
        unmask export --model nuclei --format onnx --out nuclei.onnx --check
        unmask export --model runs/cells --format bioimageio --out cells.zip
    """
    from unmask import api

    written = api.export(model, format=form, out=out, check=check, allow_code=allow_code, say=show)
    record = {
        "model": written.path,
        "format": written.format,
        "bytes": written.size,
        "difference": written.comparison and written.comparison.difference,
    }
    emit(record, _report(written))
    show_next(["unmask", "predict", "IMAGES", "--model", written.path, "--out", "LABELS"])


def _report(written: ExportedFile) -> str:
    description, compared = written.description, written.comparison
    where = "in the file" if description["normalize"]["inside"] else "before the file"
    lines = [
        f"Exported: {written.path} ({written.size / 1e6:.1f} MB)",
        f"  images: {description['input']['axes']}, {description['input']['channels']} channels; "
        f"normalization {description['normalize']['name']}, {where}",
        f"  scores: {', '.join(description['output']['channels'])}",
    ]
    if compared is not None:
        sizes = ", ".join(" x ".join(map(str, shape)) for shape in compared.shapes)
        lines.append(f"  checked with {sizes}: largest difference {compared.difference:.1e}")
    return "\n".join(lines)
