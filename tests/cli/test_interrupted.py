"""What a verb prints when a signal ends it: what is kept, and the command that continues."""

from __future__ import annotations

import shlex
from contextlib import contextmanager

import pytest
import typer

from unmask import interruption
from unmask.cli import app, verbs
from unmask.cli.interrupted import describe_end
from unmask.errors import DataError, RecipeError

COMMANDS = typer.main.get_command(app).commands
RESUMABLE = {"train", "pretrain", "predict", "cluster", "curve"}
REPLACING = {"synth", "convert", "share", "measure"}
NOTHING = "Interrupted. Nothing of this run is kept. Start again with: "


def words_of(verb: str) -> list[str]:
    """A request with everything that the verb requires."""
    words = [verb]
    for parameter in COMMANDS[verb].params:
        if parameter.required:
            value = "1" if parameter.metavar == "N" else "a file"
            argument = parameter.param_type_name == "argument"
            words += [value] if argument else [parameter.opts[0], value]
    return words


@pytest.fixture
def ended(command, monkeypatch):
    """``ended(kept, *words)``: the last line of a verb that is ended, with what it has kept."""

    def run(kept: str, *words: str) -> str:
        @contextmanager
        def end(**_):
            with interruption.note_kept(lambda: kept):
                raise KeyboardInterrupt
            yield

        with monkeypatch.context() as patch:
            patch.setattr(verbs, "direct_messages", end)
            answer = command(*words)
        assert answer.code == 130
        assert answer.out == ""
        assert len(answer.err.splitlines()) == 1, answer.err
        return answer.err.rstrip()

    return run


def test_the_verbs_that_resume_and_that_replace_are_known():
    options = {
        verb: {name for parameter in command.params for name in parameter.opts}
        for verb, command in COMMANDS.items()
    }
    assert {verb for verb in options if "--resume" in options[verb]} == RESUMABLE
    replacing = {verb for verb in options if "--overwrite" in options[verb]}
    assert replacing - RESUMABLE == REPLACING


@pytest.mark.parametrize("verb", COMMANDS)
def test_every_verb_says_how_to_go_on(ended, verb):
    words = words_of(verb)
    given = shlex.join(["unmask", *words])
    assert ended("", *words) == f"{NOTHING}{given}"
    found = ended("a.tif is finished.", *words)
    if verb in RESUMABLE:
        assert found == f"Interrupted. a.tif is finished. Continue with: {given} --resume"
        again = ended("", *words, "--resume")
        expected = "Interrupted. Nothing more is finished. Continue with: "
        assert again == f"{expected}{given} --resume"
    elif verb in REPLACING:
        assert found == f"Interrupted. a.tif is finished. Start again with: {given} --overwrite"
    else:
        assert found == "Interrupted. a.tif is finished."


@pytest.mark.parametrize("error", [DataError("b.tif: odd"), OSError(28, "full", "b.tif")])
@pytest.mark.parametrize("verb", COMMANDS)
def test_an_error_in_the_middle_of_the_work_says_how_to_go_on(command, monkeypatch, verb, error):
    @contextmanager
    def fail(**_):
        with interruption.note_kept(lambda: "a.tif is finished."):
            raise error.with_traceback(None)
        yield

    monkeypatch.setattr(verbs, "direct_messages", fail)
    monkeypatch.setattr(error, "__notes__", [], raising=False)
    words = words_of(verb)
    answer = command(*words)
    assert answer.code == 2
    first, last = answer.err.splitlines()
    assert first.startswith("Error: b.tif: ")
    given = shlex.join(["unmask", *words])
    expected = "a.tif is finished."
    if verb in RESUMABLE:
        expected += f" After correcting this, continue with: {given} --resume"
    elif verb in REPLACING:
        expected += f" After correcting this, start again with: {given} --overwrite"
    assert last == expected


def test_a_wrong_request_keeps_its_own_advice(command, monkeypatch):
    @contextmanager
    def fail(**_):
        with interruption.note_kept(lambda: "a.tif is finished."):
            raise RecipeError("train.lr: odd")
        yield

    monkeypatch.setattr(verbs, "direct_messages", fail)
    assert command("info").err == "Error: train.lr: odd\n"


