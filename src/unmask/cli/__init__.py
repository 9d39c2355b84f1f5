"""The command line: one file per verb; parsing and printing only.

Nothing heavy is imported before a verb runs, so that ``unmask --help`` answers at once.
"""

from __future__ import annotations

import io
import sys
import threading
import traceback
from pathlib import Path

import typer

from unmask import interruption
from unmask.atomic import free_space
from unmask.cli.check import check
from unmask.cli.cluster import cluster
from unmask.cli.convert import convert
from unmask.cli.curve import curve
from unmask.cli.demo import demo
from unmask.cli.evaluate import evaluate
from unmask.cli.folds import folds
from unmask.cli.info import info
from unmask.cli.measure import measure
from unmask.cli.models import models
from unmask.cli.plot import plot
from unmask.cli.predict import predict
from unmask.cli.presets import presets
from unmask.cli.pretrain import pretrain
from unmask.cli.terminal import show
from unmask.cli.train import train
from unmask.errors import Interrupted, UnmaskError
from unmask.startup import silence_libraries

app = typer.Typer(
    name="unmask",
    help="Images to masks with as few labels as possible.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

# In the order of a project: what to look at first, then training, results and tools.
for verb in (
    demo, info, presets, models, check, pretrain, train, predict, measure, cluster, evaluate, folds,
    curve, plot, convert,
):  # fmt: skip
    app.command()(verb)


_ENDED = "Ended early. Finished work is kept: where the verb has --resume, it resumes from there."


def main() -> None:
    """Run the command line; exit codes as promised: 0, 1 our fault, 2 yours, 130, 143."""
    for stream in (sys.stdout, sys.stderr):
        # File names need not be text of the terminal's encoding; a message must not end a run.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    silence_libraries()
    threading.excepthook = _in_thread
    interruption.remember()
    try:
        app()
    except UnmaskError as error:
        show(f"Error: {error}", err=True)
        sys.exit(2)
    except Interrupted as end:
        show(str(end), err=True)
        sys.exit(end.code)
    except (KeyboardInterrupt, interruption.Terminated):
        show(_ENDED, err=True)
        sys.exit(interruption.code() or interruption.INTERRUPTED)
    except SystemExit as end:
        # Typer has turned Ctrl-C into its exit code.
        if end.code == interruption.INTERRUPTED:
            show(_ENDED, err=True)
        raise
    except OSError as error:
        show(f"Error: {_of_the_system(error)}", err=True)
        sys.exit(2)
    except Exception:  # noqa: BLE001 - the last resort, reported as our fault
        traceback.print_exc()
        show("This is a defect of unmask. Please report it with the lines above.", err=True)
        sys.exit(1)


def _in_thread(failed: threading.ExceptHookArgs) -> None:
    """Errors of the disk in TensorBoard's thread are reported by the journal, without traceback."""
    if not issubclass(failed.exc_type, OSError):
        threading.__excepthook__(failed)


def _of_the_system(error: OSError) -> str:
    """What the system refused, for errors that no other message explains."""
    place = error.filename or "A file"
    return (
        f"{place}: expected to read or write it, found: {error.strerror or error}; "
        f"{free_space(Path(str(place)).absolute())} free there. Free space, check the "
        "permissions, or choose another folder."
    )
