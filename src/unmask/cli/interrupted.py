"""What a verb says when it ends early: what is kept, and the command that continues.

What is kept is known to the work, which notes it on the exception, see ``interruption.note_kept``.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Collection, Generator, Sequence
from contextlib import contextmanager

from unmask import interruption
from unmask.errors import Interrupted

_RESUME, _OVERWRITE = "--resume", "--overwrite"


class Ended(Interrupted):
    """The end of a verb, with its last message.

    Args:
        text: the message.
        code: exit code; 0: that of the signal, or of Ctrl-C.
    """

    def __init__(self, text: str, code: int = 0) -> None:
        super().__init__(0, code or interruption.code() or interruption.INTERRUPTED)
        self.args = (text,)


@contextmanager
def end_with(text: str) -> Generator[None, None, None]:
    """Inside the ``with`` block, a signal is the usual end of the verb and has this message."""
    try:
        yield
    except (KeyboardInterrupt, interruption.Terminated) as end:
        raise Ended(text) from end


def explain_end(
    error: BaseException, verb: str, words: Sequence[str], options: Collection[str]
) -> Ended:
    """The end of a verb that was asked for.

    Args:
        error: what ended the work, with notes on what is kept.
        verb: name of the command, such as ``unmask predict``.
        words: arguments and options that were given.
        options: the options that the verb has.
    """
    text = describe_end(interruption.notes_of(error), verb, words, options)
    return Ended(text, error.code if isinstance(error, Interrupted) else 0)


def note_command(
    error: BaseException, verb: str, words: Sequence[str], options: Collection[str]
) -> None:
    """Add the command that continues to the notes of an error on what is kept, if it has any."""
    if kept := interruption.notes_of(error):
        error.__notes__ = [describe_error_end(kept, verb, words, options)]


def describe_end(kept: str, verb: str, words: Sequence[str], options: Collection[str]) -> str:
    """One line: what is kept, and the very command that continues or starts again.

    Args:
        kept: what is kept, as sentences; "" if nothing is known to be.
        verb: name of the command.
        words: arguments and options that were given.
        options: the options that the verb has.

    Examples:
        >>> describe_end("3 of 9 images are finished.", "unmask predict", ["a b/"], ["--resume"])
        "Interrupted. 3 of 9 images are finished. Continue with: unmask predict 'a b/' --resume"
        >>> describe_end("", "unmask evaluate", ["--truth", "a/"], [])
        'Interrupted. Nothing of this run is kept. Start again with: unmask evaluate --truth a/'
    """
    if not kept and _RESUME in options and _RESUME in words:
        # What an earlier run has finished is still there.
        kept = "Nothing more is finished."
    if not kept:
        return (
            "Interrupted. Nothing of this run is kept. "
            f"Start again with{_launcher()}: {_command(verb, words, None)}"
        )
    return f"Interrupted. {kept} {_next_command(verb, words, options)}".rstrip()


def describe_error_end(kept: str, verb: str, words: Sequence[str], options: Collection[str]) -> str:
    """One line for an error in the middle of the work; the arguments are as for `describe_end`.

    Examples:
        >>> describe_error_end("1 of 9 images is finished.", "unmask predict", ["a"], ["--resume"])
        '1 of 9 images is finished. After correcting this, continue with: unmask predict a --resume'
    """
    command = _next_command(verb, words, options)
    return f"{kept} After correcting this, {command[0].lower()}{command[1:]}" if command else kept


def _next_command(verb: str, words: Sequence[str], options: Collection[str]) -> str:
    """The sentence with the command that continues, or that starts again; "" if neither can."""
    if _RESUME in options:
        return f"Continue with{_launcher()}: {_command(verb, words, _RESUME)}"
    if _OVERWRITE in options:
        return f"Start again with{_launcher()}: {_command(verb, words, _OVERWRITE)}"
    return ""


def _launcher() -> str:
    """What started several processes of this command, and must do so again; "" where it is one."""
    if "TORCHELASTIC_RUN_ID" in os.environ:
        return " (started by torchrun, as before)"
    if os.environ.get("SLURM_STEP_NUM_TASKS", "1") != "1":
        return " (started by srun, as before)"
    return ""


def _command(verb: str, words: Sequence[str], option: str | None) -> str:
    """The command that was given, with an option that it may have already."""
    before = words[: words.index("--")] if "--" in words else words
    if option is None or option in before:
        return f"{verb} {shlex.join(words)}".rstrip()
    # Behind "--" every word is an argument.
    given = [option, *words] if "--" in words else [*words, option]
    return f"{verb} {shlex.join(given)}"
