"""Help pages: whole sentences at every width, examples that parse, groups, nearest names."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys

import pytest
import typer
import yaml

from unmask.cli import app
from unmask.cli.help import RENAMED, split_examples
from unmask.recipe import load

GROUP = typer.main.get_command(app)
VERBS = sorted(GROUP.commands)
PAGES = [(), *((verb,) for verb in VERBS)]


def words(text: str) -> str:
    """The text as one line, without what breaks it."""
    return " ".join(re.sub(r"\\\n", " ", text).replace("\n  #", " ").split())


def parameters(page) -> list:
    command = GROUP.commands[page[0]] if page else GROUP
    return [each for each in command.params if not getattr(each, "hidden", False)]


def options(verb: str) -> set[str]:
    return {option for each in GROUP.commands[verb].params for option in each.opts}


@pytest.mark.parametrize("width", [40, 80, 200])
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page[0] if page else "unmask")
def test_no_text_is_cut(page, width, command, monkeypatch):
    monkeypatch.setenv("COLUMNS", str(width))
    answer = command(*page, "--help")
    assert answer.code == 0, answer.err
    assert "…" not in answer.out
    assert not re.search(r"\w\.\.\.(\s|$)", re.sub(r"[A-Z]\.\.\.|<\w+>\.\.\.", "", answer.out))
    shown = words(answer.out)
    for parameter in parameters(page):
        assert words(parameter.help.replace("\N{NO-BREAK SPACE}", " ")) in shown
        assert parameter.param_type_name == "argument" or parameter.opts[0] in shown
    # Only what cannot be broken is longer: a word, or an option with its value.
    for line in answer.out.splitlines():
        assert len(line) <= width or re.fullmatch(r"\s+(--\S+ )?\S+( \\)?", line), line


@pytest.mark.parametrize("verb", VERBS)
def test_every_option_has_a_sentence_a_group_and_a_metavar(verb):
    for parameter in parameters((verb,)):
        assert re.fullmatch(r"[A-Z].*\.", parameter.help), (verb, parameter.name, parameter.help)
        if parameter.param_type_name == "argument":
            assert parameter.metavar
        elif "--help" not in parameter.opts:
            assert parameter.rich_help_panel, (verb, parameter.name)
            assert parameter.is_flag or parameter.metavar, (verb, parameter.name)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page[0] if page else "unmask")
def test_examples_parse(page):
    """At least two, of options that exist, settings and presets that fit."""
    command = GROUP.commands[page[0]] if page else GROUP
    summary, lines = split_examples(command.help or "")
    assert re.match(r"[A-Z][^\n]*\.(\n|$)", summary), summary
    examples = [shlex.split(line) for line in lines if not line.startswith("#")]
    assert len(examples) >= 2
    for program, verb, *arguments in examples:
        assert program == "unmask"
        assert not page or verb == page[0]
        if ">" in arguments:
            arguments = arguments[: arguments.index(">")]
        context = GROUP.commands[verb].make_context(verb, arguments)
        settings = context.params.get("settings") or []
        if preset := context.params.get("preset"):
            load(preset).with_settings(settings)


@pytest.mark.parametrize("width", [40, 100])
def test_examples_can_be_copied(width, command, monkeypatch):
    """Lines that continue end as a shell expects it, and no option is separated from its value."""
    monkeypatch.setenv("COLUMNS", str(width))
    text = command("train", "--help").out
    block = text.partition("Examples:\n")[2].partition("\n\n")[0]
    commands = re.sub(r" \\\n", " ", block).splitlines()
    shown = [shlex.split(line) for line in commands if not line.lstrip().startswith("#")]
    _, lines = split_examples(GROUP.commands["train"].help or "")
    assert shown == [shlex.split(line) for line in lines if not line.startswith("#")]
    assert not re.search(r"--\w+ \\$", block, re.MULTILINE)


@pytest.mark.parametrize(
    ("arguments", "nearest"),
    [
        (["trian"], "'train'"),
        (["segment", "a"], "'predict'"),
        (["xyz"], "Did you mean"),
        (["train", "--lables", "a"], "--labels"),
        (["predict", "--diam", "3"], "--diameter"),
        (["presets", "cels"], "cells"),
    ],
)
def test_the_nearest_name_is_named(arguments, nearest, command):
    answer = command(*arguments)
    assert answer.code == 2
    assert nearest in answer.err
    assert "Traceback" not in answer.err


def test_usage_names_what_is_required(command):
    answer = command("train", "images")
    assert answer.code == 2
    assert "Usage: unmask train IMAGES... --out RUN [OPTIONS]" in answer.err


OLD = [(old, verb) for old, new in RENAMED.items() for verb in VERBS if new in options(verb)]


@pytest.mark.parametrize(("old", "verb"), OLD)
def test_old_spellings_still_work(old, verb, capsys):
    if old == "--metrics" or (old == "--figures" and verb == "evaluate"):
        pytest.skip("the verb had no such option")
    value = [] if old == "--turns" else ["3"]
    command = GROUP.commands[verb]
    (name,) = [each.name for each in command.params if RENAMED[old] in each.opts]
    new = command.make_context(verb, [RENAMED[old], *value], resilient_parsing=True)
    context = command.make_context(verb, [old, *value], resilient_parsing=True)
    assert context.params[name] == new.params[name]
    assert f"{old} is now spelled {RENAMED[old]}" in capsys.readouterr().err
    if value:
        context = command.make_context(verb, [f"{old}=3"], resilient_parsing=True)
        assert context.params[name] == new.params[name]


def test_old_spellings_are_hidden(command):
    for verb in VERBS:
        text = command(verb, "--help").out
        assert not [old for old in RENAMED if re.search(rf"^  {old}\b", text, re.MULTILINE)]


def test_completion_and_version(command):
    answer = command("--version")
    assert (answer.code, answer.err) == (0, "")
    assert re.fullmatch(r"unmask \d+\.\d+\S*\n", answer.out)
    assert "--install-completion" in command("--help").out
    environment = {"_UNMASK_COMPLETE": "complete_bash", "COMP_WORDS": "unmask pre"}
    done = subprocess.run(
        [sys.executable, "-c", "from unmask.cli import main; main()"],
        env={**os.environ, **environment, "COMP_CWORD": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert set(done.stdout.split()) == {"presets", "pretrain", "predict", "prepare"}


def test_all_fields_of_a_preset(command):
    """``presets NAME --all`` shows every field with default, value and description."""
    text = command("presets", "cells", "--all").out
    recipe = load("cells")
    leaves = [f"data.{name}" for name in type(recipe.data).model_fields]
    leaves += [f"train.{name}" for name in type(recipe.train).model_fields]
    for name in leaves:
        assert re.search(rf"^{re.escape(name)} .*\n    [A-Z].*\.$", text, re.MULTILINE), name
    assert "data.crop = [256, 256]  (list of integer; required)" in text
    assert yaml.safe_load(command("presets", "cells").out)["name"] == "cells"
    assert command("presets", "--all").code == 2


def test_help_imports_nothing_heavy():
    """``unmask --help`` answers at once: no numerical library, and not even rich."""
    program = (
        "import sys; from unmask.cli import main; sys.argv = ['unmask', '--help']\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "heavy = {'torch', 'numpy', 'pydantic', 'yaml', 'rich', 'unmask.api', 'unmask.recipe'}\n"
        "print('heavy:', *sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "heavy:"


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["train", "a", "--tta"], ["found --tta, an option of predict", "unmask train --help"]),
        (["curve", "a", "--minutes", "1"], ["an option of plan, train. unmask curve --help"]),
        (["check", "a", "--presset", "cells"], ["found --presset. Did you mean --preset?"]),
        (["measure", "--out", "t.csv"], ["expected --labels PATH", "found none. Give it"]),
        (["evaluate", "--truth", "a", "--predicted", "b", "c (1)"],
         ["found c (1) without an option", "--truth PATH, --predicted PATH"]),
        (["convert", "--source", "mae", "--out", "a"], ["expected WEIGHTS"]),
        (["presets", "--\x1b[31m"], ["\\x1b"]),
    ],
)  # fmt: skip
def test_wrong_options_are_explained(arguments, parts, command):
    """As all messages: what was expected, what was found, what to do."""
    answer = command(*arguments)
    assert answer.code == 2
    assert "Error: unmask " in answer.err
    for part in parts:
        assert part in answer.err
    as_json = command(*arguments, "--json")
    (record,) = [json.loads(line) for line in as_json.out.splitlines()]
    assert record["exit_code"] == 2
    assert f"Error: {record['error']}" in answer.err


def test_a_request_that_a_verb_refuses_is_explained_alike(command):
    answer = command("prepare", "pets", "archive")
    assert answer.code == 2
    assert "Error: expected --out FOLDER" in answer.err
