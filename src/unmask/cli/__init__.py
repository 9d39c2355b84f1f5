"""The command line: one file per verb; parsing and printing only.

Nothing heavy is imported before a verb runs, so that ``unmask --help`` answers at once.
"""

from __future__ import annotations

import io
import sys
import threading
import traceback
from importlib.metadata import version
from pathlib import Path
from typing import Annotated

import typer

from unmask import interruption
from unmask.atomic import free_space
from unmask.cli.help import Group
from unmask.cli.terminal import emit, show
from unmask.cli.verbs import register
from unmask.errors import Interrupted, UnmaskError
from unmask.plugins import own_fault
from unmask.startup import limit_waiting, silence_libraries

app = typer.Typer(
    name="unmask",
    cls=Group,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
register(app)

# A verb that has begun says more, see ``interrupted``.
_ENDED = "Interrupted before the work began."


def _print_version(value: bool) -> None:  # noqa: FBT001 - typer calls it with the flag
    if value:
        emit({"version": version("unmask")}, f"unmask {version('unmask')}")
        raise typer.Exit


@app.callback()
def unmask(
    *,
    version: Annotated[
        bool,
        typer.Option(
            "--version",
            callback=_print_version,
            is_eager=True,
            help="Print the version and exit.",
        ),
    ] = False,
) -> None:
    """Segment images and volumes, and train models for it with few labels, in 2D and 3D.

    Examples:
        # Try everything on synthetic images, in a few minutes
        unmask demo
        # Segment images of nuclei with the model that comes with unmask
        unmask predict images/ --model nuclei --out labels/
        # Train on your own images and labels
        unmask train images/ --labels labels/ --out runs/mine
    """


def main() -> None:
    """Run the command line; exit codes as promised: 0, 1 our fault, 2 yours, 130, 143."""
    for stream in (sys.stdout, sys.stderr):
        # File names need not be text of the terminal's encoding; a message must not end a run.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    silence_libraries()
    limit_waiting()
    threading.excepthook = _in_thread
    interruption.remember()
    try:
        app(prog_name="unmask")
    except UnmaskError as error:
        _show_error(error, str(error))
        sys.exit(2)
    except Interrupted as end:
        _show_end(end)
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
        _show_error(error, _of_the_system(error))
        sys.exit(2)
    except Exception as error:  # noqa: BLE001 - the last resort
        sys.exit(_report_defect(error))


def _show_end(end: Interrupted) -> None:
    """Print what is kept; of processes that train together only the first one saves and speaks."""
    parallel = sys.modules.get("unmask.training.parallel")
    if parallel is None or parallel.is_first():
        show(str(end), err=True)


def _show_error(error: Exception, text: str) -> None:
    """Print an error that the user can act on, and what is kept after it."""
    show("\n".join([f"Error: {text}", *getattr(error, "__notes__", ())]), err=True)


def _report_defect(error: Exception) -> int:
    """Report an error that nothing else explains; the exit code says whose it is."""
    if asked := interruption.code():
        # Libraries turn a signal during their import into an error of their own.
        show(_ENDED, err=True)
        return asked
    if fault := own_fault(error):
        show(f"Error: {fault}", err=True)
        return 2
    traceback.print_exception(error)
    show("This is a defect of unmask. Please report it with the lines above.", err=True)
    return 1


def _in_thread(failed: threading.ExceptHookArgs) -> None:
    """Errors of the disk in TensorBoard's thread are reported by the journal, without traceback."""
    if not issubclass(failed.exc_type, OSError):
        threading.__excepthook__(failed)


def _of_the_system(error: OSError) -> str:
    """Describe what the system refused, for errors that no other message explains."""
    path = error.filename or "A file"
    return (
        f"{path}: expected to read or write it, found: {error.strerror or error}; "
        f"{free_space(Path(str(path)).absolute())} free there. Free space, check the "
        "permissions, or choose another folder."
    )