def test_old_spellings_of_options_are_replaced(command, monkeypatch):
    @contextmanager
    def end(**_):
        raise interruption.Terminated
        yield

    monkeypatch.setattr(verbs, "direct_messages", end)
    answer = command("predict", "a.tif", "--out", "x", "--cluster", "threads:2")
    assert answer.code == 130, "no signal came"
    assert answer.err.rstrip().endswith("unmask predict a.tif --out x --workers threads:2")


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["a.tif", "--resume"], "a.tif --resume"),
        (["--resume", "a.tif"], "--resume a.tif"),
        # Behind "--" every word is a path.
        (["--out", "b", "--", "-a.tif"], "--resume --out b -- -a.tif"),
        (["--", "--resume"], "--resume -- --resume"),
        (
            ["it's", "--set", "infer.block=[8, 8]"],
            """'it'"'"'s' --set 'infer.block=[8, 8]' --resume""",
        ),
        (["a.tif", "--overwrite"], "a.tif --overwrite --resume"),
    ],
)
def test_the_option_is_given_once_and_where_it_counts(words, expected):
    found = describe_end("Kept.", "unmask predict", words, ["--resume", "--overwrite"])
    assert found == f"Interrupted. Kept. Continue with: unmask predict {expected}"
    assert shlex.split(found.partition("Continue with: ")[2])[2:].count("--resume") == (
        2 if words[0] == "--" else 1
    )


@pytest.mark.parametrize(
    ("variable", "launcher"),
    [("TORCHELASTIC_RUN_ID", "torchrun"), ("SLURM_STEP_NUM_TASKS", "srun")],
)
def test_the_launcher_of_several_processes_is_named(monkeypatch, variable, launcher):
    monkeypatch.setenv(variable, "4")
    for kept, options in (("Kept.", ["--resume"]), ("Kept.", ["--overwrite"]), ("", [])):
        found = describe_end(kept, "unmask train", ["a"], options)
        assert f" with (started by {launcher}, as before): unmask train a" in found


def test_an_error_that_a_library_makes_of_a_signal_is_an_end(command, monkeypatch):
    """Libraries turn a signal during their import into an error of their own."""

    @contextmanager
    def end(**_):
        monkeypatch.setattr(interruption, "_codes", [143])
        interruption._asked.set()
        raise SystemError("interrupted import")
        yield

    monkeypatch.setattr(verbs, "direct_messages", end)
    answer = command("info")
    assert answer.code == 143
    assert answer.err == f"{NOTHING}unmask info\n"


def test_an_error_without_a_signal_is_a_defect(command, monkeypatch):
    @contextmanager
    def fail(**_):
        raise SystemError("odd")
        yield

    monkeypatch.setattr(verbs, "direct_messages", fail)
    answer = command("info")
    assert answer.code == 1
    assert "defect of unmask" in answer.err


def test_the_end_of_a_viewer_is_no_interruption(command, monkeypatch):
    def view(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("unmask.api.viewing.view", view)
    answer = command("view", "labels")
    assert (answer.code, answer.err) == (130, "The viewer has ended.\n")


@pytest.mark.parametrize(("words", "kept"), [((), ", trainings continue"), (("--demo",), "")])
def test_the_end_of_a_server_is_no_interruption(command, monkeypatch, words, kept):
    def serve(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("unmask.serve.run.serve", serve)
    answer = command("serve", *words)
    assert (answer.code, answer.err) == (130, f"The server has ended{kept}.\n")


def test_an_end_before_the_verb(command, monkeypatch):
    def parse(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("unmask.cli.help.Group.resolve_command", parse)
    answer = command("info")
    assert (answer.code, answer.err) == (130, "Interrupted before the work began.\n")


@pytest.mark.parametrize("before", [True, False])
@pytest.mark.parametrize("overwrite", [True, False])
def test_synth_counts_its_own_images_only(command, monkeypatch, tmp_path, before, overwrite):
    """A folder of the user that would be refused is not offered to be replaced."""
    images = tmp_path / "out" / "images"
    if before:
        images.mkdir(parents=True)

    def draw(*_, **__):
        if overwrite or not before:
            images.mkdir(parents=True, exist_ok=True)
        raise KeyboardInterrupt

    monkeypatch.setattr("unmask.phantoms.families.write_phantoms", draw)
    flag = ["--overwrite"] if overwrite else []
    words = ["synth", "--kind", "nuclei", "--out", tmp_path / "out", *flag]
    answer = command(*words)
    given = shlex.join(["unmask", *map(str, words)])
    if before and not overwrite:
        assert answer.err == f"{NOTHING}{given}\n"
    else:
        command_again = given if overwrite else f"{given} --overwrite"
        kept = f"The images drawn so far are in {images}."
        assert answer.err == f"Interrupted. {kept} Start again with: {command_again}\n"
